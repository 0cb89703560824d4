"""The campaign by events: one SimPy job, its failures, its repairs, from first to last token.

The cost follows events. Steps and saves between two of them are arithmetic (`saves`), the identity
of what fails is drawn when it fails (`failures`), and only nodes that are not where they were are
stored (`pool`).
"""

from __future__ import annotations

import numpy as np
import simpy

from simulator.campaign.campaign_run import CampaignRun
from simulator.campaign.job import Job
from simulator.campaign.setting import CampaignSetting


def simulate_campaign(
    setting: CampaignSetting, *, replica: int = 0, record: bool = False
) -> CampaignRun:
    """Simulate one replica of a campaign.

    Replicas of one number meet the same failures under any plan on the same fleet. Raises
    NoFeasiblePlan where the campaign would take fifty times its failure-free time.
    """
    env = simpy.Environment()
    seed = np.random.SeedSequence([setting.seed, replica])
    job = Job(env, setting, seed, record=record)
    env.run(until=job.life)
    return job.outcome()
