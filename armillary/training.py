"""`armillary run`, from a plan or a scenario to its answer, for the verb and the function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from armillary.answers import RunAnswer
from armillary.choice import Place, chosen_plan
from armillary.output_folder import run_folder
from armillary.recovery import recovery_of
from armillary.report import Report, write_report
from armillary.simulation import with_replay
from runtime.compare import compare
from runtime.exchange.places import family_of
from runtime.launch import require_torch, run
from runtime.result import StepMetrics
from runtime.run_dir import RunDir
from runtime.supervise import Recovery
from simulator.spec.plan_file import PlanFile

REPORT = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """What may be asked of a training beside its plan."""

    steps: int | None = None
    """None: as many as the scenario says."""
    run_dir: Path | None = None
    """None: a new folder in runs/."""
    resume: bool = False
    faults: Path | None = None
    """Table of outages to inject."""
    max_restarts: int = 0
    """After failures that were not injected."""
    profile: int | None = None
    """Steps between two windows of torch's profiler; None: what the scenario says."""
    init_from: Path | None = None
    """Folder with the initial weights."""
    save_weights: Path | None = None
    """Folder for the trained weights."""

    def asked(self, plan_file: PlanFile) -> PlanFile:
        """Return the plan with what is asked of its scenario."""
        init_from = None if self.init_from is None else str(self.init_from)
        asked = {"profile_every_steps": self.profile, "init_from": init_from}
        given = {name: value for name, value in asked.items() if value is not None}
        scenario = plan_file.scenario
        if given:
            run_spec = scenario.run.model_copy(update=given)
            plan_file = plan_file.asked(scenario.model_copy(update={"run": run_spec}))
        return plan_file if self.faults is None else with_replay(plan_file, self.faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A training that is about to begin, or to go on."""

    plan_file: PlanFile
    options: TrainingOptions
    run_dir: Path
    recovery: Recovery

    @classmethod
    def of(cls, place: Place, rank: int | None, options: TrainingOptions) -> Training:
        """Return the training of a plan.

        Raises InputError for faults that do not fit, for models whose weights cannot be saved, and
        where torch is missing.
        """
        require_torch()
        plan_file = options.asked(chosen_plan(place, rank))
        scenario = plan_file.scenario
        if options.save_weights is not None:
            family_of(scenario.model)
        return cls(
            plan_file=plan_file,
            options=options,
            run_dir=options.run_dir or run_folder(scenario.name, resume=options.resume),
            recovery=recovery_of(
                plan_file,
                injects=options.faults is not None,
                max_restarts=options.max_restarts,
            ),
        )

    @property
    def n_steps(self) -> int:
        """Steps until it is done, those of an earlier start among them."""
        return self.options.steps or self.plan_file.scenario.run.steps

    def run(
        self, *, port: int, on_step: Callable[[StepMetrics], None], report: Path | None = None
    ) -> RunAnswer:
        """Train, compare with the prediction, and leave weights and a report where they belong.

        Another copy of it goes to `report`.
        """
        from runtime.exchange.save import save_weights

        result = run(
            self.plan_file,
            run_dir=self.run_dir,
            steps=self.options.steps,
            resume=self.options.resume,
            port=port,
            on_step=on_step,
            recovery=self.recovery,
        )
        if self.options.save_weights is not None:
            save_weights(RunDir(self.run_dir), self.options.save_weights)
        comparison = compare(self.run_dir)
        for page in (self.run_dir / REPORT, report):
            if page is not None:
                write_report(page, Report.of(self.plan_file, comparison=comparison))
        return RunAnswer.of(result, comparison)
