"""What a job does when nodes are missing: replan, shrink, wait; and who pays for nodes gone."""

from typing import Any

import numpy as np
import pytest

from simulator.campaign.closed_form import predict_campaign
from simulator.campaign.events import simulate_campaign
from simulator.campaign.losses import Loss
from simulator.campaign.setting import campaign_setting
from simulator.campaign.shapes import ReplannedShapes, Shape
from simulator.spec.input_pipeline import InputSpec
from simulator.spec.scenario import Scenario
from tests.simulator.campaign.settings import (
    DAY_S,
    STATE_BYTES,
    plan_of,
    scenario_of,
    setting_of,
    step_of,
)

SCARCE: dict[str, Any] = {
    "n_devices": 1024,
    "days": 20,
    "step_s": 20.0,
    "failures_per_device_day": 2e-4,
    "spares": 0,
    "repair_s": 5 * DAY_S,
    "restart_s": 300.0,
}
"""A hundred and twenty-eight nodes, of which one is nearly always in repair."""


def test_a_job_that_shrinks_goes_on_without_the_copy_that_is_gone() -> None:
    waits = simulate_campaign(setting_of(**SCARCE))
    shrinks = simulate_campaign(setting_of(recovery="shrink", **SCARCE), record=True)
    assert shrinks.calendar_s < 0.8 * waits.calendar_s
    assert shrinks.losses_node_s[Loss.WAITING_FOR_SPARES] == 0
    assert shrinks.losses_node_s[Loss.IDLE] > 0


def test_planning_anew_asks_the_planner_once_per_number_of_nodes() -> None:
    asked: list[int] = []

    def replan(scenario: Scenario, n_nodes: int) -> float | None:
        assert scenario.cluster.n_nodes == 128
        asked.append(n_nodes)
        return None if n_nodes < 124 else 20.0 * 128 / n_nodes

    setting = campaign_setting(
        scenario_of(recovery="replan", **SCARCE),
        plan_of(1024),
        step_of(20.0),
        state_bytes=STATE_BYTES,
        replan=replan,
    )
    run = simulate_campaign(setting, record=True)
    assert asked
    assert len(asked) == len(set(asked))
    assert max(asked) == 127
    # Whatever is there trains: a node in repair costs one in 128, not a copy of 16 nodes.
    shrunk = simulate_campaign(setting_of(recovery="shrink", **SCARCE))
    assert run.calendar_s < shrunk.calendar_s
    assert run.losses_node_s[Loss.WAITING_FOR_SPARES] < 0.01 * run.paid_node_s
    booked = run.productive_node_s + sum(run.losses_node_s.values())
    assert booked == pytest.approx(run.paid_node_s, rel=1e-9)


def test_planning_anew_in_closed_form_and_by_events() -> None:
    """Plans are on even numbers of nodes from 120 on, and do a twentieth less on each."""
    asked: list[int] = []

    def replan(_: Scenario, n_nodes: int) -> float | None:
        asked.append(n_nodes)
        return None if n_nodes % 2 or n_nodes < 120 else 1.05 * 20.0 * 128 / n_nodes

    scenario = scenario_of(recovery="replan", **{**SCARCE, "days": 100})
    given = {"state_bytes": STATE_BYTES, "replan": replan}
    exact = predict_campaign(scenario, plan_of(1024), step_of(20.0), **given)  # type: ignore[arg-type]
    assert len(asked) == len(set(asked)) < 20
    setting = campaign_setting(scenario, plan_of(1024), step_of(20.0), **given)  # type: ignore[arg-type]
    runs = [simulate_campaign(setting, replica=replica) for replica in range(16)]
    for ours, theirs in (
        (exact.goodput, [run.goodput for run in runs]),
        (exact.calendar_s, [run.calendar_s for run in runs]),
        *(
            (exact.losses[loss.value], [run.losses_node_s[loss] / run.paid_node_s for run in runs])
            for loss in (Loss.IDLE, Loss.DEGRADED_SPEED, Loss.RESTART)
        ),
    ):
        error = np.std(theirs, ddof=1) / np.sqrt(len(runs))
        assert ours == pytest.approx(np.mean(theirs), abs=3 * error + 2e-3 * ours)
    assert exact.goodput + sum(exact.losses.values()) == pytest.approx(1.0, abs=1e-9)


def test_a_new_plan_waits_for_jitter_and_data_as_the_old_one() -> None:
    # The 33.6 MB of a batch take the store 22.4 s, a second more than the devices.
    slow = InputSpec(
        dataset_bytes=1e14,
        bytes_per_token=2,
        store_bandwidth_bytes_per_s=1.5e6,
        node_bandwidth_bytes_per_s=1e10,
    )
    scenario = scenario_of(recovery="replan", step_jitter=0.02, **SCARCE)
    scenario = scenario.model_copy(update={"input": slow})
    setting = campaign_setting(
        scenario,
        plan_of(1024),
        step_of(20.0),
        state_bytes=STATE_BYTES,
        replan=lambda _, n_nodes: 20.0 * 128 / n_nodes,
    )
    assert setting.full.step_s > 20.0 * setting.terms.slowdown > 21.0
    shape = setting.shapes.best(64)
    assert shape is not None
    assert shape.step_s - setting.input_stall_s == pytest.approx(
        2 * (setting.full.step_s - setting.input_stall_s)
    )
    run = simulate_campaign(setting)
    # A step is worth the same on 127 nodes as on 128, and is as much longer than that; steps that
    # are undone leave theirs behind.
    degraded = run.losses_node_s[Loss.DEGRADED_SPEED] / run.productive_node_s
    assert degraded == pytest.approx(setting.terms.slowdown - 1, rel=2e-3)


