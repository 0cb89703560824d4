"""What a plan does about failures: how many spares, what happens when nodes are missing, when to
save.

A step is the same whatever is decided here, so that the search prices every plan under the best of
these decisions: of a few numbers of spares for all plans, of all numbers for the finalists.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from planner.objective import NEAR_TIE, Outlook, Steps, lateness, objective, within_goal
from simulator.campaign.campaign_table import CampaignTable, campaign_table
from simulator.campaign.checkpoint_size import checkpoint_bytes
from simulator.campaign.closed_form import best_on_fewer
from simulator.campaign.decided import droppable_copies, separable_groups, with_reliability
from simulator.campaign.rhythm import Rhythm, checkpoint_rhythm
from simulator.campaign.shapes import BestOnFewer, Replanner
from simulator.campaign.spares import offered_repairs
from simulator.campaign.terms import CampaignTerms, campaign_terms
from simulator.cost.plan_table import BoolArray, FloatArray, IntArray, PlanTable
from simulator.spec.errors import InputError
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import StepPrediction
from simulator.spec.reliability import Recovery
from simulator.spec.scenario import Scenario
from simulator.spec.target import TARGETS

COMPARED: tuple[Recovery, ...] = ("wait", "shrink", "isolate", "replan")
"""Recoveries of which the best is taken, the simplest first."""
SOME_DEVIATIONS = (0.0, 2.0, 4.0, 6.0)
"""Spares that are tried for all plans: none, and the mean number of nodes in repair with so many of
its standard deviations on top."""
MANY_DEVIATIONS = 8.0
MOST_NUMBERS = 400
"""Numbers of spares that are tried for a finalist; more are thinned out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Works:
    """n plans as far as failures go."""

    table: PlanTable
    steps: Steps
    held_bytes: FloatArray
    """Weights and optimizer state of the fullest rank."""
    peak_bytes: FloatArray


@dataclass(frozen=True, slots=True, order=True)
class _Tried:
    """Decisions of one plan, and what they lead to; the best first."""

    misses: bool
    """The deadline or the budget."""
    value: float
    """What is to be least."""
    device_hours: float = field(compare=False)
    plan: PlanSpec = field(compare=False)

    def by(self, factor: float) -> _Tried:
        """Return the same with so much of the value."""
        return replace(self, value=self.value * factor)


