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