def test_fewer_nodes_are_tried_until_a_plan_fits() -> None:
    asked: list[int] = []

    def replan(_: Scenario, n_nodes: int) -> float | None:
        asked.append(n_nodes)
        return 20.0 * 128 / n_nodes if n_nodes % 32 == 0 else None

    shapes = ReplannedShapes(scenario_of(), Shape(128, 20.0), replan, slowdown=1.0, stall_s=0.0)
    assert [shapes.best(n_nodes) for n_nodes in (128, 127, 100, 96)] == [
        Shape(128, 20.0),
        *[Shape(96, 20.0 * 128 / 96)] * 3,
    ]
    assert asked == list(range(127, 95, -1))
    assert shapes.best(31) is None
    assert min(asked) == 16


def test_a_recorded_trace_sets_the_time_between_checkpoints() -> None:
    outages = [
        {"node": number, "start_s": number * DAY_S / 8, "end_s": (number + 8) * DAY_S / 8}
        for number in range(160)
    ]
    usual: dict[str, Any] = {"days": 20, "checkpoint_stall_s": 20.0, "restart_s": 300.0}
    setting = setting_of(replay=outages, random_failures=False, spares=20, **usual)
    # 160 outages in 20.9 days: one in 11,272 s, as often as Llama 3 was interrupted.
    assert setting.saves.tiers[-1].every_steps * 4.5 == pytest.approx(658, abs=5)
    run = simulate_campaign(setting)
    exact = predict_campaign(
        scenario_of(replay=outages, random_failures=False, spares=20, **usual),
        plan_of(),
        step_of(4.5),
        state_bytes=STATE_BYTES,
    )
    assert run.goodput == pytest.approx(exact.goodput, abs=0.01)


def test_nodes_that_the_market_took_away_are_not_paid_for() -> None:
    spot = {
        "name": "spot",
        "component": "preemption",
        "failures_per_device_day": 0.02,
        "notice_s": 120.0,
        "followers": 1.0,
    }
    usual = SCARCE | {"failures_per_device_day": 0.0, "repair_s": 0.5 * DAY_S}
    run = simulate_campaign(setting_of(recovery="shrink", more_causes=[spot], **usual))
    owned = spot | {"component": "power"}
    paid = simulate_campaign(setting_of(recovery="shrink", more_causes=[owned], **usual))
    assert run.calendar_s == pytest.approx(paid.calendar_s)
    assert run.paid_node_s < 0.98 * paid.paid_node_s
    assert paid.paid_node_s == pytest.approx(128 * paid.calendar_s)
    for each in (run, paid):
        booked = each.productive_node_s + sum(each.losses_node_s.values())
        assert booked == pytest.approx(each.paid_node_s, rel=1e-9)


def test_a_pdu_takes_its_racks_with_it() -> None:
    cause = {"name": "pdu", "component": "power", "scope": "pdu", "failures_per_job_day": 0.2}
    usual: dict[str, Any] = {
        "days": 20,
        "failures_per_device_day": 0.0,
        "more_causes": [cause],
        "repair_s": DAY_S,
        "spares": 40,
    }
    rack, pdu = (
        simulate_campaign(setting_of(nodes_per_rack=2, nodes_per_pdu=nodes, **usual))
        for nodes in (None, 50)
    )
    assert rack.failures["pdu"] > 0
    assert rack.losses_node_s[Loss.WAITING_FOR_SPARES] == 0
    assert pdu.losses_node_s[Loss.WAITING_FOR_SPARES] > 0


def test_everybody_waits_for_the_slowest_device() -> None:
    # 2 % jitter makes a step 1.0794 times as long on 16,384 devices.
    run = simulate_campaign(setting_of(days=5, failures_per_device_day=0.0, step_jitter=0.02))
    slowed = run.losses_node_s[Loss.DEGRADED_SPEED] / run.productive_node_s
    assert slowed == pytest.approx(0.0794, abs=1e-4)


def test_a_recorded_class_is_the_cause_of_its_name() -> None:
    # Every hour a node is out for ten minutes: noticed late, announced, or only slow.
    kinds: dict[str, dict[str, Any]] = {
        "late": {"detection_s": 120.0},
        "planned": {"planned": True, "notice_s": 3600.0},
        "slow": {"effect": "slow", "slowdown": 2.0, "lasts_s": 1.0},
        "unheard-of": {},
    }
    lost = {}
    for name, fields in kinds.items():
        outages = [
            {"node": hour, "start_s": 3600.0 * hour, "end_s": 3600.0 * hour + 600, "cause": name}
            for hour in range(1, 11)
        ]
        causes = [] if name == "unheard-of" else [{"name": name, **fields}]
        setting = setting_of(
            n_devices=1024,
            days=0.5,
            step_s=1.0,
            restart_s=60.0,
            checkpoint_stall_s=0.0,
            random_failures=False,
            more_causes=causes,
            replay=outages,
        )
        run = simulate_campaign(setting)
        assert run.failures[name] == (0 if name == "slow" else 10)
        lost[name] = {loss: run.losses_node_s[loss] / 128 for loss in Loss}
    assert lost["unheard-of"][Loss.RESTART] == pytest.approx(600)
    assert lost["late"][Loss.RESTART] == pytest.approx(600 + 10 * 120)
    assert lost["planned"][Loss.RESTART] == 0
    assert lost["planned"][Loss.PLANNED_MAINTENANCE] == pytest.approx(600)
    slower = setting.full.step_s / setting.clock.step_s(2.0, 1.0)
    assert lost["slow"][Loss.DEGRADED_SPEED] == pytest.approx(10 * 600 * (1 - slower))
