"""The answer of `armillary simulate`: one step and the campaign of one plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from planner.fewer_nodes import NewPlans
from simulator.campaign.campaign_run import CampaignRun
from simulator.campaign.decided import decided, fixed_spares, with_reliability, with_spares
from simulator.campaign.predict import predict, setting_of
from simulator.campaign.replica_table import ReplicaTable
from simulator.campaign.replicas import run_replicas, summarize
from simulator.catalog.outage_file import read_outages
from simulator.schedule import Schedule
from simulator.spec.base import Basis, Spec
from simulator.spec.checkpoint_use import CheckpointUse
from simulator.spec.errors import InputError, unknown_name
from simulator.spec.fit import FitVerdict
from simulator.spec.kernel_table import KernelLookups
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.prediction import AxisLinks, InputNeeds, Prediction
from simulator.spec.scenario import Scenario
from simulator.step.predict import ENGINES, Engine, predict_step

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """A plan of a scenario, and what would happen."""

    scenario: Scenario
    plan: PlanSpec
    prediction: Prediction
    schedule: Schedule | None = None
    """The order of passes where it is not the plan's own."""
    first_run: CampaignRun | None = None
    """The first replica, with its segments; None in closed form."""
    replicas: ReplicaTable | None = None
    """All of them, a row each; None in closed form."""

    @property
    def title(self) -> str:
        """Name of the scenario and label of the plan."""
        return f"{self.scenario.name}: {self.plan.label()}"

    def to_frame(self) -> pd.DataFrame:
        """Return one row per pipeline stage: what its fullest rank holds, in bytes."""
        import pandas as pd

        rows = [stage.model_dump() for stage in self.prediction.step.memory]
        return pd.DataFrame(rows).set_index("stage")

    def answer(self) -> SimulationAnswer:
        """Return what `simulate --json` prints."""
        step, campaign = self.prediction.step, self.prediction.campaign
        return SimulationAnswer(
            plan=self.plan,
            step=StepAnswer(
                step_s=step.step_s,
                interval_step_s=step.interval_step_s.ends,
                engine=step.engine,
                mfu=step.mfu,
                tokens_per_s=step.tokens_per_s,
                breakdown_s=dict(step.breakdown.parts()),
                peak_memory_bytes=tuple(stage.total_bytes for stage in step.memory),
                interval_memory_bytes=step.interval_memory_bytes.ends,
                misfit_probability=step.misfit_probability,
                fit=step.fit,
                memory_capacity_bytes=step.memory_capacity_bytes,
                basis=step.basis,
                kernels=step.kernels,
                links=step.links,
            ),
            campaign=CampaignAnswer(
                goodput=campaign.goodput,
                interval_goodput=campaign.goodput_interval.ends,
                engine=campaign.engine,
                replicas=campaign.n_replicas,
                losses=campaign.losses,
                steps=campaign.n_steps,
                calendar_s=campaign.calendar_s,
                device_hours=campaign.device_hours,
                cost_usd=campaign.cost_usd,
                energy_j=campaign.energy_j,
                co2_kg=campaign.co2_kg,
                failures=campaign.expected_failures,
                failures_by_cause=campaign.failures,
                intervals={name: both.ends for name, both in campaign.intervals.items()},
                joint_intervals={
                    name: both.ends for name, both in self.prediction.intervals.items()
                },
                checkpoint_interval_s=campaign.checkpoint_interval_s,
                checkpoints=campaign.checkpoints,
                input_needs=campaign.input_needs,
            ),
            assumptions=step.assumptions + campaign.assumptions,
        )


def find_engine(name: str, *, where: str | None = None) -> Engine:
    """Return the clock of that name. Raises InputError with those that there are."""
    for engine in ENGINES:
        if engine == name:
            return engine
    raise unknown_name("engine", name, ENGINES, where=where)


