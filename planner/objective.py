"""What the best plan is: least time, cost, energy or carbon, within a deadline and a budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Self

import numpy as np
import numpy.typing as npt

from simulator.cost.plan_table import BoolArray, FloatArray, IntArray, PlanTable
from simulator.spec.prediction import NORMAL_95, CampaignPrediction, Prediction
from simulator.spec.scenario import GoalSpec, Minimized

NEAR_TIE = 1e-3
"""Plans whose objective differs by less than this share are equals to the model; of equals the one
with the larger memory margin comes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Steps of plans; arrays over plans."""

    step_s: FloatArray
    communication_share: FloatArray
    """Part of a step in which devices compute nothing."""

    def take(self, rows: BoolArray | npt.NDArray[np.intp]) -> Self:
        """Return the rows of a mask or of an index array."""
        return type(self)(
            step_s=self.step_s[rows], communication_share=self.communication_share[rows]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What plans would lead to; arrays over plans."""

    table: PlanTable
    peak_bytes: FloatArray
    step_s: FloatArray
    calendar_s: FloatArray
    """This and what follows at the goal's quantile, or in the mean."""
    cost_usd: FloatArray | None
    """None where no price is known."""
    energy_j: FloatArray | None
    """None where no power is known."""

    def __len__(self) -> int:
        return len(self.table)

    def take(self, rows: BoolArray | npt.NDArray[np.intp]) -> Self:
        """Return the rows of a mask or of an index array."""
        return type(self)(
            table=self.table.take(rows),
            peak_bytes=self.peak_bytes[rows],
            step_s=self.step_s[rows],
            calendar_s=self.calendar_s[rows],
            cost_usd=None if self.cost_usd is None else self.cost_usd[rows],
            energy_j=None if self.energy_j is None else self.energy_j[rows],
        )

    def where(self, kept: BoolArray, other: Self) -> Self:
        """Return these rows where the mask is True, and the other's elsewhere; same plans."""
        return type(self)(
            table=self.table,
            peak_bytes=self.peak_bytes,
            step_s=self.step_s,
            calendar_s=np.where(kept, self.calendar_s, other.calendar_s),
            cost_usd=_chosen(kept, self.cost_usd, other.cost_usd),
            energy_j=_chosen(kept, self.energy_j, other.energy_j),
        )

    def joined(self, other: Self) -> Self:
        """Return the rows of both, these first."""
        return type(self)(
            table=self.table.joined(other.table),
            peak_bytes=np.concatenate([self.peak_bytes, other.peak_bytes]),
            step_s=np.concatenate([self.step_s, other.step_s]),
            calendar_s=np.concatenate([self.calendar_s, other.calendar_s]),
            cost_usd=_joined(self.cost_usd, other.cost_usd),
            energy_j=_joined(self.energy_j, other.energy_j),
        )


def _joined(first: FloatArray | None, second: FloatArray | None) -> FloatArray | None:
    return None if first is None or second is None else np.concatenate([first, second])


def _chosen(
    kept: BoolArray, first: FloatArray | None, second: FloatArray | None
) -> FloatArray | None:
    return None if first is None or second is None else np.where(kept, first, second)


def objective(goal: GoalSpec, outlook: Outlook) -> FloatArray:
    """Return what is to be least, in seconds, dollars or joules."""
    values = {
        "time": outlook.calendar_s,
        "cost": outlook.cost_usd,
        "energy": outlook.energy_j,
        "carbon": outlook.energy_j,  # of one grid: the same plans are best
    }[goal.minimize]
    assert values is not None, "whoever prices plans makes sure that the goal can be priced"
    return values


def within_goal(goal: GoalSpec, outlook: Outlook) -> BoolArray:
    """Return which plans meet the deadline and the budget."""
    allowed = np.ones(len(outlook), dtype=np.bool_)
    if goal.finish_within is not None:
        allowed &= outlook.calendar_s <= goal.finish_within
    if goal.budget is not None:
        assert outlook.cost_usd is not None, "whoever prices plans makes sure of a price"
        allowed &= outlook.cost_usd <= goal.budget
    return allowed


def lateness(goal: GoalSpec, goodput: FloatArray, deviation: FloatArray) -> FloatArray:
    """Return what totals of single campaigns are at the goal's quantile, over their means."""
    if goal.at_quantile is None:
        return np.ones_like(goodput)
    least = np.maximum(goodput - NORMAL_95 * deviation, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        most = np.where(least > 0, goodput / least, np.inf)
    late: FloatArray = most ** (NormalDist().inv_cdf(goal.at_quantile) / NORMAL_95)
    return late


_TOTALS: dict[Minimized, str] = {
    "time": "calendar_s",
    "cost": "cost_usd",
    "energy": "energy_j",
    "carbon": "energy_j",
}


def achieved(goal: GoalSpec, prediction: Prediction) -> float:
    """Return what is to be least, of one predicted training."""
    value = total(goal, prediction.campaign, _TOTALS[goal.minimize])
    assert value is not None, "whoever prices plans makes sure that the goal can be priced"
    return value


def meets(goal: GoalSpec, prediction: Prediction) -> bool:
    """Return whether one predicted training meets the deadline and the budget."""
    limits = {"calendar_s": goal.finish_within, "cost_usd": goal.budget}
    reached = [(total(goal, prediction.campaign, name), most) for name, most in limits.items()]
    return all(most is None or (value is not None and value <= most) for value, most in reached)


def total(goal: GoalSpec, campaign: CampaignPrediction, name: str) -> float | None:
    """Return a total of the campaign, at the goal's quantile or in the mean."""
    mean: float | None = getattr(campaign, name)
    if mean is None or goal.at_quantile is None:
        return mean
    interval = campaign.intervals.get(name)  # none where single campaigns may never end
    return math.inf if interval is None else interval.at(goal.at_quantile, mean)


def grade(value: npt.ArrayLike) -> FloatArray:
    """Return the same number for values that are nearly tied."""
    grades: FloatArray = np.floor(np.log(np.maximum(value, 1e-300)) / NEAR_TIE)
    return grades


def order(goal: GoalSpec, outlook: Outlook) -> npt.NDArray[np.intp]:
    """Return the rows from best to worst.

    Near-ties go by memory left free, then by simplicity, then by position; so the order depends on
    nothing but the plans.
    """
    grades = grade(objective(goal, outlook))
    return np.lexsort((_complexity(outlook.table), outlook.peak_bytes, grades))


def _complexity(table: PlanTable) -> IntArray:
    """Kinds of parallelism in use, and model pieces per rank."""
    axes: IntArray = sum(
        (size > 1).astype(np.int64)
        for size in (table.pp, table.tp, table.cp, table.ep, table.dp_shard, table.dp_replicate)
    )  # type: ignore[assignment]
    return 1000 * (axes + table.sequence_parallel) + table.virtual_stages
