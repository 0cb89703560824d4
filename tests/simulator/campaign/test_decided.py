"""What a plan says about failures goes before what its scenario says."""

import numpy as np
import pytest

from simulator.campaign.decided import decided, droppable_copies, fixed_spares, separable_groups
from simulator.spec.errors import InputError
from simulator.spec.plan import PlanSpec
from tests.simulator.campaign.settings import plan_of, scenario_of


def test_the_plan_goes_first() -> None:
    scenario = scenario_of(spares=8, recovery="best")
    plan = plan_of(n_groups=4).model_copy(update={"n_spare_nodes": 3, "recovery": "isolate"})
    asked = decided(scenario, plan).reliability
    assert (asked.spares, asked.recovery, asked.isolation_groups) == (3, "isolate", 4)


def test_pools_of_spares_are_not_counted_twice() -> None:
    scenario = scenario_of(spare_pools=[{"kind": "warm", "nodes": 2}])
    plan = plan_of().model_copy(update={"n_spare_nodes": 5})
    asked = decided(scenario, plan).reliability
    assert (asked.spares, asked.n_spares, fixed_spares(asked)) == (None, 2, 2)
    assert type(asked).model_validate(asked.model_dump()) == asked


def test_what_nobody_decides_is_an_error() -> None:
    for name, scenario in (
        ("spares", scenario_of(spares="best")),
        ("recovery", scenario_of(recovery="best")),
    ):
        with pytest.raises(InputError, match=f"{name} is left to the planner"):
            decided(scenario, plan_of())


def test_groups_hold_whole_copies_on_whole_nodes() -> None:
    assert separable_groups(16, 64, 8) == 16
    assert separable_groups(16, 2, 8) == 4  # four copies of a stage share a node
    assert separable_groups(6, 2, 8) == 1
    with pytest.raises(InputError, match="3 groups cannot fail apart: the 16 copies"):
        decided(scenario_of(recovery="isolate", isolation_groups=3), plan_of(n_groups=16))
    with pytest.raises(ValueError, match="does not divide dp_replicate=4"):
        PlanSpec(dp_replicate=4, isolation_groups=3)


def test_a_single_group_waits() -> None:
    asked = decided(scenario_of(recovery="isolate"), plan_of()).reliability
    assert asked.recovery == "wait"


def test_a_job_of_one_copy_loses_shards() -> None:
    assert np.array_equal(droppable_copies([1, 4], [64, 16]), [64, 4])
