"""Which replica group a node belongs to, spares beside them and swapped in."""

import pytest

from simulator.campaign.agenda import Agenda
from simulator.campaign.failures import Failure
from simulator.campaign.groups import GroupOutages
from simulator.campaign.pool import NodePool
from simulator.spec.reliability import FailureCause
from tests.simulator.campaign.settings import setting_of

CAUSE = FailureCause(name="any", failures_per_device_day=1e-3, detection_s=0.0)


def groups_of(n_groups: int, spares: int) -> tuple[GroupOutages, NodePool, Agenda]:
    setting = setting_of(
        n_devices=1024,
        step_s=20.0,
        recovery="isolate",
        isolation_groups=n_groups,
        spares=spares,
        restart_s=300.0,
    )
    agenda, pool = Agenda(), NodePool(setting.fleet)
    return GroupOutages(agenda, setting, pool, lambda: None), pool, agenda


@pytest.mark.parametrize("spares", [0, 32, 64, 128])
def test_nodes_that_hold_ranks_are_divided_evenly(spares: int) -> None:
    for group in range(4):
        groups, _, _ = groups_of(4, spares)
        for node in range(32 * group, 32 * (group + 1)):
            assert groups.stop(Failure(0.0, CAUSE, node, removes=False), 0)
            assert groups.running_share == 0.75
        elsewhere = 32 * (group + 1) % 128
        groups.stop(Failure(0.0, CAUSE, elsewhere, removes=False), 0)
        assert groups.running_share == 0.5


def test_a_spare_belongs_to_the_group_that_it_filled() -> None:
    groups, pool, agenda = groups_of(4, 64)
    pool.remove(100)  # of the last group
    assert groups.stop(Failure(0.0, CAUSE, 100), 1)
    assert pool.in_job(128)
    agenda.run_next()
    assert groups.running_share == 1
    groups.stop(Failure(agenda.now_s, CAUSE, 128, removes=False), 0)
    groups.stop(Failure(agenda.now_s, CAUSE, 127, removes=False), 0)
    assert groups.running_share == 0.75


def test_a_group_that_misses_no_node_does_not_wait_behind_one_that_does() -> None:
    groups, pool, agenda = groups_of(4, 0)
    pool.remove(100)
    assert groups.stop(Failure(0.0, CAUSE, 100), 1)
    assert groups.stop(Failure(0.0, CAUSE, 0, removes=False), 0)
    assert groups.running_share == 0.5
    agenda.run_next()
    assert groups.running_share == 0.75  # the other one still waits for its node
    assert agenda.next_s == float("inf")
    pool.bring_back(100)
    groups.node_back()
    agenda.run_next()
    assert groups.running_share == 1
