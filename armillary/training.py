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
class Training:
    """A training that is about to begin, or to go on."""

    plan_file: PlanFile
    steps: int | None
    """None: as many as the scenario says."""
    run_dir: Path
    resume: bool
    recovery: Recovery
    save_weights: Path | None = None
    """Folder for the trained weights."""

    @classmethod
    def of(
        cls,
        place: Place,
        rank: int | None,
        *,
        steps: int | None,
        run_dir: str | Path | None,
        resume: bool,
        faults: str | Path | None,
        max_restarts: int,
        profile: int | None = None,
        init_from: Path | None = None,
        save_weights: Path | None = None,
    ) -> Training:
        """Return the training of a plan, in a new folder of runs/ where none is named.

        Raises InputError for faults that do not fit, for models whose weights cannot be saved, and
        where torch is missing.
        """
        require_torch()
        plan_file = chosen_plan(place, rank)
        asked = {"profile_every_steps": profile, "init_from": init_from and str(init_from)}
        given = {name: value for name, value in asked.items() if value is not None}
        if given:
            scenario = plan_file.scenario
            run_spec = scenario.run.model_copy(update=given)
            plan_file = plan_file.asked(scenario.model_copy(update={"run": run_spec}))
        if save_weights is not None:
            family_of(plan_file.scenario.model)
        if faults is not None:
            plan_file = with_replay(plan_file, Path(faults))
        return cls(
            plan_file=plan_file,
            steps=steps,
            run_dir=Path(run_dir or run_folder(plan_file.scenario.name, resume=resume)),
            resume=resume,
            recovery=recovery_of(plan_file, injects=faults is not None, max_restarts=max_restarts),
            save_weights=save_weights,
        )

    @property
    def n_steps(self) -> int:
        """Steps until it is done, those of an earlier start among them."""
        return self.steps or self.plan_file.scenario.run.steps

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
            steps=self.steps,
            resume=self.resume,
            port=port,
            on_step=on_step,
            recovery=self.recovery,
        )
        if self.save_weights is not None:
            save_weights(RunDir(self.run_dir), self.save_weights)
        comparison = compare(self.run_dir)
        for page in (self.run_dir / REPORT, report):
            if page is not None:
                write_report(page, Report.of(self.plan_file, comparison=comparison))
        return RunAnswer.of(result, comparison)
