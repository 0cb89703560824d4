"""The folder in which `armillary plan` leaves its answer and the question, to be asked again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from armillary import __version__

if TYPE_CHECKING:
    from planner.result import SearchResult

DEFAULT_FOLDER = Path("armillary-out")


@dataclass(frozen=True, slots=True)
class OutputFolder:
    """Where the files of one answer lie."""

    path: Path

    @property
    def plan(self) -> Path:
        """The plan file."""
        return self.path / "plan.json"

    @property
    def scenario(self) -> Path:
        """The scenario, resolved: it gives the same answer whatever the catalog becomes."""
        return self.path / "scenario.yaml"

    def save(self, result: SearchResult) -> None:
        """Write both files; each appears whole or not at all."""
        from simulator.catalog.plan_json import write_plan_file
        from simulator.catalog.yaml_text import to_yaml
        from simulator.spec.files import write_atomic

        self.path.mkdir(parents=True, exist_ok=True)
        comment = f"Written by armillary {__version__}; all that the catalog said is filled in."
        write_atomic(self.scenario, to_yaml(result.scenario, comment=comment))
        write_plan_file(self.plan, result.plan_file())


RUNS = Path("runs")


def run_folder(name: str, *, resume: bool) -> Path:
    """Return the first folder of that name in runs/ that is not there yet, or the last that is."""
    number, place = 1, RUNS / name
    while place.exists():
        last, number = place, number + 1
        place = RUNS / f"{name}-{number}"
    return last if resume and number > 1 else place


DEFAULT_PLAN = str(OutputFolder(DEFAULT_FOLDER).plan)
"""The plan of the last `armillary plan`."""
