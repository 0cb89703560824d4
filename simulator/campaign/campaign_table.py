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
from simulator.campaign.shapes import BestOnFewer
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
    best: BestOnFewer | None = None,
) -> CampaignTable:
    """Return n campaigns that save in a rhythm.

    `n_spare_nodes` overrides the scenario's spares; `n_groups` restart apart where the recovery is
    `isolate`, and `n_copies` can be left out one by one where it is `shrink`;
    `communication_share` is that part of a step in which devices compute nothing. `best` is the
    best plan on so many nodes, where the recovery is `replan`; without it nodes that are left are
    taken to do as much as before.
    """
    step, ranks = np.asarray(step_s, float), np.broadcast_to(n_ranks, rhythm.mtbf_s.shape) * 1.0
    n_nodes = np.ceil(ranks / terms.devices_per_node)
    n_spares = terms.n_spare_nodes if n_spare_nodes is None else n_spare_nodes
    crew = crew_of(terms, n_nodes, n_spares, n_groups=n_groups, n_copies=n_copies, best=best)
    pace = pace_of(
        terms,
        rhythm,
        ranks,
        step,
        regrowths_per_s=crew.regrowths_per_s,
        communication_share=communication_share,
    )
    up = _groups_up(terms, pace.restart_s, ranks, n_groups, crew.whole_groups)
    course = _Course(crew, pace, up, work_s=terms.n_steps * step)
    n_devices = n_nodes * terms.devices_per_node * (1 - crew.unpaid) / (1 - crew.spare)
    device_s = course.calendar_s * n_devices
    losses = course.losses()
    return CampaignTable(
        goodput=course.goodput,
        goodput_deviation=course.active * pace.deviation / np.sqrt(course.calendar_s),
        losses=losses,
        calendar_s=course.calendar_s,
        device_hours=device_s / 3600,
        expected_failures=course.training_s * _failures_per_s(terms, rhythm, ranks),
        restart_s=pace.restart_s,
        rhythm=rhythm,
        bill=bill(
            terms,
            device_s=device_s,
            calendar_s=course.calendar_s,
            busy_share=course.goodput + losses[Loss.LOST_WORK] + losses[Loss.DEGRADED_SPEED],
            spare_share=losses[Loss.IDLE],
            communication_share=communication_share,
        ),
    )


class _Course:
    """n campaigns from first to last token.

    All in units of the work, so that nothing divides by a goodput of 0.
    """

    def __init__(self, crew: Crew, pace: Pace, up: FloatArray, *, work_s: FloatArray) -> None:
        self._crew, self._pace, self._up = crew, pace, up
        longer_s = work_s / crew.speed
        self._degraded = (1 + pace.degraded) / crew.efficiency - 1
        healthy = pace.shares.productive / (1 + self._degraded + pace.starved) * up
        ready = (1 - crew.waiting) * (1 - pace.interrupted)
        self._stretch = 1 / (longer_s / ready + healthy * pace.startup_s)
        self._healthy = healthy
        self.active = (1 - crew.idle) * longer_s * self._stretch
        """Share of the paid device time in which the job has its nodes."""
        self.goodput = self.active * healthy
        with np.errstate(divide="ignore"):
            self.calendar_s = (1 - crew.idle) * longer_s / self.goodput
            # A job on half of its nodes takes twice as long, and is struck half as often.
            self.training_s = work_s / healthy
            """Time in which the whole job would be struck as often."""

    def losses(self) -> dict[Loss, FloatArray]:
        """Return the shares of paid device time that are lost."""
        crew, pace, active = self._crew, self._pace, self.active
        interrupted = active * pace.interrupted / (1 - pace.interrupted)
        planned = pace.planned * interrupted
        ready = (1 - crew.waiting) * (1 - pace.interrupted)
        return {
            Loss.INITIALISATION: (1 - crew.idle) * self._healthy * pace.startup_s * self._stretch,
            Loss.RESTART: active * pace.shares.restart
            + (interrupted - planned)
            + active * pace.shares.productive * (1 - self._up),
            Loss.LOST_WORK: active * pace.shares.lost_work,
            Loss.CHECKPOINT_STALL: active * pace.shares.checkpoint,
            Loss.DEGRADED_SPEED: self.goodput * self._degraded,
            Loss.INPUT_STALL: self.goodput * pace.starved,
            Loss.PLANNED_MAINTENANCE: planned,
            Loss.WAITING_FOR_SPARES: active * crew.waiting / ready,
            Loss.IDLE: crew.idle,
        }


def _failures_per_s(terms: CampaignTerms, rhythm: Rhythm, ranks: FloatArray) -> FloatArray:
    """Rate of everything that stops a job or a group of it, while it trains."""
    return np.asarray(1 / rhythm.mtbf_s + terms.warned.of_job(ranks) + terms.isolated.of_job(ranks))


def _groups_up(
    terms: CampaignTerms,
    restart_s: FloatArray,
    ranks: FloatArray,
    n_groups: npt.ArrayLike,
    whole_groups: FloatArray,
) -> FloatArray:
    """Share of the groups that train while others restart apart or wait for nodes."""
    groups = np.asarray(n_groups, float)
    availability = isolated_availability(terms.isolated.of_job(ranks) / groups, restart_s)
    return availability * whole_groups
