"""What a plan decides about failures, in words, and what other decisions would cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from planner.fewer_nodes import NewPlans
from planner.objective import achieved
from planner.resilience import COMPARED
from simulator.campaign.closed_form import predict_campaign
from simulator.campaign.decided import decided
from simulator.campaign.predict import state_bytes, with_known_spread
from simulator.campaign.shapes import Replanner
from simulator.campaign.spares import offered_repairs
from simulator.campaign.terms import campaign_terms
from simulator.spec.errors import NoFeasiblePlan
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import Prediction
from simulator.spec.reliability import Recovery
from simulator.spec.scenario import Scenario
from simulator.spec.units import format_seconds

OTHER_FACTORS = (0.5, 2.0)
"""Checkpoint intervals that a plan's own is compared with, over it."""
OTHER_SPARES = (0.75, 1.25)
_AT_BEST: dict[Recovery, str] = {"replan": "replan, if every node left does as much as before,"}
"""Recoveries that are not worked out for the comparison."""


def decisions_in_words(plan: PlanSpec) -> tuple[str, ...]:
    """Return a phrase for each decision that a plan makes about failures."""
    phrases = []
    if plan.checkpoint_interval_s > 0:
        phrases.append(f"save every {format_seconds(plan.checkpoint_interval_s)}")
    if plan.n_spare_nodes is not None:
        phrases.append(f"{plan.n_spare_nodes} spare node{'' if plan.n_spare_nodes == 1 else 's'}")
    recoveries = {
        "wait": "replacements at hand" if plan.n_spare_nodes is None else "wait for repairs",
        "shrink": "go on with fewer copies",
        "replan": "plan anew for what is left",
        "isolate": f"{plan.isolation_groups} groups of "
        f"{plan.n_ranks // (plan.isolation_groups or 1):,} fail apart",
    }
    return (*phrases, *([recoveries[plan.recovery]] if plan.recovery else []))


def decision_reasons(scenario: Scenario, plan: PlanSpec, prediction: Prediction) -> tuple[str, ...]:
    """Say of each decision about failures what its alternatives would change, by closed form."""
    terms = campaign_terms(decided(scenario, plan))
    replan = NewPlans() if terms.recovery == "replan" else None
    against = _Alternatives(scenario, plan, prediction, replan)
    sentences = []
    if plan.checkpoint_interval_s > 0:
        others = [factor * plan.checkpoint_interval_s for factor in OTHER_FACTORS]
        sentences.append(
            f"checkpoint every {format_seconds(plan.checkpoint_interval_s)}, for "
            f"{format_seconds(prediction.campaign.checkpoint_stall_s)} of standstill: "
            + against.effects(
                (f"every {format_seconds(each)}", {"checkpoint_interval_s": each})
                for each in others
            )
        )
    if plan.n_spare_nodes is not None:
        n_nodes = -(-plan.n_ranks // terms.devices_per_node)
        rate_s = terms.removals.per_device_s * terms.devices_per_node
        in_repair = float(offered_repairs(n_nodes, rate_s, terms.removals.repair_s))
        spares = f"{plan.n_spare_nodes} spare{'s' * (plan.n_spare_nodes != 1)}"
        numbers = {round(factor * max(plan.n_spare_nodes, 4)) for factor in OTHER_SPARES}
        sentences.append(
            f"{spares}, for {in_repair:.3g} nodes in repair on average: "
            + against.effects(
                (f"{each} spares", {"n_spare_nodes": each}) for each in sorted(numbers)
            )
        )
    if plan.recovery is not None and (plan.recovery, plan.n_spare_nodes) != ("wait", None):
        sentences.append(
            f"{decisions_in_words(plan)[-1]} ({plan.recovery}{_asked(scenario, plan)}): "
            + against.effects(
                (_AT_BEST.get(each, each), {"recovery": each, "isolation_groups": None})
                for each in COMPARED
                if each != plan.recovery and (each != "isolate" or plan.dp_replicate > 1)
            )
        )
    return tuple(sentences)


def _asked(scenario: Scenario, plan: PlanSpec) -> str:
    """Say that other recoveries are not what the scenario wants, where it wants one."""
    asked = scenario.reliability.recovery == plan.recovery
    return ", as reliability.recovery asks; under another one" if asked else ""


@dataclass(frozen=True, slots=True)
class _Alternatives:
    """Other decisions of one plan, by what they change of the goal."""

    scenario: Scenario
    plan: PlanSpec
    prediction: Prediction
    replan: Replanner | None
    """None where the plan itself does not plan anew."""

    def effects(self, alternatives: Iterable[tuple[str, dict[str, object]]]) -> str:
        """Return 'name +1.2 % time' of each."""
        goal = self.scenario.goal
        usual = achieved(goal, self.prediction)
        found = []
        for name, changes in alternatives:
            value = self._achieved(self.plan.model_copy(update=changes))
            change = "never finishes" if value is None else f"{100 * (value / usual - 1):+.1f} %"
            found.append(f"{name} {change}")
        return ", ".join(found) + f" {goal.minimize}"

    def _achieved(self, plan: PlanSpec) -> float | None:
        step, size = self.prediction.step, state_bytes(self.scenario, plan)
        try:
            campaign = predict_campaign(
                self.scenario, plan, step, state_bytes=size, replan=self.replan
            )
        except NoFeasiblePlan:
            return None
        prediction = Prediction(step=step, campaign=campaign)
        if self.scenario.goal.at_quantile is not None:
            prediction = with_known_spread(self.scenario, plan, prediction)
        return achieved(self.scenario.goal, prediction)
