"""The whole campaign in closed form, for one plan or for arrays of plans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.campaign.bill import Bill, bill
from simulator.campaign.checkpoint_size import write_s
from simulator.campaign.losses import Loss
from simulator.campaign.renewal import (
    TimeShares,
    goodput_deviation,
    optimal_interval_s,
    time_shares,
)
from simulator.campaign.spares import offered_repairs, waiting_share
from simulator.campaign.terms import CampaignTerms, campaign_terms
from simulator.cost.plan_table import FloatArray
from simulator.spec.errors import NoFeasiblePlan
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import CampaignPrediction, Interval, StepPrediction
from simulator.spec.scenario import Scenario
from simulator.spec.units import format_seconds

NORMAL_95 = 1.6448536269514722
"""A 90 % interval reaches this many standard deviations to either side."""
NEVER = 1e-3
"""Goodput below which a campaign is said never to finish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """When n campaigns save and fail; all arrays have shape (n,)."""

    interval_s: FloatArray
    """Work between checkpoints."""
    stall_s: FloatArray
    """Standstill of training for one checkpoint."""
    persist_s: FloatArray
    """From the stall until the checkpoint is safe."""
    mtbf_s: FloatArray
    """Mean time between failures of the job; infinite where nothing fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignTable:
    """n campaigns; all arrays have shape (n,)."""

    goodput: FloatArray
    goodput_deviation: FloatArray
    losses: dict[Loss, FloatArray]
    """Shares of paid device time; with the goodput they add up to 1."""
    calendar_s: FloatArray
    device_hours: FloatArray
    expected_failures: FloatArray
    rhythm: Rhythm
    bill: Bill


def checkpoint_rhythm(
    terms: CampaignTerms,
    *,
    n_ranks: npt.ArrayLike,
    step_s: npt.ArrayLike,
    state_bytes: float,
    held_bytes: npt.ArrayLike,
    interval_s: npt.ArrayLike = 0.0,
) -> Rhythm:
    """Return when n campaigns save: after `interval_s` of work, or at the optimum where it is 0.

    `state_bytes` is the whole checkpoint; `held_bytes` the weights and optimizer state of the
    fullest rank, which are copied to the host while training stands still. The write follows
    behind, and a save that finds the one before it unwritten waits for it.
    """
    ranks, step, held, wanted = np.broadcast_arrays(
        *(np.atleast_1d(np.asarray(v, float)) for v in (n_ranks, step_s, held_bytes, interval_s))
    )
    with np.errstate(divide="ignore"):
        mtbf_s = 1 / (ranks * terms.failures_per_device_s)
    persist_s = write_s(
        state_bytes,
        np.ceil(ranks / terms.devices_per_node),
        terms.node_write_bytes_per_s,
        terms.store_write_bytes_per_s,
    )
    copy_s = held / terms.device_copy_bytes_per_s
    if terms.checkpoint_stall_s is not None:
        copy_s = np.full_like(step, terms.checkpoint_stall_s)
    best_s = np.maximum(optimal_interval_s(copy_s, mtbf_s), np.maximum(persist_s, step))
    interval = np.minimum(np.where(wanted > 0, wanted, best_s), terms.n_steps * step)
    return Rhythm(
        interval_s=interval,
        stall_s=copy_s + np.maximum(0.0, persist_s - interval),
        persist_s=persist_s,
        mtbf_s=mtbf_s,
    )


def campaign_table(
    terms: CampaignTerms,
    rhythm: Rhythm,
    *,
    n_ranks: npt.ArrayLike,
    step_s: npt.ArrayLike,
    n_spare_nodes: npt.ArrayLike | None = None,
) -> CampaignTable:
    """Return n campaigns that save in a rhythm; `n_spare_nodes` overrides the scenario's spares."""
    ranks = np.broadcast_to(np.asarray(n_ranks, float), rhythm.interval_s.shape)
    work_s = terms.n_steps * np.asarray(step_s, float)
    shares = time_shares(
        rhythm.interval_s,
        rhythm.stall_s,
        terms.restart_s,
        rhythm.mtbf_s,
        persist_s=rhythm.persist_s,
    )
    n_nodes = np.ceil(ranks / terms.devices_per_node)
    n_spares = terms.n_spare_nodes if n_spare_nodes is None else n_spare_nodes
    waiting, idle = _waiting_and_idle(terms, n_nodes, n_spares)

    # All from first to last token, in units of the work, so that nothing divides by a goodput of 0.
    stretch = 1 / (work_s / (1 - waiting) + shares.productive * terms.startup_s)
    active = (1 - idle) * work_s * stretch
    losses = _losses(terms, shares, waiting, idle, active, stretch)
    goodput = active * shares.productive
    with np.errstate(divide="ignore"):
        calendar_s = (1 - idle) * work_s / goodput
    device_s = calendar_s * n_nodes * terms.devices_per_node / (1 - idle)
    deviation = goodput_deviation(
        rhythm.interval_s,
        rhythm.stall_s,
        terms.restart_s,
        rhythm.mtbf_s,
        persist_s=rhythm.persist_s,
        horizon_s=calendar_s,
    )
    return CampaignTable(
        goodput=goodput,
        goodput_deviation=active * deviation,
        losses=losses,
        calendar_s=calendar_s,
        device_hours=device_s / 3600,
        expected_failures=work_s / shares.productive / rhythm.mtbf_s,
        rhythm=rhythm,
        bill=bill(terms, device_s=device_s, busy_share=goodput + losses[Loss.LOST_WORK]),
    )


