"""The folder in which `armillary plan` leaves its answer and the question, to be asked again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from armillary import __version__

if TYPE_CHECKING:
    from planner.result import SearchResult
    from simulator.spec.scenario import Scenario

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
        from simulator.spec.files import write_atomic

        self.path.mkdir(parents=True, exist_ok=True)
        write_atomic(self.scenario, _yaml(result.scenario))
        write_plan_file(self.plan, result.plan_file(__version__))


def _yaml(scenario: Scenario) -> str:
    import io

    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    text = io.StringIO()
    yaml.dump(scenario.model_dump(mode="json", exclude_none=True), text)
    return (
        f"# Written by armillary {__version__}, with everything the catalog said filled in.\n"
        + (text.getvalue())
    )