@dataclass(frozen=True, slots=True)
class Resilience:
    """The decisions that a scenario leaves open, and what trainings lead to under them."""

    scenario: Scenario
    terms: tuple[CampaignTerms, ...]
    """For each recovery that is compared."""
    state_bytes: float
    """Size of a checkpoint."""

    @classmethod
    def of(cls, scenario: Scenario) -> Resilience:
        """Resolve a scenario. Raises InputError for a recovery that its target cannot carry out."""
        asked = scenario.reliability
        able = _able(scenario)
        if asked.recovery == "best":
            recoveries = tuple(recovery for recovery in COMPARED if recovery in able)
        elif asked.recovery in able:
            # Where copies share nodes, isolated groups cannot be had: everything starts again.
            fallback: tuple[Recovery, ...] = ("wait",) if asked.recovery == "isolate" else ()
            recoveries = (*fallback, asked.recovery)
        else:
            raise InputError(
                f"{scenario.target} cannot carry out recovery {asked.recovery}",
                where="reliability.recovery",
                fix=f"take {' or '.join(able)}, or best",
            )
        spares = None if asked.spares == "best" else asked.spares
        return cls(
            scenario,
            tuple(
                campaign_terms(with_reliability(scenario, recovery=recovery, spares=spares))
                for recovery in recoveries
            ),
            checkpoint_bytes(scenario.model, scenario.job),
        )

    def outlook(self, works: Works) -> Outlook:
        """Return what plans lead to under the best of some decisions."""
        goal = self.scenario.goal
        best: Outlook | None = None
        for terms in self.terms:
            for n_spares in self._some_spares(terms, works.table):
                found = self._outlook(terms, works, n_spares)
                if best is None:
                    best = found
                    continue
                meets, met = within_goal(goal, found), within_goal(goal, best)
                better = objective(goal, found) < objective(goal, best)
                best = best.where((met & ~meets) | ((met == meets) & ~better), found)
        assert best is not None, "some recovery is always compared"
        return best

    def decide(self, plan: PlanSpec, step: StepPrediction, replan: Replanner) -> PlanSpec:
        """Return the plan with spares, recovery, groups and time between checkpoints.

        Of decisions as good as the best one, the one that pays for the least device time is taken,
        then the simplest. `replan` finds the best plan for fewer nodes.
        """
        tried: list[_Tried] = []
        for terms in self.terms:
            if terms.recovery == "replan":
                self._plan_anew(tried, terms, plan, step, replan)
            else:
                tried += self._tried(terms, plan, step, self._all_spares(terms, plan))
        first = min(tried)
        as_good = [
            each
            for each in tried
            if each.misses == first.misses and each.value <= first.value * (1 + NEAR_TIE)
        ]
        return min(as_good, key=lambda each: each.device_hours).plan

    def _plan_anew(
        self,
        tried: list[_Tried],
        terms: CampaignTerms,
        plan: PlanSpec,
        step: StepPrediction,
        replan: Replanner,
    ) -> None:
        """Try to plan anew with the numbers of spares where that could be better, best first.

        No new plan makes the nodes that are left do more than before: that is the bound, and only
        what passes it asks the planner.
        """
        best = best_on_fewer(self.scenario, plan, terms, step, replan)
        for bound in sorted(self._tried(terms, plan, step, self._all_spares(terms, plan))):
            if tried and bound >= min(tried).by(1 - NEAR_TIE):
                return
            tried += self._tried(terms, plan, step, (bound.plan.n_spare_nodes,), best=best)

    def _tried(
        self,
        terms: CampaignTerms,
        plan: PlanSpec,
        step: StepPrediction,
        numbers: tuple[int | None, ...],
        *,
        best: BestOnFewer | None = None,
    ) -> list[_Tried]:
        """Return what a plan leads to under one recovery with these numbers of spares."""
        goal, n = self.scenario.goal, len(numbers)
        works = Works(
            table=PlanTable.of([plan]).take(np.zeros(n, dtype=np.intp)),
            steps=Steps(
                step_s=np.full(n, step.fed_step_s),
                communication_share=np.full(n, step.communication_share),
            ),
            held_bytes=np.full(n, step.held_bytes),
            peak_bytes=np.full(n, step.peak_memory_bytes),
        )
        spares = None if numbers[0] is None else np.array(numbers)
        rhythm, campaigns = self._campaigns(terms, works, spares, best=best)
        found = self._as_outlook(terms, works, campaigns)
        misses, values = ~within_goal(goal, found), objective(goal, found)
        decisions = {
            "recovery": terms.recovery,
            "isolation_groups": self._groups_of(terms, works.table),
            "checkpoint_interval_s": _interval_s(rhythm, step.fed_step_s),
        }
        return [
            _Tried(
                bool(misses[row]),
                float(values[row]),
                float(campaigns.device_hours[row]),
                plan.model_copy(update={**decisions, "n_spare_nodes": number}),
            )
            for row, number in enumerate(numbers)
        ]

    def _groups_of(self, terms: CampaignTerms, table: PlanTable) -> int | None:
        return int(self._groups(table)[0]) if terms.recovery == "isolate" else None

    def _outlook(self, terms: CampaignTerms, works: Works, n_spares: int | None) -> Outlook:
        spares = None if n_spares is None else np.full(len(works.table), n_spares)
        return self._as_outlook(terms, works, self._campaigns(terms, works, spares)[1])

    def _campaigns(
        self,
        terms: CampaignTerms,
        works: Works,
        n_spares: IntArray | None,
        *,
        best: BestOnFewer | None = None,
    ) -> tuple[Rhythm, CampaignTable]:
        table = works.table
        rhythm = checkpoint_rhythm(
            terms,
            n_ranks=table.n_ranks,
            step_s=works.steps.step_s,
            state_bytes=self.state_bytes,
            held_bytes=works.held_bytes,
            n_copies=table.dp,
        )
        with np.errstate(over="ignore"):  # a campaign that never ends is infinitely long
            campaigns = campaign_table(
                terms,
                rhythm,
                n_ranks=table.n_ranks,
                step_s=works.steps.step_s,
                n_spare_nodes=n_spares,
                n_groups=self._groups(table),
                n_copies=droppable_copies(table.dp_replicate, table.dp_shard),
                communication_share=works.steps.communication_share,
                best=best,
            )
        return rhythm, campaigns

    def _as_outlook(self, terms: CampaignTerms, works: Works, campaigns: CampaignTable) -> Outlook:
        able = self._possible(terms, works.table)
        late = lateness(self.scenario.goal, campaigns.goodput, campaigns.goodput_deviation)

        def known(values: FloatArray | None) -> FloatArray | None:
            return None if values is None else np.where(able, values * late, np.inf)

        return Outlook(
            table=works.table,
            peak_bytes=works.peak_bytes,
            step_s=works.steps.step_s,
            calendar_s=np.where(able, campaigns.calendar_s * late, np.inf),
            cost_usd=known(campaigns.bill.cost_usd),
            energy_j=known(campaigns.bill.energy_j),
        )

    def _possible(self, terms: CampaignTerms, table: PlanTable) -> BoolArray:
        """Return for which plans a recovery is one of those that are compared."""
        apart: BoolArray = self._groups(table) > 1
        if terms.recovery == "isolate":
            return apart
        fallback = self.scenario.reliability.recovery == "isolate"
        return ~apart if fallback else np.ones(len(table), dtype=np.bool_)

    def _groups(self, table: PlanTable) -> IntArray:
        """Return how many groups would fail apart: as many as are asked for, or as there can be."""
        ranks_per_copy = table.dp_shard * table.cp * table.tp
        per_node = self.scenario.cluster.devices_per_node
        most = separable_groups(table.dp_replicate, ranks_per_copy, per_node)
        asked = self.scenario.reliability.isolation_groups
        return most if asked is None else np.where(most % asked == 0, asked, 1)

    def _some_spares(self, terms: CampaignTerms, table: PlanTable) -> tuple[int | None, ...]:
        if self.scenario.reliability.spares != "best":
            return (terms.n_spare_nodes,)
        load, limit = self._load(terms, table)
        some = {round(load + deviations * load**0.5) for deviations in SOME_DEVIATIONS}
        return tuple(sorted({min(number, limit) for number in {0, *some}}))

    def _all_spares(self, terms: CampaignTerms, plan: PlanSpec) -> tuple[int | None, ...]:
        if self.scenario.reliability.spares != "best":
            return (terms.n_spare_nodes,)
        load, limit = self._load(terms, PlanTable.of([plan]))
        most = min(limit, round(load + MANY_DEVIATIONS * load**0.5) + 1)
        numbers = np.unique(np.linspace(0, most, min(most + 1, MOST_NUMBERS)).round())
        return tuple(int(number) for number in numbers)

    def _load(self, terms: CampaignTerms, table: PlanTable) -> tuple[float, int]:
        """Return the mean number of nodes in repair, and the most spares there may be."""
        per_node = terms.devices_per_node
        n_nodes = -(-int(table.n_ranks[0]) // per_node)
        rate_s = terms.removals.per_device_s * per_node
        load = float(offered_repairs(n_nodes, rate_s, terms.removals.repair_s))
        return load, self._powered_spares(terms, n_nodes)

    def _powered_spares(self, terms: CampaignTerms, n_nodes: int) -> int:
        """Return how many spare nodes the goal's power cap leaves room for, at most `n_nodes`."""
        cap_w, power, per_node = self.scenario.goal.power_cap, terms.power, terms.devices_per_node
        if cap_w is None or power is None or power.spare_w == 0:
            return n_nodes
        left_w = cap_w - power.at_meter_w(n_nodes * per_node, 0)
        spare_w = power.at_meter_w(0, per_node)
        return max(0, min(n_nodes, int(left_w / spare_w)))


def _able(scenario: Scenario) -> tuple[Recovery, ...]:
    """Return the recoveries that the target carries out, or any target where none is named."""
    targets = [TARGETS[scenario.target]] if scenario.target else list(TARGETS.values())
    return tuple(dict.fromkeys(each for target in targets for each in target.recoveries))


def _interval_s(rhythm: Rhythm, step_s: float) -> float:
    """Return the time between checkpoints in whole steps; 0 where nothing is ever read."""
    if np.isinf(rhythm.mtbf_s[0]):
        return 0.0
    interval_s = float(rhythm.tiers[-1].interval_s[0])
    return interval_s if len(rhythm.tiers) > 1 else max(1, round(interval_s / step_s)) * step_s
