"""Many replicas of one campaign, and what they say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from simulator.campaign.campaign_run import CampaignRun
from simulator.campaign.events import simulate_campaign
from simulator.campaign.replica_table import ReplicaTable
from simulator.campaign.setting import CampaignSetting
from simulator.cost.plan_table import FloatArray
from simulator.spec.prediction import NORMAL_95, CampaignPrediction, Interval

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
    table = ReplicaTable.of(setting, runs)
    intervals = {name: _interval(column) for name, column in table.columns()}
    failures = Counter[str]()
    for run in runs:
        failures.update(run.failures)
    safest = setting.saves.tiers[-1]
    return CampaignPrediction(
        n_steps=setting.terms.n_steps,
        goodput=float(table.goodput.mean()),
        goodput_interval=intervals.pop("goodput"),
        losses={loss.value: float(share.mean()) for loss, share in table.losses.items()},
        calendar_s=float(table.calendar_s.mean()),
        device_hours=float(table.device_hours.mean()),
        cost_usd=_mean(table.bill.cost_usd),
        energy_j=_mean(table.bill.energy_j),
        co2_kg=_mean(table.bill.co2_kg),
        expected_failures=float(table.failures.mean()),
        failures={name: count / len(runs) for name, count in failures.most_common()},
        intervals=intervals,
        engine="events",
        n_replicas=len(runs),
        checkpoint_interval_s=safest.every_steps * setting.useful_step_s,
        checkpoint_stall_s=sum(tier.stall_s for tier in setting.saves.tiers),
        checkpoints=setting.checkpoints,
        input_needs=setting.input_needs,
        assumptions=setting.terms.assumptions,
    )


def _mean(column: FloatArray | None) -> float | None:
    return None if column is None else float(column.mean())


def _interval(values: FloatArray) -> Interval:
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
