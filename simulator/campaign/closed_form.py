"""The whole campaign in closed form, for one plan or for arrays of plans."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from simulator.campaign.bill import Bill, bill
from simulator.campaign.decided import decided, droppable_copies
from simulator.campaign.feeding import input_needs
from simulator.campaign.input_pipeline import input_flow
from simulator.campaign.losses import Loss
from simulator.campaign.partial import isolated_service, shrinking_service
from simulator.campaign.renewal import (
    TimeShares,
    goodput_deviation,
    isolated_availability,
    time_shares,
)
from simulator.campaign.rhythm import Rhythm, checkpoint_rhythm, require_room
from simulator.campaign.spares import offered_repairs, waiting_share
from simulator.campaign.terms import CampaignTerms, campaign_terms
from simulator.cost.plan_table import FloatArray
from simulator.spec.errors import NoFeasiblePlan
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import CampaignPrediction, InputNeeds, Interval, StepPrediction
from simulator.spec.scenario import Scenario
from simulator.spec.units import format_seconds

NORMAL_95 = 1.6448536269514722
"""A 90 % interval reaches this many standard deviations to either side."""
NEVER = 0.02
"""Goodput below which a campaign is said never to finish."""


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
    restart_s: FloatArray
    """Failure to training again, for a mean cause."""
    rhythm: Rhythm
    bill: Bill


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pace:
    """Shares of the time in which the job has its nodes."""

    shares: TimeShares
    deviation: FloatArray
    """Of the productive share, times the square root of the horizon in seconds."""
    interrupted: FloatArray
    """Share of the time spent in restarts that a save preceded: after a warning, or to grow."""
    planned: FloatArray
    """Part of those that is planned maintenance."""
    degraded: FloatArray
    """Time of a step by which it is longer than on healthy devices, over that."""
    starved: FloatArray
    """Wait for data over the time of a step on healthy devices."""
    startup_s: FloatArray
    restart_s: FloatArray


def campaign_table(
    terms: CampaignTerms,
    rhythm: Rhythm,
    *,
    n_ranks: npt.ArrayLike,
    step_s: npt.ArrayLike,
    n_spare_nodes: npt.ArrayLike | None = None,
    n_groups: npt.ArrayLike = 1,
    n_copies: npt.ArrayLike = 1,
    communication_share: npt.ArrayLike = 0.0,
) -> CampaignTable:
    """Return n campaigns that save in a rhythm.

    `n_spare_nodes` overrides the scenario's spares; `n_groups` restart apart where the recovery is
    `isolate`, and `n_copies` can be left out one by one where it is `shrink`;
    `communication_share` is that part of a step in which devices compute nothing.
    """
    ranks = np.broadcast_to(np.asarray(n_ranks, float), rhythm.mtbf_s.shape)
    n_nodes = np.ceil(ranks / terms.devices_per_node)
    n_spares = terms.n_spare_nodes if n_spare_nodes is None else n_spare_nodes
    crew = _crew(terms, n_nodes, n_spares, n_groups=n_groups, n_copies=n_copies)
    pace = _pace(terms, rhythm, ranks, np.asarray(step_s, float), crew.regrowths_per_s)
    work_s = terms.n_steps * np.asarray(step_s, float) / crew.speed
    waiting, idle = crew.waiting, crew.idle
    apart = _apart(terms, pace.restart_s, ranks, n_groups, crew.whole_groups)

    # All from first to last token, in units of the work, so that nothing divides by a goodput of 0.
    healthy = pace.shares.productive / (1 + pace.degraded + pace.starved) / (1 + apart)
    stretch = 1 / (work_s / ((1 - waiting) * (1 - pace.interrupted)) + healthy * pace.startup_s)
    active = (1 - idle) * work_s * stretch
    goodput = active * healthy
    with np.errstate(divide="ignore"):
        calendar_s = (1 - idle) * work_s / goodput
        warned_rate = ranks * terms.warned.per_device_s + terms.warned.per_job_s
        rate = warned_rate + terms.isolated_per_device_s * ranks
        failures = work_s / healthy * (1 / rhythm.mtbf_s + rate)
    device_s = calendar_s * n_nodes * terms.devices_per_node / (1 - crew.spare)
    interrupted = active * pace.interrupted / (1 - pace.interrupted)
    planned = pace.planned * interrupted
    losses = {
        Loss.INITIALISATION: (1 - idle) * healthy * pace.startup_s * stretch,
        Loss.RESTART: active * pace.shares.restart
        + (interrupted - planned)
        + active * pace.shares.productive * apart / (1 + apart),
        Loss.LOST_WORK: active * pace.shares.lost_work,
        Loss.CHECKPOINT_STALL: active * pace.shares.checkpoint,
        Loss.DEGRADED_SPEED: goodput * pace.degraded,
        Loss.INPUT_STALL: goodput * pace.starved,
        Loss.PLANNED_MAINTENANCE: planned,
        Loss.WAITING_FOR_SPARES: active * waiting / ((1 - waiting) * (1 - pace.interrupted)),
        Loss.IDLE: idle,
    }
    busy = goodput + losses[Loss.LOST_WORK] + losses[Loss.DEGRADED_SPEED]
    return CampaignTable(
        goodput=goodput,
        goodput_deviation=active * pace.deviation / np.sqrt(calendar_s),
        losses=losses,
        calendar_s=calendar_s,
        device_hours=device_s / 3600,
        expected_failures=failures,
        restart_s=pace.restart_s,
        rhythm=rhythm,
        bill=bill(
            terms,
            device_s=device_s,
            calendar_s=calendar_s,
            busy_share=busy,
            spare_share=losses[Loss.IDLE],
            communication_share=communication_share,
        ),
    )


def _pace(
    terms: CampaignTerms,
    rhythm: Rhythm,
    ranks: FloatArray,
    step_s: FloatArray,
    regrowths_per_s: FloatArray,
) -> _Pace:
    """Return where the time goes while the job has its nodes.

    Tiers answer failures of their own: what each of them leaves productive is multiplied, and the
    losses are scaled to add up. With one tier this is exact.
    """
    stall_s, open_s = input_waits(terms, step_s, ranks)
    more_s = terms.restart_s_per_device * ranks + open_s
    restart_s = terms.restart_s + more_s
    parts = []
    variance = np.zeros_like(restart_s)
    for tier, saved in zip(terms.tiers, rhythm.tiers, strict=True):
        moments = (saved.interval_s, saved.stall_s, restart_s + saved.load_s, saved.mtbf_s)
        late_s = saved.persist_s + tier.undone_s
        parts.append(time_shares(*moments, persist_s=late_s))
        variance += goodput_deviation(*moments, persist_s=late_s, horizon_s=1.0) ** 2
    productive = np.prod([part.productive for part in parts], axis=0)
    lost = np.asarray(sum(1 - part.productive for part in parts))
    scale = np.where(lost > 0, (1 - productive) / np.where(lost > 0, lost, 1.0), 0.0)
    warned_rate = ranks * terms.warned.per_device_s + terms.warned.per_job_s
    warned = warned_rate * restart_s
    grown = regrowths_per_s * (terms.startup_s + more_s + rhythm.stall_s)
    interrupted = warned + grown
    return _Pace(
        shares=TimeShares(
            productive=productive,
            checkpoint=scale * sum(part.checkpoint for part in parts),
            restart=scale * sum(part.restart for part in parts),
            lost_work=scale * sum(part.lost_work for part in parts),
        ),
        deviation=np.sqrt(variance),
        interrupted=interrupted / (1 + interrupted),
        planned=terms.planned_share * warned / np.where(interrupted > 0, interrupted, 1.0),
        degraded=np.full_like(ranks, terms.slowdown - 1),
        starved=stall_s / step_s,
        startup_s=terms.startup_s + more_s,
        restart_s=restart_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crew:
    """What spares and repairs leave of the nodes."""

    waiting: FloatArray
    """Share of the time in which the job stands still for want of nodes."""
    speed: FloatArray
    """Mean speed over that of the whole job, the rest of the time."""
    whole_groups: FloatArray
    """Mean share of the groups that have all of their nodes."""
    regrowths_per_s: FloatArray
    spare: FloatArray
    """Share of the paid nodes that are spares."""
    idle: FloatArray
    """Share of the paid nodes that hold no ranks."""


def _crew(
    terms: CampaignTerms,
    n_nodes: FloatArray,
    n_spares: npt.ArrayLike | None,
    *,
    n_groups: npt.ArrayLike,
    n_copies: npt.ArrayLike,
) -> _Crew:
    one, zero = np.ones_like(n_nodes), np.zeros_like(n_nodes)
    crew = _Crew(
        waiting=zero, speed=one, whole_groups=one, regrowths_per_s=zero, spare=zero, idle=zero
    )
    if n_spares is None:
        return crew
    spares = np.broadcast_to(np.asarray(n_spares, float), n_nodes.shape)
    rate_s = terms.removals_per_device_s * terms.devices_per_node
    spare = spares / (n_nodes + spares)
    crew = replace(crew, spare=spare, idle=spare)
    if terms.recovery == "isolate":
        service = isolated_service(
            n_nodes, n_groups, spares, failures_per_node_s=rate_s, repair_s=terms.repair_s
        )
        return replace(crew, whole_groups=service.speed)
    if terms.recovery == "shrink":
        service = shrinking_service(
            n_nodes, n_copies, spares, failures_per_node_s=rate_s, repair_s=terms.repair_s
        )
        return replace(
            crew,
            waiting=service.stopped,
            speed=service.speed,
            regrowths_per_s=service.regrowths_per_s,
            idle=1 - (1 - spare) * service.speed,
        )
    repairs = offered_repairs(n_nodes, rate_s, terms.repair_s)
    return replace(crew, waiting=waiting_share(repairs, spares))


def _apart(
    terms: CampaignTerms,
    restart_s: FloatArray,
    ranks: FloatArray,
    n_groups: npt.ArrayLike,
    whole_groups: FloatArray,
) -> FloatArray:
    """Time that groups which restart apart, or wait for nodes, are down, over that they train."""
    groups = np.asarray(n_groups, float)
    availability = isolated_availability(ranks / groups, terms.isolated_per_device_s, restart_s)
    return 1 / (availability * whole_groups) - 1


def input_waits(
    terms: CampaignTerms, step_s: FloatArray, ranks: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Wait of a step for its data, and of every start for the dataset, in seconds."""
    if terms.input is None:
        return np.zeros_like(ranks), np.zeros_like(ranks)
    flow = input_flow(
        terms.input,
        terms.job,
        step_s=np.broadcast_to(step_s, ranks.shape) * terms.slowdown,
        n_nodes=np.ceil(ranks / terms.devices_per_node),
        cores_per_node=terms.cores_per_node,
    )
    return flow.stall_s, flow.start_s


