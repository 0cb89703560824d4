"""What the ranks of this machine have to do, as the launcher hands it to them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RankJob:
    """What the ranks of this machine have to do."""

    module: str
    """Module whose `main(arguments)` every rank calls, inside its process group."""
    arguments: tuple[str, ...]
    n_ranks: int
    folder: str
    """Where logs/ and events.jsonl are written."""
    threads_per_rank: int = 1
    port: int = 0
    """Of the ranks' meeting point on loopback; 0 takes a free one."""
    timeout_s: float = 300.0
    """How long a rank waits for another in one exchange."""
    silence_s: float = 30.0
    """How long a rank may give no sign of life before it counts as hung."""
    start_timeout_s: float = 180.0
    """How long the ranks may take until all have met."""

    @classmethod
    def from_json(cls, text: str) -> RankJob:
        values = json.loads(text)
        return cls(**values | {"arguments": tuple(values["arguments"])})

    def to_json(self) -> str:
        return json.dumps(asdict(self))
