"""What many replicas of one campaign came to, a row each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulator.campaign.bill import Bill, bill
from simulator.campaign.campaign_run import CampaignRun
from simulator.campaign.losses import Loss
from simulator.campaign.setting import CampaignSetting
from simulator.cost.plan_table import FloatArray

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaTable:
    """n campaigns; all arrays have shape (n,)."""

    goodput: FloatArray
    losses: dict[Loss, FloatArray]
    """Shares of paid device time; with the goodput they add up to 1."""
    calendar_s: FloatArray
    device_hours: FloatArray
    failures: FloatArray
    bill: Bill

    @classmethod
    def of(cls, setting: CampaignSetting, runs: Sequence[CampaignRun]) -> ReplicaTable:
        """Add up and bill the replicas of a campaign."""
        goodput = np.array([run.goodput for run in runs])
        calendar_s = np.array([run.calendar_s for run in runs])
        device_s = np.array([run.paid_node_s for run in runs]) * setting.fleet.devices_per_node
        losses = {
            loss: np.array([run.losses_node_s[loss] / run.paid_node_s for run in runs])
            for loss in Loss
        }
        return cls(
            goodput=goodput,
            losses=losses,
            calendar_s=calendar_s,
            device_hours=device_s / 3600,
            failures=np.array([float(run.failures.total()) for run in runs]),
            bill=bill(
                setting.terms,
                device_s=device_s,
                calendar_s=calendar_s,
                busy_share=goodput + losses[Loss.LOST_WORK] + losses[Loss.DEGRADED_SPEED],
                spare_share=losses[Loss.IDLE],
                communication_share=setting.communication_share,
            ),
        )

    def columns(self) -> Iterator[tuple[str, FloatArray]]:
        """Yield what is known of every replica, by name."""
        yield "goodput", self.goodput
        for name in ("calendar_s", "device_hours", "failures"):
            yield name, getattr(self, name)
        for name in ("cost_usd", "energy_j", "co2_kg"):
            column = getattr(self.bill, name)
            if column is not None:
                yield name, column
        for loss, share in self.losses.items():
            yield loss.value, share

    def to_frame(self) -> pd.DataFrame:
        """Return a row per replica; losses are shares of the paid device time."""
        import pandas as pd

        return pd.DataFrame(dict(self.columns())).rename_axis("replica").reset_index()
