"""What every exporter is: a plan in, files of another framework out, and the way back.

No target checks a whole plan, so the plan is checked here first, by our own rules. An exporter
lists what its files cannot say, and refuses where leaving it out would change the meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from planner.export.settings import Reader
from simulator.spec.errors import InputError
from simulator.spec.legality import require_legal
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import Scenario
from simulator.spec.target import OWN_TARGET, TARGETS, find_target

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """One file of an export."""

    name: str
    """Relative to the export's folder."""
    text: str
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What the files of an export do not say by themselves; it stands on top of them."""

    dropped: tuple[str, ...] = ()
    """Decisions that the files do not express, and what then holds."""
    to_set: tuple[str, ...] = ()
    """Hyper-parameters that the scenario leaves unset, and what holds until the user sets them."""
    assumed: tuple[str, ...] = ()
    """Values that the files hold although nobody gave them."""
    needs: tuple[str, ...] = ()
    """What the files do not bring along and the user must."""

    @property
    def lines(self) -> tuple[str, ...]:
        """All of it, one sentence a line."""
        return (
            *(f"not expressed: {what}" for what in self.dropped),
            *(f"you must set: {what}" for what in self.to_set),
            *(f"assumed: {what}" for what in self.assumed),
            *(f"needs: {what}" for what in self.needs),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A plan in the words of another framework."""

    target: str
    files: tuple[ExportedFile, ...]
    notes: Notes
    start: str
    """The command that starts the training, in the export's folder."""

    def to_frame(self) -> pd.DataFrame:
        """Return one row per file: its text, and whether it is a program."""
        import pandas as pd

        return pd.DataFrame([asdict(file) for file in self.files]).set_index("name")

    def text(self, name: str) -> str:
        """Return the text of one file."""
        return next(file.text for file in self.files if file.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """One target."""

    name: str
    description: str
    executor: str
    """What runs the files: a name of `simulator.spec.target`."""
    emit: Callable[[PlanFile], Export]
    read_back: Callable[[Export, Scenario], PlanSpec]
    """The plan that the files express; the scenario gives what is not a decision."""
    read: Reader | None = None
    """How settings that somebody else wrote are read; None where the files hold our own plan."""

    def export(self, plan_file: PlanFile) -> Export:
        """Return the export. Raises InputError when the plan is illegal or the target cannot."""
        scenario, plan = plan_file.scenario, plan_file.plan
        require_legal(scenario.model, scenario.job, plan, n_devices=scenario.cluster.n_devices)
        refusal = find_target(self.executor).refusal(scenario.model, scenario.job, plan)
        if refusal is not None:
            raise InputError(
                f"{refusal} ({plan.label()})", where="--to", fix=_way_out(scenario, plan, self)
            )
        return self.emit(plan_file)


def by_reading(read: Reader, file: str) -> Callable[[Export, Scenario], PlanSpec]:
    """Return how to take the plan back from a file of an export, by the reader of such settings."""
    return lambda export, scenario: read(export.text(file), file, scenario).plan


def _way_out(scenario: Scenario, plan: PlanSpec, refusing: Exporter) -> str:
    """Return what helps where an exporter refuses: another plan for it, or another target."""
    model, job = scenario.model, scenario.job
    able = [
        target
        for target in TARGETS.values()
        if (target.job_refusal(job) or target.model_refusal(model, plan.precision)) is None
    ]
    taking = [target.name for target in able if target.plan_refusal(model, job, plan) is None]
    if any(target.name == refusing.executor for target in able):
        return f"plan again with --target {refusing.executor}"
    if taking:
        exports = ("torchrun" if name == OWN_TARGET else name for name in taking)
        return f"{' or '.join(f'--to {name}' for name in exports)} takes the plan as it is"
    if able:
        names = " or ".join(target.name for target in able)
        return f"plan again with --target {names}: {refusing.name} runs no plan of this model"
    return "no target runs any plan of this model"


def header(plan_file: PlanFile, notes: Notes, comment: str = "#") -> str:
    """Return the comment on top of an exported file.

    It is built from numbers and from names that the schema restricts, never from free text.
    """
    plan, scenario = plan_file.plan, plan_file.scenario
    lines = [
        f"Written by armillary {plan_file.provenance.armillary_version}.",
        f"{scenario.model.name} on {plan.n_ranks} x {scenario.cluster.device.name}: {plan.label()}",
        f"predicted: {plan_file.prediction.step.step_s:.4g} s a step",
        *notes.lines,
    ]
    return "".join(f"{comment} {line}\n" for line in lines)


def applying(*unsaid: tuple[bool, str]) -> tuple[str, ...]:
    """Return what an export drops: the sentences whose condition holds."""
    return tuple(sentence for applies, sentence in unsaid if applies)


Unset = Mapping[str, str]
"""What holds for each hyper-parameter, a field of LearningSpec, while it is unset."""


def unset(scenario: Scenario, otherwise: Unset) -> tuple[str, ...]:
    """Return the hyper-parameters that matter and that the scenario leaves to the framework."""
    return tuple(
        f"run.{name}: {what}"
        for name, what in otherwise.items()
        if getattr(scenario.run, name) is None and matters(name, scenario)
    )


def matters(name: str, scenario: Scenario) -> bool:
    """Return whether a hyper-parameter has a meaning in this training."""
    if name.startswith("adam_"):
        return scenario.job.optimizer == "adamw"
    return name != "final_learning_rate" or scenario.run.learning_rate_decay != "constant"


def common_drops(plan_file: PlanFile) -> tuple[str, ...]:
    """Return what no foreign framework's files express."""
    plan, scenario = plan_file.plan, plan_file.scenario
    job, reliability = scenario.job, scenario.reliability
    recovery = plan.recovery or reliability.recovery
    return applying(
        (plan.checkpoint_interval_s > 0, "checkpoint_interval_s: rounded to whole steps"),
        (bool(plan.n_spare_nodes), f"n_spare_nodes={plan.n_spare_nodes}: the scheduler's matter"),
        (
            recovery != "wait",
            f"recovery {recovery}: a failure ends the job, and you start it again",
        ),
        (
            plan.isolation_groups is not None,
            f"isolation_groups={plan.isolation_groups}: replicas fail together",
        ),
        (job.launch is not None, f"launch={job.launch}: kernels start as the framework does"),
        (bool(job.overlap.chosen), "overlap: the framework decides what hides"),
    )


def steps_between_checkpoints(plan_file: PlanFile) -> int:
    """Return the checkpoint interval in steps: the plan's, or the optimum that was predicted."""
    prediction = plan_file.prediction
    interval_s = plan_file.plan.checkpoint_interval_s or prediction.campaign.checkpoint_interval_s
    return max(1, round(interval_s / prediction.step.fed_step_s))


def literal(values: Mapping[str, object]) -> str:
    """Return a dictionary as Python writes it, an item a line."""
    if not values:
        return "{}"
    return "{\n" + "".join(f"    {name!r}: {value!r},\n" for name, value in values.items()) + "}"


def saves_behind_training(scenario: Scenario) -> bool:
    """Return whether training is predicted to go on while the safest checkpoint is written."""
    tiers = scenario.reliability.checkpoint_tiers
    return not tiers or not tiers[-1].blocking


def with_layers(plan: PlanSpec, counts: tuple[int, ...], n_layers: int) -> PlanSpec:
    """Return the plan with the layers of each chunk that a file says, if it says any.

    They stay unsaid where they are what the plan has anyway.
    """
    if counts in ((), plan.chunk_layers(n_layers)):
        return plan
    return plan.model_copy(update={"layers_per_chunk": counts})
