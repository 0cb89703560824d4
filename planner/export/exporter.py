"""What every exporter is: a plan in, files of another framework out, and the way back.

No target checks a whole plan, so the plan is checked here first, by our own rules. An exporter
lists what its files cannot say, and refuses where leaving it out would change the meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simulator.spec.errors import InputError
from simulator.spec.legality import require_legal
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import Scenario
from simulator.spec.target import TARGETS


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """One file of an export."""

    name: str
    """Relative to the export's folder."""
    text: str
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A plan in the words of another framework."""

    target: str
    files: tuple[ExportedFile, ...]
    dropped: tuple[str, ...] = ()
    """Decisions that the files do not express, and what then holds."""
    start: str
    """The command that starts the training, in the export's folder."""

    def text(self, name: str) -> str:
        """Return the text of one file."""
        return next(file.text for file in self.files if file.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """One target."""

    name: str
    description: str
    emit: Callable[[PlanFile], Export]
    read_back: Callable[[Export, Scenario], PlanSpec]
    """The plan that the files express; the scenario gives what is not a decision."""

    def export(self, plan_file: PlanFile) -> Export:
        """Return the export. Raises InputError when the plan is illegal or the target cannot."""
        scenario, plan = plan_file.scenario, plan_file.plan
        require_legal(scenario.model, scenario.job, plan, n_devices=scenario.cluster.n_devices)
        target = TARGETS.get(self.name)
        refusal = target.refusal(scenario.model, scenario.job, plan) if target is not None else None
        if refusal is not None:
            raise InputError(
                f"{refusal} ({plan.label()})",
                where="--to",
                fix=f"plan again with --target {self.name}",
            )
        return self.emit(plan_file)


def header(plan_file: PlanFile, dropped: tuple[str, ...], comment: str = "#") -> str:
    """Return the comment on top of an exported file.

    It is built from numbers and from names that the schema restricts, never from free text.
    """
    plan, scenario = plan_file.plan, plan_file.scenario
    lines = [
        f"Written by armillary {plan_file.provenance.armillary_version}.",
        f"{scenario.model.name} on {plan.n_ranks} x {scenario.cluster.device.name}: {plan.label()}",
        f"predicted: {plan_file.prediction.step.step_s:.4g} s a step",
        *(f"not expressed here: {what}" for what in dropped),
    ]
    return "".join(f"{comment} {line}\n" for line in lines)


def layers_of_ranks(plan: PlanSpec, n_layers: int) -> list[list[int]]:
    """Return the layers of every chunk, in model order."""
    ends: list[list[int]] = []
    start = 0
    for count in plan.chunk_layers(n_layers):
        ends.append(list(range(start, start + count)))
        start += count
    return ends


def is_even(plan: PlanSpec, n_layers: int) -> bool:
    """Whether all chunks have equally many layers."""
    return len(set(plan.chunk_layers(n_layers))) == 1
