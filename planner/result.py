"""The answer of a search: ranked plans with their predictions, and how they were found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from simulator.spec.base import Spec
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile, Provenance, RankedPlan
from simulator.spec.prediction import Prediction
from simulator.spec.scenario import Scenario

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Plans of a scenario from best to worst; never empty."""

    scenario: Scenario
    plans: tuple[RankedPlan, ...]
    fastest: RankedPlan
    """The plan that would be best if nothing failed; often one of the others. Its rank is 0, and
    `loses_to` says what the failures cost it."""
    n_plans: int
    """Legal plans: each was priced, or is proven not to fit or to be behind the ranked ones."""
    n_priced: int
    n_fitting: int
    """Of the priced ones, those that memory allows."""
    complete: bool
    """Whether all legal plans were priced or proven to be no answer."""
    seconds: float

    @property
    def best(self) -> RankedPlan:
        """The answer."""
        return self.plans[0]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per plan: decisions, then predictions in SI units."""
        import pandas as pd

        rows = [
            {"rank": ranked.rank}
            | ranked.plan.model_dump(mode="json", exclude={"layers_per_chunk"})
            | PredictionSummary.of(ranked.prediction).row()
            | {"loses_to": ranked.loses_to}
            for ranked in self.plans
        ]
        return pd.DataFrame(rows).set_index("rank")

    def plan_file(self) -> PlanFile:
        """Return the file that the other verbs read; the best plan is the chosen one."""
        return PlanFile(
            scenario=self.scenario,
            plan=self.best.plan,
            prediction=self.best.prediction,
            alternatives=self.plans,
            provenance=Provenance.of(self.scenario),
        )

    def answer(self, question: str, front: Front | None = None) -> PlanAnswer:
        """Return what `plan --json` prints."""
        return PlanAnswer(
            question=question,
            search=SearchSummary(
                plans=self.n_plans,
                priced=self.n_priced,
                feasible=self.n_fitting,
                complete=self.complete,
                seconds=self.seconds,
            ),
            plans=tuple(PlanLine.of(ranked) for ranked in self.plans),
            fastest_step=PlanLine.of(self.fastest),
            front=front,
        )


class PredictionSummary(Spec):
    """What one wants to know of a plan first."""

    step_s: float
    interval_step_s: tuple[float, float]
    """90 %: low, high."""
    mfu: float
    peak_memory_bytes: float
    interval_memory_bytes: tuple[float, float]
    memory_margin_bytes: float
    misfit_probability: float
    """Probability that the fullest rank needs more memory than there is."""
    goodput: float
    calendar_s: float
    interval_calendar_s: tuple[float, float]
    """90 %, of the step's time and of single campaigns together."""
    cost_usd: float | None
    interval_cost_usd: tuple[float, float] | None
    energy_j: float | None

    def row(self) -> dict[str, float | None]:
        """Return the numbers by name; both ends of an interval have a name each."""
        return dict(self._cells())

    def _cells(self) -> Iterator[tuple[str, float | None]]:
        for name, value in self:
            if name.startswith("interval_"):
                low, high = value or (None, None)
                yield f"{name.removeprefix('interval_')}_low", low
                yield f"{name.removeprefix('interval_')}_high", high
            else:
                yield name, value

    @classmethod
    def of(cls, prediction: Prediction) -> PredictionSummary:
        """Pick the summary out of a whole prediction."""
        step, campaign, intervals = prediction.step, prediction.campaign, prediction.intervals
        cost = intervals.get("cost_usd")
        return cls(
            step_s=step.step_s,
            interval_step_s=step.interval_step_s.ends,
            mfu=step.mfu,
            peak_memory_bytes=step.peak_memory_bytes,
            interval_memory_bytes=step.interval_memory_bytes.ends,
            memory_margin_bytes=step.memory_margin_bytes,
            misfit_probability=step.misfit_probability,
            goodput=campaign.goodput,
            calendar_s=campaign.calendar_s,
            interval_calendar_s=intervals["calendar_s"].ends,
            cost_usd=campaign.cost_usd,
            interval_cost_usd=None if cost is None else cost.ends,
            energy_j=campaign.energy_j,
        )


class PlanLine(Spec):
    """One plan of the answer."""

    rank: int
    plan: PlanSpec
    prediction: PredictionSummary
    loses_to: str
    """How much longer it takes than the best plan, and why; empty for the best."""

    @classmethod
    def of(cls, ranked: RankedPlan) -> PlanLine:
        """Return the line of a plan."""
        return cls(
            rank=ranked.rank,
            plan=ranked.plan,
            prediction=PredictionSummary.of(ranked.prediction),
            loses_to=ranked.loses_to,
        )


class SearchSummary(Spec):
    """How the answer was found."""

    plans: int
    """Legal plans: each was priced, or is proven not to fit or to be behind the ranked ones."""
    priced: int
    feasible: int
    """Of the priced ones, those that memory allows."""
    complete: bool
    seconds: float


class FrontPlan(Spec):
    """One plan of a front."""

    n_devices: int
    plan: PlanSpec
    prediction: PredictionSummary


class Front(Spec):
    """Plans that no other one beats in time, money, energy and memory, the fastest first."""

    plans: tuple[FrontPlan, ...]
    counts: tuple[int, ...]
    """Numbers of devices that were tried."""
    n_plans: int
    """Legal plans: each was priced, or is proven to be beaten or not to fit."""
    n_priced: int
    tolerance: float
    """Share by which a plan has to be better than each other one in something; one that is left out
    may be better than each by up to twice as much."""

    def to_frame(self) -> pd.DataFrame:
        """Return one row per plan, in SI units."""
        import pandas as pd

        return pd.DataFrame(
            {"n_devices": one.n_devices, "plan": one.plan.label()} | one.prediction.row()
            for one in self.plans
        )


class PlanAnswer(Spec):
    """What `armillary plan --json` prints."""

    version: Literal[1] = 1
    question: str
    search: SearchSummary
    plans: tuple[PlanLine, ...]
    fastest_step: PlanLine
    """The plan that would be best if nothing failed, with rank 0 where failures put another first;
    `loses_to` says then what they cost it."""
    front: Front | None = None
    """With `--pareto`."""
