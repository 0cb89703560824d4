"""One thing a pipeline rank does: a pass of one model chunk over one microbatch."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple, cast

Kind = Literal["F", "B", "I", "W"]
"""What is done with the chunk, in torch.distributed.pipelining's letters."""

FORWARD: Final = "F"
BACKWARD: Final = "B"
"""Whole backward: gradients of the input and of the weights."""
BACKWARD_INPUT: Final = "I"
BACKWARD_WEIGHT: Final = "W"


class Action(NamedTuple):
    """A pass of one chunk over one microbatch. Printed as torch prints it: `2B1`."""

    chunk: int
    """Index of the model piece, counted along the model."""
    kind: Kind
    microbatch: int

    def __str__(self) -> str:
        return f"{self.chunk}{self.kind}{self.microbatch}"


_CELL = re.compile(r"([0-9]{1,6})([FBIW])([0-9]{1,7})")


def parse_action(cell: str) -> Action | None:
    """Return the action that a cell such as `0F3` names; None when it names none."""
    match = _CELL.fullmatch(cell.strip())
    if match is None:
        return None
    return Action(int(match[1]), cast("Kind", match[2]), int(match[3]))