def predict_campaign(
    scenario: Scenario, plan: PlanSpec, step: StepPrediction, *, state_bytes: float
) -> CampaignPrediction:
    """Predict the whole training of one plan.

    `state_bytes` is the size of a checkpoint. Raises NoFeasiblePlan where no progress is left and
    InputError where a checkpoint is larger than its tier.
    """
    scenario = decided(scenario, plan)
    terms = campaign_terms(scenario)
    require_room(terms, state_bytes, -(-plan.n_ranks // terms.devices_per_node))
    rhythm = checkpoint_rhythm(
        terms,
        n_ranks=plan.n_ranks,
        step_s=step.step_s,
        state_bytes=state_bytes,
        held_bytes=max(stage.weights_bytes + stage.optimizer_bytes for stage in step.memory),
        n_copies=plan.dp,
        interval_s=plan.checkpoint_interval_s,
    )
    table = campaign_table(
        terms,
        rhythm,
        n_ranks=plan.n_ranks,
        step_s=step.step_s,
        n_groups=scenario.reliability.isolation_groups or 1,
        n_copies=droppable_copies(plan.dp_replicate, plan.dp_shard),
        communication_share=step.breakdown.communication_s / step.step_s,
    )
    require_progress(table)
    needs = input_needs(terms, step_s=step.step_s, n_ranks=plan.n_ranks)
    return _prediction(terms, table, needs)


def require_progress(table: CampaignTable) -> None:
    """Raise NoFeasiblePlan, with the cause, where the first campaign never finishes."""
    if float(table.goodput[0]) >= NEVER:
        return
    mtbf_s, waiting = float(table.rhythm.mtbf_s[0]), float(table.losses[Loss.WAITING_FOR_SPARES][0])
    if waiting > 0.9:
        cause, fix = f"{waiting:.0%} of the time is spent waiting for nodes", "add spares"
    else:
        cause = (
            f"a restart takes {format_seconds(float(table.restart_s[0]))} and something fails "
            f"every {format_seconds(mtbf_s)}"
        )
        fix = "shorten reliability.restart_s or use fewer devices"
    raise NoFeasiblePlan(f"this training never finishes: {cause}", fix=fix)


def _prediction(
    terms: CampaignTerms, table: CampaignTable, needs: InputNeeds | None
) -> CampaignPrediction:
    goodput = float(table.goodput[0])
    reach = NORMAL_95 * float(table.goodput_deviation[0])
    safest = table.rhythm.tiers[-1]
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
        checkpoint_interval_s=float(safest.interval_s[0]),
        checkpoint_stall_s=float(sum(tier.stall_s[0] for tier in table.rhythm.tiers)),
        input_needs=needs,
        assumptions=terms.assumptions + _warnings(terms, table),
    )


def _first(column: FloatArray | None) -> float | None:
    return None if column is None else float(column[0])


def _warnings(terms: CampaignTerms, table: CampaignTable) -> tuple[str, ...]:
    mtbf_s, restart_s = float(table.rhythm.mtbf_s[0]), float(table.restart_s[0])
    unsaid = (
        (
            restart_s >= mtbf_s,
            f"a restart ({format_seconds(restart_s)}) takes longer than the time between failures "
            f"({format_seconds(mtbf_s)})",
        ),
        (
            terms.recovery == "replan",
            "the closed form takes planning anew as waiting for a repair",
        ),
        (
            any(cause.effect == "slow" for cause in terms.causes),
            "slow nodes and links are left out of the closed form",
        ),
        (
            any(phase.shape != 1 for cause in terms.causes for phase in cause.life),
            "the closed form takes ageing parts as failing at their mean rate",
        ),
    )
    return tuple(sentence for applies, sentence in unsaid if applies)
