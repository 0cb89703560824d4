"""The answer of `armillary simulate`: one step and the campaign of one plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from simulator.campaign.predict import predict
from simulator.spec.base import Basis, Spec
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.prediction import Prediction
from simulator.spec.scenario import Scenario
from simulator.step.predict import Engine

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """A plan of a scenario, and what would happen."""

    scenario: Scenario
    plan: PlanSpec
    prediction: Prediction

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
                interval_step_s=(step.interval_step_s.low, step.interval_step_s.high),
                engine=step.engine,
                mfu=step.mfu,
                tokens_per_s=step.tokens_per_s,
                breakdown_s=dict(step.breakdown.parts()),
                peak_memory_bytes=tuple(stage.total_bytes for stage in step.memory),
                memory_capacity_bytes=step.memory_capacity_bytes,
                basis=step.basis,
            ),
            campaign=CampaignAnswer(
                goodput=campaign.goodput,
                interval_goodput=(campaign.goodput_interval.low, campaign.goodput_interval.high),
                losses=campaign.losses,
                steps=campaign.n_steps,
                calendar_s=campaign.calendar_s,
                device_hours=campaign.device_hours,
                cost_usd=campaign.cost_usd,
                energy_j=campaign.energy_j,
                co2_kg=campaign.co2_kg,
                failures=campaign.expected_failures,
                checkpoint_interval_s=campaign.checkpoint_interval_s,
            ),
            assumptions=step.assumptions + campaign.assumptions,
        )


def simulate_plan(plan_file: PlanFile, *, engine: Engine = "events") -> Simulation:
    """Predict the chosen plan of a plan file anew."""
    scenario, plan = plan_file.scenario, plan_file.plan
    prediction = predict(scenario, plan, engine=engine)
    return Simulation(scenario=scenario, plan=plan, prediction=prediction)


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
    memory_capacity_bytes: float
    basis: Basis


class CampaignAnswer(Spec):
    """The whole training."""

    goodput: float
    interval_goodput: tuple[float, float]
    losses: dict[str, float]
    """Shares of paid device time; with the goodput they add up to 1."""
    steps: int
    calendar_s: float
    device_hours: float
    cost_usd: float | None
    energy_j: float | None
    co2_kg: float | None
    failures: float
    checkpoint_interval_s: float


class SimulationAnswer(Spec):
    """What `armillary simulate --json` prints."""

    version: Literal[1] = 1
    plan: PlanSpec
    step: StepAnswer
    campaign: CampaignAnswer
    assumptions: tuple[str, ...]
