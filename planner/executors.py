"""Which plans an executor runs: `Target.refusal` over columns of plans."""

from __future__ import annotations

import numpy as np

from simulator.cost.plan_table import SCHEDULES, BoolArray, IntArray, PlanTable
from simulator.spec.recompute import Recompute
from simulator.spec.scenario import Scenario
from simulator.spec.target import Target


def runnable(
    target: Target, scenario: Scenario, table: PlanTable, columns: tuple[str, ...]
) -> BoolArray:
    """Return which plans the target runs, as far as the decisions named in `columns` go."""
    model, job = scenario.model, scenario.job
    no_pipeline = table.pp == 1
    even = target.uneven_stages | (model.n_layers % table.n_chunks == 0)
    zero_stage = np.where(
        no_pipeline,
        _among(table.zero_stage, target.zero_stages),
        _among(table.zero_stage, target.zero_stages_with_pp),
    )
    schedules = [SCHEDULES.index(name) for name in target.all_schedules]
    recomputes = [
        code
        for code in np.unique(table.recompute).tolist()
        if target.recomputes.runs(Recompute.of_code(code), job.attention)
    ]
    one_kind_of_dp = (table.dp_replicate == 1) | (table.dp_shard == 1)
    rules = {
        "sequence_parallel": target.sequence_parallel | (table.sequence_parallel == 0),
        "cp": table.cp <= target.max_cp,
        "ep": table.ep <= target.max_ep,
        "virtual_stages": even,
        "schedule": no_pipeline | _among(table.schedule, schedules),
        "zero_stage": zero_stage,
        "dp_shard": target.dp_replicate_with_shard | one_kind_of_dp,
        "recompute": _among(table.recompute, recomputes),
    }
    asked = [mask for column, mask in rules.items() if column in columns]
    asked += [rule.allowed(model, table) for rule in target.rules if rule.column in columns]
    mask: BoolArray = np.logical_and.reduce([np.ones(len(table), dtype=np.bool_), *asked])
    return mask


def _among(values: IntArray, allowed: list[int] | tuple[int, ...]) -> BoolArray:
    mask = np.zeros(len(values), dtype=np.bool_)
    for value in allowed:
        mask |= values == value
    return mask