def simulate_plan(
    plan_file: PlanFile,
    *,
    engine: Engine = "events",
    n_replicas: int = 20,
    within: float | None = None,
    schedule: Schedule | None = None,
) -> Simulation:
    """Predict the chosen plan of a plan file anew.

    By events, the whole training is simulated `n_replicas` times, or until the mean goodput is
    known to `within`, and the passes may have another order than the plan's `schedule`.
    """
    if schedule is not None and engine == "closed-form":
        raise InputError("only events know an order of your own", fix="--engine events")
    scenario, plan = plan_file.scenario, plan_file.plan
    if engine == "closed-form":
        prediction = predict(scenario, plan, engine=engine, replan=NewPlans())
        return Simulation(scenario=scenario, plan=plan, prediction=prediction)
    step = predict_step(scenario, plan, engine=engine, schedule=schedule)
    setting = setting_of(scenario, plan, step, replan=NewPlans())
    runs = run_replicas(setting, n_replicas=n_replicas, within=within)
    prediction = Prediction(step=step, campaign=summarize(setting, runs))
    return Simulation(
        scenario=scenario,
        plan=plan,
        prediction=prediction,
        schedule=schedule,
        first_run=runs[0],
        replicas=ReplicaTable.of(setting, runs),
    )


def with_replay(plan_file: PlanFile, path: Path) -> PlanFile:
    """Return the plan file with the outages of a file. Raises InputError where they do not fit."""
    outages = read_outages(path)
    scenario = plan_file.scenario
    spares = fixed_spares(decided(scenario, plan_file.plan).reliability)
    n_units = scenario.cluster.n_nodes + (spares or 0)
    last = max((outage.node for outage in outages), default=-1)
    if last >= n_units:
        raise InputError(
            f"node {last} fails, and there are {n_units} nodes and spares, counted from 0",
            where=str(path),
        )
    # The outages name the spares too, so how many there are is no longer open.
    return plan_file.asked(with_reliability(with_spares(scenario, spares), replay=outages))


class StepAnswer(Spec):
    """One step."""

    step_s: float
    interval_step_s: tuple[float, float]
    """90 %: low, high."""
    engine: str
    mfu: float
    tokens_per_s: float
    breakdown_s: dict[str, float]
    """Adds up to `step_s`."""
    peak_memory_bytes: tuple[float, ...]
    """Per pipeline stage, its fullest rank."""
    interval_memory_bytes: tuple[float, float]
    """90 % interval of the fullest stage's peak."""
    misfit_probability: float
    """Probability that the fullest rank needs more memory than there is."""
    fit: FitVerdict
    """'fits', 'edge' or 'does not fit'."""
    memory_capacity_bytes: float
    basis: Basis
    links: tuple[AxisLinks, ...]
    """Which links every axis in use crosses."""
    kernels: KernelLookups | None
    """How far the cluster's kernel table covers the step; null without one."""


class CampaignAnswer(Spec):
    """The whole training."""

    goodput: float
    interval_goodput: tuple[float, float]
    """90 % of single campaigns: low, high."""
    engine: str
    replicas: int
    """Campaigns that were simulated; 0 in closed form."""
    losses: dict[str, float]
    """Shares of paid device time; with the goodput they add up to 1."""
    steps: int
    calendar_s: float
    device_hours: float
    cost_usd: float | None
    energy_j: float | None
    co2_kg: float | None
    failures: float
    failures_by_cause: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    """90 % of single campaigns at this step time (low, high), by name; failures and losses by
    events only."""
    joint_intervals: dict[str, tuple[float, float]]
    """The same with the 90 % interval of the step's time in it."""
    checkpoint_interval_s: float
    checkpoints: tuple[CheckpointUse, ...]
    """Every tier, from the nearest to the safest."""
    input_needs: InputNeeds | None


class SimulationAnswer(Spec):
    """What `armillary simulate --json` prints."""

    version: Literal[1] = 1
    plan: PlanSpec
    step: StepAnswer
    campaign: CampaignAnswer
    assumptions: tuple[str, ...]
