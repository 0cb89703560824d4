"""Many replicas of one campaign, and what they say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from simulator.campaign.bill import bill
from simulator.campaign.campaign_run import CampaignRun
from simulator.campaign.closed_form import NORMAL_95
from simulator.campaign.events import simulate_campaign
from simulator.campaign.losses import Loss
from simulator.campaign.setting import CampaignSetting
from simulator.spec.prediction import CampaignPrediction, Interval

if TYPE_CHECKING:
    import pandas as pd

MIN_REPLICAS = 8
"""Before the spread of so many is known, no precision is believed."""
MANY_FAILURES = 50_000
"""Expected failures of all replicas above which they are shared out to processes."""


def run_replicas(
    setting: CampaignSetting,
    *,
    n_replicas: int = 20,
    within: float | None = None,
    max_replicas: int = 10_000,
    jobs: int = -1,
) -> tuple[CampaignRun, ...]:
    """Simulate replicas 0, 1, 2, ...; the first one keeps its segments.

    With `within`, batches of n_replicas follow until the 90 % interval of the mean goodput reaches
    no further than that to either side. The result does not depend on the number of jobs.
    """
    runs = [simulate_campaign(setting, record=True)]
    runs += _share_out(setting, range(1, n_replicas), runs[0].failures.total(), jobs)
    while within is not None and len(runs) < max_replicas and _reach(runs) > within:
        more = range(len(runs), min(len(runs) + n_replicas, max_replicas))
        runs += _share_out(setting, more, runs[0].failures.total(), jobs)
    return tuple(runs)


def _share_out(
    setting: CampaignSetting, numbers: range, n_failures: int, jobs: int
) -> list[CampaignRun]:
    if jobs == 1 or n_failures * len(numbers) < MANY_FAILURES:
        return [simulate_campaign(setting, replica=number) for number in numbers]
    from joblib import Parallel, delayed

    simulate = delayed(simulate_campaign)
    found = Parallel(n_jobs=jobs)(simulate(setting, replica=number) for number in numbers)
    return list(found)


def _reach(runs: Sequence[CampaignRun]) -> float:
    """Half the width of the 90 % interval of the mean goodput."""
    if len(runs) < MIN_REPLICAS:
        return np.inf
    goodputs = np.array([run.goodput for run in runs])
    return float(NORMAL_95 * goodputs.std(ddof=1) / np.sqrt(len(runs)))


def summarize(setting: CampaignSetting, runs: Sequence[CampaignRun]) -> CampaignPrediction:
    """Return means over the replicas, and 90 % intervals of a single one."""
    goodput = np.array([run.goodput for run in runs])
    calendar_s = np.array([run.calendar_s for run in runs])
    device_s = np.array([run.paid_node_s for run in runs]) * setting.fleet.devices_per_node
    losses = {
        loss: np.array([run.losses_node_s[loss] / run.paid_node_s for run in runs]) for loss in Loss
    }
    busy = goodput + losses[Loss.LOST_WORK] + losses[Loss.DEGRADED_SPEED]
    total = bill(
        setting.terms,
        device_s=device_s,
        calendar_s=calendar_s,
        busy_share=busy,
        communication_share=setting.communication_share,
    )
    failures = Counter[str]()
    for run in runs:
        failures.update(run.failures)
    safest = setting.saves.tiers[-1]
    return CampaignPrediction(
        n_steps=setting.terms.n_steps,
        goodput=float(goodput.mean()),
        goodput_interval=_interval(goodput),
        losses={loss.value: float(share.mean()) for loss, share in losses.items()},
        calendar_s=float(calendar_s.mean()),
        calendar_interval_s=_interval(calendar_s),
        device_hours=float(device_s.mean()) / 3600,
        cost_usd=None if total.cost_usd is None else float(total.cost_usd.mean()),
        energy_j=None if total.energy_j is None else float(total.energy_j.mean()),
        co2_kg=None if total.co2_kg is None else float(total.co2_kg.mean()),
        expected_failures=failures.total() / len(runs),
        failures={name: count / len(runs) for name, count in failures.most_common()},
        engine="events",
        n_replicas=len(runs),
        checkpoint_interval_s=safest.every_steps * setting.useful_step_s,
        checkpoint_stall_s=sum(tier.stall_s for tier in setting.saves.tiers),
        assumptions=setting.terms.assumptions,
    )


def _interval(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Interval:
    low, high = np.quantile(values, (0.05, 0.95))
    return Interval(low=float(low), high=float(high))


def segments_frame(run: CampaignRun) -> pd.DataFrame:
    """Return the segments of a recorded replica, a row each."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "start_s": segment.start_s,
                "end_s": segment.end_s,
                "what": "training" if segment.loss is None else segment.loss.value,
                "start_step": segment.start_step,
                "end_step": segment.end_step,
                "cause": segment.cause,
            }
            for segment in run.segments
        ]
    )
