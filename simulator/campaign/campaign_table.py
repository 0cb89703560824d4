"""n campaigns in closed form, from first to last token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.campaign.bill import Bill, bill
from simulator.campaign.crew import Crew, crew_of
from simulator.campaign.losses import Loss
from simulator.campaign.pace import Pace, pace_of
from simulator.campaign.renewal import isolated_availability
from simulator.campaign.rhythm import Rhythm
from simulator.campaign.terms import CampaignTerms
from simulator.cost.plan_table import FloatArray


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
    crew = crew_of(terms, n_nodes, n_spares, n_groups=n_groups, n_copies=n_copies)
    pace = pace_of(terms, rhythm, ranks, np.asarray(step_s, float), crew.regrowths_per_s)
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
        # A job on half of its nodes takes twice as long, and is struck half as often.
        failures = work_s * crew.speed / healthy * _failures_per_s(terms, rhythm, ranks)
    all_devices = n_nodes * terms.devices_per_node / (1 - crew.spare)
    device_s = calendar_s * all_devices * (1 - crew.unpaid)
    losses = _losses(pace, crew, healthy=healthy, stretch=stretch, active=active, apart=apart)
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
            busy_share=goodput + losses[Loss.LOST_WORK] + losses[Loss.DEGRADED_SPEED],
            spare_share=losses[Loss.IDLE],
            communication_share=communication_share,
        ),
    )


def _failures_per_s(terms: CampaignTerms, rhythm: Rhythm, ranks: FloatArray) -> FloatArray:
    """Rate of everything that stops a job or a group of it, while it trains."""
    warned = ranks * terms.warned.per_device_s + terms.warned.per_job_s
    return np.asarray(1 / rhythm.mtbf_s + warned + terms.isolated_per_device_s * ranks)


def _losses(
    pace: Pace,
    crew: Crew,
    *,
    healthy: FloatArray,
    stretch: FloatArray,
    active: FloatArray,
    apart: FloatArray,
) -> dict[Loss, FloatArray]:
    """Return the shares of paid device time; `active` is that in which the job has its nodes."""
    goodput, waiting, idle = active * healthy, crew.waiting, crew.idle
    interrupted = active * pace.interrupted / (1 - pace.interrupted)
    planned = pace.planned * interrupted
    return {
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
