"""Campaigns that never finish, and why."""

from __future__ import annotations

from simulator.campaign.campaign_table import CampaignTable
from simulator.campaign.losses import Loss
from simulator.spec.errors import NoFeasiblePlan
from simulator.spec.units import format_seconds

NEVER = 0.02
"""Goodput below which a campaign is said never to finish."""


def require_progress(table: CampaignTable) -> None:
    """Raise NoFeasiblePlan, with the cause, where the first campaign never finishes."""
    if float(table.goodput[0]) >= NEVER:
        return
    worst = max(table.losses, key=lambda loss: float(table.losses[loss][0]))
    share = f"{float(table.losses[worst][0]):.1%} of the time is spent"
    if worst is Loss.WAITING_FOR_SPARES:
        cause, fix = f"{share} waiting for nodes", "add spares"
    elif worst is Loss.INPUT_STALL:
        cause = f"{share} waiting for data"
        fix = "give input a faster store or network, larger caches or more cores that decode"
    else:
        cause = (
            f"a restart takes {format_seconds(float(table.restart_s[0]))} and something fails "
            f"every {format_seconds(float(table.rhythm.mtbf_s[0]))}"
        )
        fix = "shorten reliability.restart_s or use fewer devices"
    raise NoFeasiblePlan(f"this training never finishes: {cause}", fix=fix)