def _waiting_and_idle(
    terms: CampaignTerms, n_nodes: FloatArray, n_spares: npt.ArrayLike | None
) -> tuple[FloatArray, FloatArray]:
    """Share of time without enough nodes, and share of the paid nodes that are spares."""
    if n_spares is None:
        return np.zeros_like(n_nodes), np.zeros_like(n_nodes)
    spares = np.asarray(n_spares, float)
    rate_per_node_s = terms.failures_per_device_s * terms.devices_per_node * terms.repair_fraction
    repairs = offered_repairs(n_nodes, rate_per_node_s, terms.repair_s)
    return waiting_share(repairs, spares), spares / (n_nodes + spares)


def _losses(
    terms: CampaignTerms,
    shares: TimeShares,
    waiting: FloatArray,
    idle: FloatArray,
    active: FloatArray,
    stretch: FloatArray,
) -> dict[Loss, FloatArray]:
    return {
        Loss.INITIALISATION: (1 - idle) * shares.productive * terms.startup_s * stretch,
        Loss.RESTART: active * shares.restart,
        Loss.LOST_WORK: active * shares.lost_work,
        Loss.CHECKPOINT_STALL: active * shares.checkpoint,
        Loss.WAITING_FOR_SPARES: active * waiting / (1 - waiting),
        Loss.IDLE: idle,
    }


def predict_campaign(
    scenario: Scenario, plan: PlanSpec, step: StepPrediction, *, state_bytes: float
) -> CampaignPrediction:
    """Predict the whole training of one plan.

    `state_bytes` is the size of a checkpoint. Raises NoFeasiblePlan where no progress is left.
    """
    terms = campaign_terms(scenario)
    rhythm = checkpoint_rhythm(
        terms,
        n_ranks=plan.n_ranks,
        step_s=step.step_s,
        state_bytes=state_bytes,
        held_bytes=max(stage.weights_bytes + stage.optimizer_bytes for stage in step.memory),
        interval_s=plan.checkpoint_interval_s,
    )
    table = campaign_table(
        terms,
        rhythm,
        n_ranks=plan.n_ranks,
        step_s=step.step_s,
        n_spare_nodes=plan.n_spare_nodes,
    )
    _require_progress(terms, table)
    return _prediction(terms, table)


def _require_progress(terms: CampaignTerms, table: CampaignTable) -> None:
    if float(table.goodput[0]) >= NEVER:
        return
    mtbf_s, waiting = float(table.rhythm.mtbf_s[0]), float(table.losses[Loss.WAITING_FOR_SPARES][0])
    if waiting > 0.9:
        cause, fix = f"{waiting:.0%} of the time is spent waiting for nodes", "add spares"
    else:
        cause = (
            f"a restart takes {format_seconds(terms.restart_s)} and something fails every "
            f"{format_seconds(mtbf_s)}"
        )
        fix = "shorten reliability.restart_s or use fewer devices"
    raise NoFeasiblePlan(f"this training never finishes: {cause}", fix=fix)


def _prediction(terms: CampaignTerms, table: CampaignTable) -> CampaignPrediction:
    goodput = float(table.goodput[0])
    reach = NORMAL_95 * float(table.goodput_deviation[0])
    return CampaignPrediction(
        n_steps=terms.n_steps,
        goodput=goodput,
        goodput_interval=Interval(low=max(0.0, goodput - reach), high=min(1.0, goodput + reach)),
        losses={loss.value: float(share[0]) for loss, share in table.losses.items()},
        calendar_s=float(table.calendar_s[0]),
        device_hours=float(table.device_hours[0]),
        cost_usd=_first(table.bill.cost_usd),
        energy_j=_first(table.bill.energy_j),
        co2_kg=_first(table.bill.co2_kg),
        expected_failures=float(table.expected_failures[0]),
        checkpoint_interval_s=float(table.rhythm.interval_s[0]),
        checkpoint_stall_s=float(table.rhythm.stall_s[0]),
        assumptions=terms.assumptions + _warnings(terms, table),
    )


def _first(column: FloatArray | None) -> float | None:
    return None if column is None else float(column[0])


def _warnings(terms: CampaignTerms, table: CampaignTable) -> tuple[str, ...]:
    mtbf_s = float(table.rhythm.mtbf_s[0])
    if terms.restart_s < mtbf_s:
        return ()
    return (
        f"a restart ({format_seconds(terms.restart_s)}) takes longer than the time between "
        f"failures ({format_seconds(mtbf_s)})",
    )
