"""Links that hidden data-parallel traffic shares with the exchanges of the passes beside it.

A pass of W seconds, X of them an exchange over links that data-parallel collectives need too: where
those run for D seconds beside the pass, they meet the exchange for D X/W of them. Both get half of
the link then (max-min fair shares), so that the pass takes D X/W longer. X/W is therefore a
contention as `SoftwareProfile.dp_contention` is one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.cost.exchange import P2P_FACTOR
from simulator.cost.groups import Group
from simulator.cost.plan_table import BoolArray, FloatArray, PlanTable
from simulator.cost.setting import Setting
from simulator.cost.step_costs import LayerTime


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedLinks:
    """Whether the exchanges of an axis leave the scale-up domain where data-parallel ones do.

    Tensor parallelism is left out: it stays inside the domain in every plan worth running.
    """

    cp: BoolArray
    ep: BoolArray
    pp: BoolArray

    @classmethod
    def of(cls, setting: Setting) -> SharedLinks:
        """Compare the groups of every plan."""
        dp = _leaves(setting.group("dp"))
        return cls(
            cp=dp & _leaves(setting.group("cp")),
            ep=dp & _leaves(setting.group("ep")),
            pp=dp & _leaves(setting.group("pp")),
        )


def _leaves(group: Group) -> BoolArray:
    leaves: BoolArray = group.n_domains > 1
    return leaves


def link_contention(
    shared: SharedLinks, backward: LayerTime, p2p_s: FloatArray, n_layers: int, table: PlanTable
) -> FloatArray:
    """Share of the hidden data-parallel time by which the passes beside it take longer.

    `backward` is that of one layer, and stands for the passes of all; a transfer between stages
    comes once per pass of a chunk and keeps its link busy for the bytes only.
    """
    within_s = shared.cp * backward.cp_s + shared.ep * backward.ep_s
    layers_per_chunk = np.maximum(n_layers / (table.pp * table.virtual_stages), 1.0)
    between_s = shared.pp * p2p_s / P2P_FACTOR / layers_per_chunk
    share: FloatArray = (within_s + between_s) / (backward.total_s + between_s)
    return share
