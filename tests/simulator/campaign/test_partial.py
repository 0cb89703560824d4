"""Jobs that go on while nodes are missing: closed form against Erlang, and against the events."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import poisson

from simulator.campaign.closed_form import predict_campaign
from simulator.campaign.events import simulate_campaign
from simulator.campaign.losses import Loss
from simulator.campaign.partial import (
    Upkeep,
    isolated_service,
    replanned_service,
    shrinking_service,
    waiting_service,
)
from simulator.campaign.setting import campaign_setting
from simulator.campaign.shapes import Shape
from tests.simulator.campaign.erlang import waiting_share
from tests.simulator.campaign.settings import DAY_S, STATE_BYTES, plan_of, scenario_of, step_of

RATE = Upkeep(failures_per_node_s=3.79e-3 / DAY_S, repair_s=2 * DAY_S)
A = 2048 * 3.79e-3 * 2  # nodes in repair, on average


def test_one_copy_is_all_or_nothing() -> None:
    spares = np.array([0, 8, 16, 24])
    service = shrinking_service(2048, 1, spares, RATE)
    assert service.stopped == pytest.approx(waiting_share(A, spares), rel=1e-6)
    assert service.speed == pytest.approx(np.ones(4))


def test_single_nodes_are_what_poisson_says() -> None:
    # With a copy per node and hardly any that fail, nodes in repair are Poisson.
    service = shrinking_service(2048, 2048, 16, RATE)
    counts = np.arange(200)
    share = np.diff(poisson.cdf(counts, A), prepend=0.0)
    missing = (share * np.maximum(0, counts - 16)).sum()
    assert 1 - service.speed == pytest.approx(missing / 2048, rel=0.02)
    assert service.stopped == pytest.approx(0.0, abs=1e-12)


def test_copies_come_back_as_often_as_they_go() -> None:
    # Two copies and no spare: the second one is out while 1 to 1,024 nodes are in repair.
    service = shrinking_service(2048, 2, 0, Upkeep(failures_per_node_s=1e-9, repair_s=1e4))
    load = 2048 * 1e-9 * 1e4
    assert service.regrowths_per_s == pytest.approx(2048e-9, rel=0.03)
    assert service.speed == pytest.approx(1 - load / 2, rel=1e-3)


def test_missing_nodes_take_their_groups_away() -> None:
    one = isolated_service(2048, 8, 10_000, RATE)
    assert one.speed == pytest.approx(1.0)
    few = isolated_service(2048, np.array([4, 16, 64]), 16, RATE)
    assert np.all(np.diff(few.speed) > 0)


def test_jobs_that_are_alike_are_asked_about_once() -> None:
    """A search asks about many plans of few meshes; a row does not depend on those beside it."""
    copies, spares = np.array([4, 16, 4, 64, 16]), np.array([0, 8, 0, 8, 8])
    for service in (shrinking_service, isolated_service):
        together = service(2048, copies, spares, RATE)
        alone = [service(2048, c, s, RATE) for c, s in zip(copies, spares, strict=True)]
        for name in ("speed", "stopped", "regrowths_per_s"):
            each = np.concatenate([getattr(one, name) for one in alone])
            assert getattr(together, name) == pytest.approx(each, rel=1e-9, abs=1e-15)


def test_waiting_is_erlangs_loss() -> None:
    spares = np.array([0, 8, 16, 24, 8])
    service = waiting_service(2048, spares, RATE)
    assert service.stopped == pytest.approx(waiting_share(A, spares), rel=1e-9)
    assert service.in_repair == pytest.approx(A * (1 - service.stopped))
    assert service.regrowths_per_s == pytest.approx(np.zeros(5))


def test_few_crews_and_hot_spares_are_birth_and_death() -> None:
    # One node, one spare, one crew, loads of 0.5: 1 : 0.5 : 0.25, or 1 : 1 : 0.5 if it is hot.
    load = Upkeep(failures_per_node_s=0.5, repair_s=1.0, n_crews=1)
    assert waiting_service(1, 1, load).stopped == pytest.approx(0.25 / 1.75)
    assert waiting_service(1, 1, replace(load, n_hot=1)).stopped == pytest.approx(0.5 / 2.5)
    # Kleinrock's M/M/1//2: two copies, whatever is up fails, one crew.
    both = shrinking_service(2, 2, 0, load)
    assert both.stopped == pytest.approx(0.5 / 2.5)
    enough = waiting_service(2048, 24, replace(RATE, n_crews=1000))
    assert enough.stopped == pytest.approx(waiting_service(2048, 24, RATE).stopped)


def test_planning_anew_asks_about_what_happens() -> None:
    asked: list[int] = []

    def best(n_nodes: int) -> Shape | None:
        asked.append(n_nodes)
        return Shape(n_nodes, 10.0 * 16 / n_nodes) if n_nodes >= 14 else None

    load = Upkeep(failures_per_node_s=0.05, repair_s=1.0)
    ideal = replanned_service(16, 2, load, best=None)
    service = replanned_service(16, 2, load, best=best)
    assert set(asked) < set(range(8, 17))
    assert service.efficiency == pytest.approx(1.0)
    # Where no plan fits on fewer than 14, it stands still as four spares would have it.
    assert service.stopped == pytest.approx(waiting_service(16, 4, load).stopped, rel=0.2)
    assert service.speed < 1
    assert ideal.stopped < 1e-9
    slower = replanned_service(
        16, 0, load, best=lambda n: Shape(n, 10.0 if n == 16 else 20.0 * 16 / n)
    )
    assert 0.5 < slower.efficiency[0] < 1


def test_nothing_fails() -> None:
    for service in (shrinking_service, isolated_service):
        whole = service(16, 4, 0, Upkeep(failures_per_node_s=0.0, repair_s=DAY_S))
        assert (whole.speed[0], whole.stopped[0], whole.regrowths_per_s[0]) == (1, 0, 0)


CORRUPTION = {
    "name": "corruption",
    "effect": "corrupt",
    "detection_s": 3 * 3600.0,
    "failures_per_job_day": 0.5,
}
SMALL = {"n_devices": 1024, "days": 200, "step_s": 20.0, "failures_per_device_day": 2e-4}
POOLS = [
    {"kind": "hot", "nodes": 2, "swap_s": 30.0},
    {"kind": "warm", "nodes": 1, "swap_s": 300.0},
    {"kind": "cold", "nodes": 1, "swap_s": 900.0},
]
CASES: dict[str, tuple[dict[str, Any], int]] = {
    "shards leave": ({**SMALL, "recovery": "shrink", "spares": 0, "repair_s": 5 * DAY_S}, 1),
    "copies leave": ({**SMALL, "recovery": "shrink", "spares": 1, "repair_s": 5 * DAY_S}, 4),
    "16k shrinks": ({"days": 30, "recovery": "shrink", "spares": 8}, 1),
    "16k apart, few spares": ({"days": 30, "recovery": "isolate", "spares": 12}, 16),
    "corruption spreads to all groups": (
        {"days": 30, "recovery": "isolate", "spares": 24, "more_causes": [CORRUPTION]},
        128,
    ),
    "crews": ({"days": 60, "spares": 24, "repair_crews": 17, "repair_spread": 0.83}, 1),
    "crews of a job that shrinks": (
        {**SMALL, "days": 500, "recovery": "shrink", "spares": 1, "repair_s": 5 * DAY_S}
        | {"repair_crews": 2, "repair_spread": 0.83},
        4,
    ),
    "hot": ({**SMALL, "spares": 3, "spare_kind": "hot", "repair_s": 5 * DAY_S}, 1),
    "hot, warm and cold": ({**SMALL, "spare_pools": POOLS, "repair_s": 5 * DAY_S}, 1),
    "16k apart": ({"days": 30, "recovery": "isolate", "spares": 24}, 128),
}


@pytest.mark.parametrize("name", CASES)
def test_closed_form_and_events_agree(name: str) -> None:
    values, n_groups = CASES[name]
    values = {"restart_s": 300.0, **values}
    scenario, step = scenario_of(**values), step_of(values.get("step_s", 4.5))
    plan = plan_of(values.get("n_devices", 16_384), n_groups=n_groups)
    exact = predict_campaign(scenario, plan, step, state_bytes=STATE_BYTES)
    setting = campaign_setting(scenario, plan, step, state_bytes=STATE_BYTES)
    runs = [simulate_campaign(setting, replica=replica) for replica in range(12)]
    for ours, theirs in (
        (exact.goodput, [run.goodput for run in runs]),
        (exact.calendar_s, [run.calendar_s for run in runs]),
    ):
        error = np.std(theirs, ddof=1) / np.sqrt(len(runs))
        assert ours == pytest.approx(np.mean(theirs), abs=3 * error + 5e-4 * ours)
    idle = np.mean([run.losses_node_s[Loss.IDLE] / run.paid_node_s for run in runs])
    assert exact.losses["idle"] == pytest.approx(idle, rel=0.1)
    assert exact.goodput + sum(exact.losses.values()) == pytest.approx(1.0, abs=1e-9)
