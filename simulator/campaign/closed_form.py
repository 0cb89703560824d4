"""The whole campaign of one plan in closed form."""

from __future__ import annotations

import numpy as np

from simulator.campaign.campaign_table import CampaignTable, campaign_table
from simulator.campaign.decided import decided, droppable_copies
from simulator.campaign.endless import require_progress
from simulator.campaign.feeding import input_needs, input_waits
from simulator.campaign.rhythm import checkpoint_uses, plan_rhythm, require_room
from simulator.campaign.shapes import BestOnFewer, ReplannedShapes, Replanner, Shape
from simulator.campaign.terms import CampaignTerms, campaign_terms
from simulator.cost.plan_table import FloatArray
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import (
    NORMAL_95,
    TOTALS,
    CampaignPrediction,
    InputNeeds,
    Interval,
    StepPrediction,
)
from simulator.spec.reliability import ReliabilitySpec
from simulator.spec.scenario import Scenario
from simulator.spec.units import format_seconds


def predict_campaign(
    scenario: Scenario,
    plan: PlanSpec,
    step: StepPrediction,
    *,
    state_bytes: float,
    replan: Replanner | None = None,
) -> CampaignPrediction:
    """Predict the whole training of one plan.

    `state_bytes` is the size of a checkpoint; `replan` finds the best plan for fewer nodes, where
    the recovery asks for it. Raises NoFeasiblePlan where no progress is left and
    InputError where a checkpoint is larger than its tier.
    """
    scenario = decided(scenario, plan)
    terms = campaign_terms(scenario)
    require_room(
        scenario.reliability.checkpoint_tiers,
        state_bytes,
        -(-plan.n_ranks // terms.devices_per_node),
    )
    rhythm = plan_rhythm(terms, plan, step, state_bytes=state_bytes)
    best = best_on_fewer(scenario, plan, terms, step, replan)
    table = campaign_table(
        terms,
        rhythm,
        n_ranks=plan.n_ranks,
        step_s=step.fed_step_s,
        n_groups=scenario.reliability.isolation_groups or 1,
        n_copies=droppable_copies(plan.dp_replicate, plan.dp_shard),
        communication_share=step.communication_share,
        best=best,
    )
    require_progress(table)
    needs = input_needs(terms, step_s=step.fed_step_s, n_ranks=plan.n_ranks)
    return _prediction(terms, table, needs, scenario.reliability, replans=best is not None)


def best_on_fewer(
    scenario: Scenario,
    plan: PlanSpec,
    terms: CampaignTerms,
    step: StepPrediction,
    replan: Replanner | None,
) -> BestOnFewer | None:
    """Return the best plan by the number of nodes left; None where nobody plans anew."""
    if replan is None or terms.recovery != "replan":
        return None
    ranks = np.array([float(plan.n_ranks)])
    stall_s = float(input_waits(terms, np.array([step.fed_step_s]), ranks)[0][0])
    n_nodes = -(-plan.n_ranks // terms.devices_per_node)
    full = Shape(n_nodes, step.fed_step_s * terms.slowdown + stall_s)
    return ReplannedShapes(scenario, full, replan, terms.slowdown, stall_s).best


def _prediction(
    terms: CampaignTerms,
    table: CampaignTable,
    needs: InputNeeds | None,
    asked: ReliabilitySpec,
    *,
    replans: bool,
) -> CampaignPrediction:
    goodput = float(table.goodput[0])
    reach = NORMAL_95 * float(table.goodput_deviation[0])
    interval = Interval(low=max(0.0, goodput - reach), high=min(1.0, goodput + reach))
    safest = table.rhythm.tiers[-1]
    prediction = CampaignPrediction(
        n_steps=terms.n_steps,
        goodput=goodput,
        goodput_interval=interval,
        losses={loss.value: float(share[0]) for loss, share in table.losses.items()},
        calendar_s=float(table.calendar_s[0]),
        device_hours=float(table.device_hours[0]),
        cost_usd=_first(table.bill.cost_usd),
        energy_j=_first(table.bill.energy_j),
        co2_kg=_first(table.bill.co2_kg),
        expected_failures=float(table.expected_failures[0]),
        checkpoint_interval_s=float(safest.interval_s[0]),
        checkpoint_stall_s=float(sum(tier.stall_s[0] for tier in table.rhythm.tiers)),
        checkpoints=checkpoint_uses(terms, table.rhythm),
        input_needs=needs,
        assumptions=terms.assumptions + _warnings(terms, table, asked, replans=replans),
    )
    return prediction.model_copy(update={"intervals": spreads(prediction)})


def spreads(campaign: CampaignPrediction) -> dict[str, Interval]:
    """Return the intervals of single campaigns: the time of all devices is inverse to goodput."""
    goodput, between = campaign.goodput, campaign.goodput_interval
    if between.low <= 0:
        return {}
    return {
        name: Interval(low=total * goodput / between.high, high=total * goodput / between.low)
        for name in TOTALS
        if (total := getattr(campaign, name)) is not None
    }


def _first(column: FloatArray | None) -> float | None:
    return None if column is None else float(column[0])


def _warnings(
    terms: CampaignTerms, table: CampaignTable, asked: ReliabilitySpec, *, replans: bool
) -> tuple[str, ...]:
    mtbf_s, restart_s = float(table.rhythm.mtbf_s[0]), float(table.restart_s[0])
    unsaid = (
        (
            restart_s >= mtbf_s,
            f"a restart ({format_seconds(restart_s)}) takes longer than the time between failures "
            f"({format_seconds(mtbf_s)})",
        ),
        (
            terms.recovery == "replan" and not replans,
            "the closed form lets every node that is left do as much as before under a new plan",
        ),
        (
            bool(terms.slow),
            "the closed form lets slow devices and links lengthen what nothing hides",
        ),
        (
            any(phase.shape != 1 for cause in terms.causes for phase in cause.life),
            "the closed form takes ageing parts as failing at their mean rate",
        ),
        (
            asked.repair_crews is not None and terms.n_spare_nodes is not None,
            "the closed form takes repairs that queue for a crew as exponential",
        ),
    )
    return tuple(sentence for applies, sentence in unsaid if applies)
