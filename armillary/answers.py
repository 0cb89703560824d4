"""What each verb prints with `--json`: one versioned type a verb, from which `schema` comes.

A version grows when a field changes its meaning or goes; new fields may come without.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict

from armillary.listings import Listed, as_data
from armillary.simulation import SimulationAnswer
from armillary.validation import ValidationAnswer
from planner.explain import Explanation
from planner.export import Export
from planner.imports import Imported
from planner.result import PlanAnswer
from planner.size import Sizing
from planner.whatif import WhatIf
from runtime.compare import Comparison
from runtime.result import RunResult, read_metrics
from runtime.run_dir import RunDir
from simulator.spec.base import Spec
from simulator.spec.cluster import ClusterSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import Scenario

if TYPE_CHECKING:
    import pandas as pd

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class ExportAnswer(Spec):
    """What `armillary export --json` prints."""

    version: Literal[1] = 1
    target: str
    files: tuple[str, ...]
    """Paths that were written."""
    dropped: tuple[str, ...]
    """Decisions that the files do not express, and what then holds."""
    to_set: tuple[str, ...]
    """Hyper-parameters that the scenario leaves unset, and what holds until the user sets them."""
    assumed: tuple[str, ...]
    """Values that the files hold although nobody gave them."""
    needs: tuple[str, ...]
    """What the files do not bring along."""
    start: str
    """The command that starts the training, in the folder of the files."""

    @classmethod
    def of(cls, export: Export, written: list[Path]) -> ExportAnswer:
        """Return the answer about an export that was written."""
        return cls(
            target=export.target,
            files=tuple(map(str, written)),
            dropped=export.notes.dropped,
            to_set=export.notes.to_set,
            assumed=export.notes.assumed,
            needs=export.notes.needs,
            start=export.start,
        )


class ImportAnswer(Spec):
    """What `armillary import --json` prints."""

    version: Literal[1] = 1
    plan_file: str
    """The plan as it was read, in a file that `explain`, `simulate` and `export` take."""
    unread: tuple[str, ...]
    """Settings that are no decision of a plan."""
    explanation: Explanation
    """Of that plan, against the best one of the answer."""

    @classmethod
    def of(cls, imported: Imported, explanation: Explanation, place: Path) -> ImportAnswer:
        """Return the answer about settings that were read."""
        return cls(plan_file=str(place), unread=imported.unread, explanation=explanation)


class RunAnswer(Spec):
    """What `armillary run --json` prints; every step is in the run's metrics.jsonl."""

    version: Literal[1] = 1
    run_dir: str
    n_steps: int
    losses: tuple[float, ...]
    step_s: float
    """Median of the steps after the first fifth."""
    tokens_per_s: float
    peak_memory_bytes: float
    """Of the fullest rank."""
    n_skipped_shards: int
    """Files of the data that could not be read; their reasons are in the run's data.json."""
    comparison: Comparison
    """The same run beside its prediction."""

    def to_frame(self) -> pd.DataFrame:
        """Return the steps as a table, from the run's metrics.jsonl."""
        place = RunDir(Path(self.run_dir))
        return RunResult(run_dir=place.root, steps=read_metrics(place.metrics)).to_frame()

    @classmethod
    def of(cls, result: RunResult, comparison: Comparison) -> RunAnswer:
        """Return the answer about a run that has ended."""
        return cls(
            run_dir=str(result.run_dir),
            n_steps=result.steps[-1].step,
            losses=result.losses,
            step_s=result.step_s,
            tokens_per_s=result.tokens_per_s,
            peak_memory_bytes=result.peak_memory_bytes,
            n_skipped_shards=result.n_skipped_shards,
            comparison=comparison,
        )


class CalibrateAnswer(Spec):
    """What `armillary calibrate --json` prints."""

    version: Literal[1] = 1
    file: str
    """The cluster file that was written."""
    cluster: ClusterSpec


class ListedThing(Spec):
    """One thing; further fields are those of its kind."""

    model_config = ConfigDict(extra="allow")

    name: str


class ListAnswer(Spec):
    """What `armillary list --json` prints."""

    version: Literal[1] = 1
    kind: str
    """`kinds` for the kinds themselves."""
    items: tuple[ListedThing, ...]

    @classmethod
    def of(cls, listed: Listed) -> ListAnswer:
        """Return the answer that lists some things of a kind."""
        return cls(
            kind=listed.listing.kind,
            items=tuple(
                ListedThing.model_validate({"name": name} | as_data(thing))
                for name, thing in listed.things.items()
            ),
        )


class InitAnswer(Spec):
    """What `armillary init --json` prints."""

    version: Literal[1] = 1
    scenario: str
    """Text of the scenario file."""
    file: str | None
    """Where it was written, with its schema beside it; None where it was only printed."""


class CheckAnswer(Spec):
    """What `armillary check --json` prints."""

    version: Literal[1] = 1
    valid: bool
    mistakes: tuple[str, ...] = ()
    scenario: Scenario | None = None
    """Resolved; None where it is not valid."""
    plan: PlanSpec | None = None
    """None where a scenario was checked."""


ANSWERS: dict[str, type[Spec]] = {
    "plan": PlanAnswer,
    "simulate": SimulationAnswer,
    "whatif": WhatIf,
    "size": Sizing,
    "explain": Explanation,
    "export": ExportAnswer,
    "import": ImportAnswer,
    "run": RunAnswer,
    "calibrate": CalibrateAnswer,
    "compare": Comparison,
    "validate": ValidationAnswer,
    "list": ListAnswer,
    "init": InitAnswer,
    "check": CheckAnswer,
}
"""By verb. `schema` itself prints a JSON Schema."""


def answer_schema(verb: str) -> dict[str, Any]:
    """Return the JSON Schema of what a verb prints with `--json`."""
    return {"$schema": DIALECT} | ANSWERS[verb].model_json_schema(mode="serialization")
