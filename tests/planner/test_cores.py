"""Plans counted from halves of arrangements are the plans that are written down."""

import numpy as np
import pytest

from planner.space import Space
from simulator.catalog.scenario_file import scenario_from_flags
from simulator.cost.plan_table import PlanTable


def rows(table: PlanTable) -> list[tuple[int, ...]]:
    columns = [getattr(table, name) for name in PlanTable.__dataclass_fields__]
    return [tuple(row) for row in np.stack(columns, axis=1).tolist()]


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ("llama3-8b", None),
        ("llama3-8b", "torchtitan"),
        ("llama3-8b", "armillary"),
        ("mixtral-8x7b", None),
        ("mixtral-8x7b", "megatron"),
    ],
)
def test_counted_plans_are_those_written_down(model: str, target: str | None) -> None:
    """Executors overlap: what several of them run counts once."""
    chosen = [] if target is None else [f"target={target}"]
    scenario = scenario_from_flags(model=model, cluster="h100-sxm:16", batch="32", overrides=chosen)
    cores = Space.of(scenario).cores()
    every = np.arange(len(cores))
    written = [rows(cores.plans(some)[0]) for some in cores.batches(every, 5000)]
    plans = [plan for table in written for plan in table]
    assert len(plans) == len(set(plans)) == cores.counts.sum() > 0
    _, core = cores.plans(every)
    assert np.array_equal(np.bincount(core, minlength=len(cores)), cores.counts)


def test_stages_that_cannot_fit_are_not_written_down() -> None:
    cores = Space.of(
        scenario_from_flags(model="llama3-8b", cluster="h100-sxm:16", batch="32")
    ).cores()
    only = np.array([False, True, False, True])
    kept = cores.with_stages(np.tile(only, (len(cores), 1)))
    table, _ = kept.plans(np.arange(len(kept)))
    assert set(table.zero_stage.tolist()) == {1, 3}
    assert len(table) == kept.counts.sum()
