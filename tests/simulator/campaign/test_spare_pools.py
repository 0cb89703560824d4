"""Hot, warm and cold spares side by side."""

from math import inf

import pytest

from simulator.campaign.events import simulate_campaign
from simulator.campaign.losses import Loss
from simulator.campaign.spare_pools import spare_terms
from simulator.spec.reliability import ReliabilitySpec
from tests.simulator.campaign.settings import setting_of

POOLS = [
    {"kind": "hot", "nodes": 2, "swap_s": 10},
    {"kind": "warm", "nodes": 4, "swap_s": 120},
    {"kind": "cold", "nodes": 10, "swap_s": 600},
]


def test_what_strikes_more_nodes_waits_for_slower_spares() -> None:
    spares = spare_terms(ReliabilitySpec.model_validate({"spare_pools": POOLS}))
    assert [spares.swap_s(n) for n in (1, 2, 3, 6, 7, 16, 40)] == [10, 10, 120, 120, 600, 600, 600]
    assert (spares.n_hot, spares.cold_share) == (2, 10 / 16)


def test_spares_of_one_kind_are_one_pool() -> None:
    hot = spare_terms(ReliabilitySpec(spares=4, spare_kind="hot", swap_s=30.0))
    assert (hot.n_hot, hot.cold_share, hot.swap_s(1), hot.swap_s(9)) == (inf, 0, 30, 30)
    cold = spare_terms(ReliabilitySpec(spares=4, spare_kind="cold"))
    assert (cold.n_hot, cold.cold_share) == (0, 1)


def test_pools_are_counted_and_are_not_mixed_with_a_single_kind() -> None:
    assert ReliabilitySpec.model_validate({"spare_pools": POOLS}).n_spares == 16
    with pytest.raises(ValueError, match="spare_pools or spares, spare_kind and swap_s, not both"):
        ReliabilitySpec.model_validate({"spare_pools": POOLS, "spares": 3})


def test_racks_wait_for_cold_spares_and_nodes_do_not() -> None:
    rack = {"name": "rack", "scope": "rack", "failures_per_job_day": 1.0, "detection_s": 0.0}
    node = {**rack, "name": "node", "scope": "node"}

    def restarts(cause: dict[str, object], pools: list[dict[str, object]]) -> float:
        setting = setting_of(
            days=20, causes=[cause], nodes_per_rack=8, spare_pools=pools, restart_s=300.0
        )
        run = simulate_campaign(setting)
        assert run.failures.total() > 5
        return run.losses_node_s[Loss.RESTART] / run.failures.total() / setting.fleet.n_nodes

    slow = [{**pool, "nodes": 200 if pool["kind"] == "cold" else pool["nodes"]} for pool in POOLS]
    assert restarts(node, slow) == pytest.approx(310, rel=0.02)
    assert restarts(rack, slow) == pytest.approx(900, rel=0.02)
