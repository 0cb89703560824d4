from simulator.campaign.fleet import Fleet
from simulator.campaign.pool import NodePool


def pool_of(n_nodes: int, n_spares: int) -> NodePool:
    return NodePool(
        Fleet(
            n_nodes=n_nodes,
            n_spares=n_spares,
            endless_spares=False,
            devices_per_node=8,
            domain_nodes={"job": 1, "node": 1, "rack": 2, "pod": 4, "region": n_nodes},
        )
    )


def test_spares_replace_what_is_taken_away_and_repaired_nodes_become_spares() -> None:
    pool = pool_of(4, 1)
    pool.remove(2)
    assert (pool.n_in_job, pool.n_spares, pool.n_up) == (3, 1, 4)
    assert pool.fill(4) == [4]
    assert pool.in_job(4)
    assert not pool.in_job(2)
    pool.remove(0)
    assert pool.fill(4) == []
    pool.bring_back(2)
    assert pool.is_spare(2)
    assert pool.fill(4) == [2]
    assert [pool.in_job(node) for node in range(5)] == [False, True, True, True, True]


def test_a_spare_that_fails_is_not_swapped_in() -> None:
    pool = pool_of(2, 2)
    pool.remove(2)
    pool.remove(0)
    assert pool.fill(2) == [3]
    assert pool.in_job(3)
    pool.bring_back(2)
    pool.remove(1)
    assert pool.fill(2) == [2]
    assert pool.in_job(2)


def test_a_smaller_job_leaves_spares() -> None:
    pool = pool_of(6, 0)
    pool.remove(1)
    pool.release(4)
    assert (pool.n_in_job, pool.n_spares) == (4, 1)
    pool.bring_back(1)
    assert pool.fill(6) == [0, 1]
