"""How far single campaigns lie apart, by Monte Carlo where the closed form does not know.

The closed form has a mean and a normal spread of it, which holds where many failures add up and
nobody waits for nodes. With few failures the spread is skewed, and hardly any campaign is better
than the one in which nothing fails; waiting for nodes has a spread that no renewal formula has.
"""

from __future__ import annotations

import numpy as np

from simulator.campaign.closed_form import spreads
from simulator.campaign.endless import NEVER
from simulator.campaign.losses import Loss
from simulator.campaign.monte_carlo import renewal_campaigns, unsupported
from simulator.campaign.setting import CampaignSetting
from simulator.spec.prediction import CampaignPrediction, Interval

FEW_FAILURES = 30.0
"""Expected failures below which the sum of what they cost is not normal."""
HARDLY_ANY = 0.01
"""Expected failures below which no 90 % interval knows of them."""
MUCH_WAITING = 0.01
"""Share of the time, waiting for nodes, from which its spread counts."""
TOO_MANY = 2000.0
"""Expected failures above which single campaigns hardly differ, and a simulation takes long."""
N_REPLICAS = 500


def spread_is_unknown(campaign: CampaignPrediction, *, much_waiting: float = MUCH_WAITING) -> bool:
    """Return whether the interval of a closed form is outside its range."""
    if campaign.goodput < 10 * NEVER:  # single campaigns may never end
        return False
    waiting = campaign.losses[Loss.WAITING_FOR_SPARES] > much_waiting
    few = HARDLY_ANY < campaign.expected_failures < FEW_FAILURES
    return few or (waiting and campaign.expected_failures < TOO_MANY)


def with_spread(setting: CampaignSetting, campaign: CampaignPrediction) -> CampaignPrediction:
    """Return the campaign with intervals of simulated ones around its mean.

    All settings of one seed meet the same random numbers. What only the events can simulate stays
    as it is.
    """
    if unsupported(setting) is not None:
        return campaign
    goodput = renewal_campaigns(setting, N_REPLICAS).goodput
    low, high = np.quantile(goodput, (0.05, 0.95)) * campaign.goodput / goodput.mean()
    between = Interval(low=min(float(low), campaign.goodput), high=min(1.0, float(high)))
    wider = campaign.model_copy(update={"goodput_interval": between})
    return wider.model_copy(update={"intervals": spreads(wider)})
