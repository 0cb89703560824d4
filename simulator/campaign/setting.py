"""One campaign, resolved: what both engines simulate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.campaign.campaign_table import campaign_table
from simulator.campaign.decided import decided
from simulator.campaign.degraded import StepClock
from simulator.campaign.endless import require_progress
from simulator.campaign.failures import Failure, recorded_failures
from simulator.campaign.feeding import input_needs, input_waits
from simulator.campaign.fleet import Cohorts, Fleet, build_fleet
from simulator.campaign.repair import RepairTerms
from simulator.campaign.rhythm import Rhythm, checkpoint_uses, plan_rhythm, require_room
from simulator.campaign.saves import Saves, SaveTier
from simulator.campaign.shapes import (
    FixedShape,
    ReplannedShapes,
    Replanner,
    Shape,
    Shapes,
    ShrunkShapes,
)
from simulator.campaign.spare_pools import SpareTerms
from simulator.campaign.terms import CampaignTerms, campaign_terms
from simulator.spec.checkpoint_use import CheckpointUse
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import InputNeeds, StepPrediction
from simulator.spec.reliability import Recovery, ReliabilitySpec
from simulator.spec.scenario import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignSetting:
    """Everything that a replica of a campaign needs, besides its random numbers."""

    terms: CampaignTerms
    fleet: Fleet
    cohorts: Cohorts
    recorded: tuple[Failure, ...]
    """Outages that happen besides the random ones."""
    saves: Saves
    restart_s: float
    """Detection to training again, without loading and swapping; the first start takes as long."""
    spares: SpareTerms
    repair: RepairTerms
    recovery: Recovery
    n_groups: int
    """Replica groups that fail apart; 1 unless the recovery is `isolate`."""
    useful_step_s: float
    """A step on healthy devices."""
    input_stall_s: float
    """Wait of every step for its data; part of the steps of all shapes."""
    communication_share: float
    """Part of a step in which devices compute nothing."""
    full: Shape
    shapes: Shapes
    clock: StepClock
    checkpoints: tuple[CheckpointUse, ...]
    input_needs: InputNeeds | None
    seed: int


def campaign_setting(
    scenario: Scenario,
    plan: PlanSpec,
    step: StepPrediction,
    *,
    state_bytes: float,
    replan: Replanner | None = None,
) -> CampaignSetting:
    """Resolve a campaign. Raises InputError and NoFeasiblePlan as `predict_campaign` does."""
    scenario = decided(scenario, plan)
    terms, asked = campaign_terms(scenario), scenario.reliability
    fleet = build_fleet(scenario.cluster, asked, n_ranks=plan.n_ranks, n_spares=terms.n_spare_nodes)
    require_room(asked.checkpoint_tiers, state_bytes, fleet.n_nodes)
    rhythm = plan_rhythm(terms, plan, step, state_bytes=state_bytes)
    step_s = step.fed_step_s
    if terms.recovery == "wait":
        require_progress(campaign_table(terms, rhythm, n_ranks=plan.n_ranks, step_s=step_s))
    ranks = np.array([float(plan.n_ranks)])
    waits = input_waits(terms, np.array([step_s]), ranks)
    stall_s, open_s = (float(wait[0]) for wait in waits)
    restart_s = terms.startup_s + terms.restart_s_per_device * plan.n_ranks + open_s
    full = Shape(fleet.n_nodes, step_s * terms.slowdown + stall_s)
    saves = _saves(terms, rhythm, step_s)
    return CampaignSetting(
        terms=terms,
        fleet=fleet,
        cohorts=Cohorts.of(asked.cohorts, fleet.n_units),
        recorded=recorded_failures(asked.replay, terms.replayed),
        saves=saves,
        restart_s=restart_s,
        spares=terms.spares,
        repair=_repair(terms, asked),
        recovery=terms.recovery,
        n_groups=asked.isolation_groups or 1,
        useful_step_s=step_s,
        input_stall_s=stall_s,
        communication_share=step.communication_share,
        full=full,
        shapes=_shapes(scenario, plan, full, replan, slowdown=terms.slowdown, stall_s=stall_s),
        clock=StepClock(scenario, plan, full.step_s),
        checkpoints=tuple(
            use.model_copy(update={"interval_s": tier.every_steps * step_s})
            for use, tier in zip(checkpoint_uses(terms, rhythm), saves.tiers, strict=True)
        ),
        input_needs=input_needs(terms, step_s=step_s, n_ranks=plan.n_ranks),
        seed=scenario.seed,
    )


def _repair(terms: CampaignTerms, asked: ReliabilitySpec) -> RepairTerms:
    return RepairTerms(
        mean_s=terms.usual_repair_s,
        spread=asked.repair_spread,
        success=asked.repair_success,
        n_crews=asked.repair_crews,
    )


def _saves(terms: CampaignTerms, rhythm: Rhythm, step_s: float) -> Saves:
    """Round intervals to whole steps, and those of safer tiers to multiples of nearer ones."""
    tiers: list[SaveTier] = []
    for tier, saved in zip(terms.tiers, rhythm.tiers, strict=True):
        grid = tiers[-1].every_steps if tiers else 1
        every = max(1, round(float(saved.interval_s[0]) / step_s / grid)) * grid
        tiers.append(
            SaveTier(
                name=tier.spec.name,
                survives=tier.spec.survives,
                every_steps=every,
                stall_s=float(saved.stall_s[0]),
                persist_s=float(saved.persist_s[0]),
                load_s=float(saved.load_s[0]),
                keep=tier.spec.keep,
            )
        )
    return Saves(tuple(tiers))


def _shapes(
    scenario: Scenario,
    plan: PlanSpec,
    full: Shape,
    replan: Replanner | None,
    *,
    slowdown: float,
    stall_s: float,
) -> Shapes:
    if scenario.reliability.recovery == "shrink":
        return ShrunkShapes(scenario, plan, full)
    if scenario.reliability.recovery == "replan":
        if replan is None:
            raise AssertionError("recovery by re-planning needs a planner")
        return ReplannedShapes(scenario, full, replan, slowdown, stall_s)
    return FixedShape(full)
