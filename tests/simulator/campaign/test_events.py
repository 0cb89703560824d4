"""The campaign by events, case by case."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import simpy

from simulator.campaign.campaign_run import CampaignRun
from simulator.campaign.closed_form import predict_campaign
from simulator.campaign.events import simulate_campaign
from simulator.campaign.losses import Loss
from simulator.campaign.replicas import run_replicas, segments_frame, summarize
from simulator.spec.errors import NoFeasiblePlan
from tests.simulator.campaign.settings import (
    DAY_S,
    STATE_BYTES,
    plan_of,
    scenario_of,
    setting_of,
    step_of,
)

QUIET: dict[str, Any] = {
    "failures_per_device_day": 0.0,
    "restart_s": 300.0,
    "checkpoint_stall_s": 0.0,
}
"""Nothing fails, and saving costs nothing."""


def outage(node: int, start_s: float, end_s: float) -> dict[str, Any]:
    return {"node": node, "start_s": start_s, "end_s": end_s}


def one_day(*outages: dict[str, Any], **reliability: Any) -> CampaignRun:
    """A day of steps of 1 s on 16 nodes that saves every 1,000 steps, with recorded outages."""
    usual = {
        "replay": outages,
        "random_failures": False,
        "restart_s": 300.0,
        "checkpoint_stall_s": 0.0,
        "spares": 1,
        "checkpoint_tiers": [
            {
                "name": "store",
                "survives": "region",
                "shared": True,
                "write_bandwidth_bytes_per_s": 1e15,
                "interval_s": 1000.0,
            }
        ],
    }
    setting = setting_of(n_devices=128, days=1, step_s=1.0, **(usual | reliability))
    return simulate_campaign(setting, record=True)


def hours(run: CampaignRun, loss: Loss) -> float:
    """Node-hours of the job lost, in units of its 16 nodes."""
    return run.losses_node_s[loss] / 16


def test_nothing_fails() -> None:
    setting = setting_of(**QUIET)
    run = simulate_campaign(setting, record=True)
    assert run.calendar_s == pytest.approx(54 * DAY_S + 300, rel=1e-12)
    assert run.failures == Counter()
    assert [segment.loss for segment in run.segments] == [Loss.INITIALISATION, None]


def test_one_failure_loses_the_work_since_the_last_save_and_a_restart() -> None:
    # Training begins at 300 s; at 2,700 s step 2,400 is done and step 2,000 is saved.
    run = one_day(outage(3, 2700, 5000))
    assert hours(run, Loss.LOST_WORK) == pytest.approx(400)
    assert hours(run, Loss.RESTART) == pytest.approx(300)
    assert run.losses_node_s[Loss.WAITING_FOR_SPARES] == 0
    assert run.calendar_s == pytest.approx(DAY_S + 300 + 400 + 300)
    assert run.losses_node_s[Loss.IDLE] == pytest.approx(run.calendar_s)


def test_a_second_failure_finds_no_spare_and_waits_for_the_first_repair() -> None:
    run = one_day(outage(3, 2700, 5000), outage(4, 3500, 9000))
    # The second one strikes at 3,500 s, after 500 s of training from step 2,000.
    assert hours(run, Loss.LOST_WORK) == pytest.approx(400 + 500)
    assert hours(run, Loss.WAITING_FOR_SPARES) == pytest.approx(5000 - 3500)
    assert hours(run, Loss.RESTART) == pytest.approx(600)


def test_a_failure_during_a_restart_starts_it_over() -> None:
    run = one_day(outage(3, 2700, 2800), outage(4, 2900, 9000))
    assert hours(run, Loss.RESTART) == pytest.approx(200 + 300)
    assert hours(run, Loss.LOST_WORK) == pytest.approx(400)


def test_a_failure_at_the_start_starts_over() -> None:
    run = one_day(outage(3, 100, 200))
    assert hours(run, Loss.INITIALISATION) == pytest.approx(100)
    assert hours(run, Loss.RESTART) == pytest.approx(300)


def test_the_failure_of_a_spare_stops_nothing() -> None:
    run = one_day(outage(16, 2700, 5000))
    assert run.calendar_s == pytest.approx(DAY_S + 300)
    assert run.failures == Counter()
    hot = one_day(outage(16, 2700, 5000), outage(3, 2800, 9000), spare_kind="hot")
    assert hours(hot, Loss.WAITING_FOR_SPARES) == pytest.approx(5000 - 2800)


def test_swapping_takes_its_time() -> None:
    run = one_day(outage(3, 2700, 5000), swap_s=60.0)
    assert hours(run, Loss.RESTART) == pytest.approx(360)


def tier(name: str, survives: str, interval_s: float, **values: Any) -> dict[str, Any]:
    return {
        "name": name,
        "survives": survives,
        "write_bandwidth_bytes_per_s": 1e15,
        "interval_s": interval_s,
    } | values


def test_each_failure_is_answered_by_the_nearest_tier_that_survives_it() -> None:
    tiers = [tier("peer", "node", 100.0), tier("store", "region", 1000.0, shared=True)]
    causes = [
        {"name": "node", "failures_per_job_day": 5.0, "repair_fraction": 0.0, "detection_s": 0},
        {"name": "rack", "failures_per_job_day": 5.0, "scope": "rack", "detection_s": 0},
    ]
    setting = setting_of(
        n_devices=128,
        days=20,
        step_s=1.0,
        causes=causes,
        checkpoint_tiers=tiers,
        restart_s=100.0,
        checkpoint_stall_s=0.0,
    )
    run = simulate_campaign(setting, record=True)
    lost: dict[str, list[float]] = {"node": [], "rack": []}
    for segment, after in zip(run.segments, run.segments[1:], strict=False):
        if segment.loss is None and segment.cause:
            lost[segment.cause].append(segment.end_step - after.start_step)
    assert 0 < max(lost["node"]) <= 100
    assert 100 < max(lost["rack"]) <= 1000 + 100  # the store is written every ten peer copies
    assert np.mean(lost["rack"]) == pytest.approx(500, rel=0.3)


def test_a_warning_saves_the_work() -> None:
    cause = {"name": "spot", "component": "preemption", "failures_per_job_day": 10.0}
    lost = []
    for notice_s in (0.0, 120.0):
        setting = setting_of(
            n_devices=128,
            days=10,
            step_s=1.0,
            causes=[cause | {"notice_s": notice_s}],
            checkpoint_tiers=[tier("store", "region", 1000.0, shared=True)],
            restart_s=300.0,
            checkpoint_stall_s=1.0,
        )
        run = simulate_campaign(setting)
        lost.append(run.losses_node_s[Loss.LOST_WORK])
    assert lost[1] < lost[0] / 100


def test_planned_maintenance_is_a_loss_of_its_own() -> None:
    cause = {
        "name": "firmware",
        "component": "maintenance",
        "planned": True,
        "notice_s": 3600.0,
        "failures_per_job_day": 1.0,
    }
    run = simulate_campaign(setting_of(more_causes=[cause], spares=32))
    restarts = run.losses_node_s[Loss.PLANNED_MAINTENANCE] / 2048 / 300
    assert restarts == pytest.approx(run.failures["firmware"], rel=0.05)
    assert run.failures["firmware"] == pytest.approx(57, abs=25)


def test_corruption_is_rolled_back_to_before_it_began() -> None:
    cause = {
        "name": "sdc",
        "effect": "corrupt",
        "failures_per_job_day": 1.0,
        "detection_s": 7200.0,
        "repair_s": 10_000.0,
    }
    usual: dict[str, Any] = {
        "n_devices": 128,
        "days": 60,
        "step_s": 1.0,
        "causes": [cause],
        "restart_s": 300.0,
        "checkpoint_stall_s": 0.0,
    }
    tiers = [tier("store", "region", 1000.0, shared=True)]
    run = simulate_campaign(setting_of(checkpoint_tiers=tiers, **usual))
    per_event_s = run.losses_node_s[Loss.LOST_WORK] / 16 / run.failures["sdc"]
    assert 7200 < per_event_s < 7200 + 1000
    # With two checkpoints kept, none is old enough: everything starts over.
    forgetful = [tiers[0] | {"keep": 2}]
    with pytest.raises(NoFeasiblePlan, match="never finishes"):
        simulate_campaign(setting_of(checkpoint_tiers=forgetful, **usual))


def test_slow_devices_and_links_slow_the_job_while_they_last() -> None:
    def slow(what: str, **values: Any) -> dict[str, Any]:
        return {
            "name": "slow",
            "effect": "slow",
            "slows": what,
            "slowdown": 2.0,
            "lasts_s": 3600.0,
            "failures_per_job_day": 4.0,
        } | values

    lost = {}
    for what in ("compute", "network"):
        run = simulate_campaign(setting_of(**(QUIET | {"causes": (), "more_causes": [slow(what)]})))
        lost[what] = run.losses_node_s[Loss.DEGRADED_SPEED] / run.paid_node_s
        assert run.losses_node_s[Loss.RESTART] == 0
    # 4 x 1 h a day, in which a step takes nearly twice as long: half of that time is lost.
    assert lost["compute"] == pytest.approx(0.5 * (1 - np.exp(-4 / 24)), rel=0.3)
    assert 0 < lost["network"] < lost["compute"]
    noticed = slow("compute", detection_s=60.0)
    run = simulate_campaign(setting_of(**(QUIET | {"more_causes": [noticed], "spares": 8})))
    assert run.losses_node_s[Loss.DEGRADED_SPEED] / run.paid_node_s < lost["compute"] / 10
    assert run.failures["slow"] > 100


def test_flaps_slow_everything_a_little() -> None:
    flaps = {"flaps_per_device_day": 1.0, "flap_stall_s": 0.05}
    run = simulate_campaign(setting_of(**(QUIET | flaps)))
    slowdown = 16_384 / DAY_S * 0.05
    assert run.losses_node_s[Loss.DEGRADED_SPEED] / run.paid_node_s == pytest.approx(
        slowdown / (1 + slowdown), rel=1e-3
    )


def test_groups_that_fail_apart_keep_the_others_going() -> None:
    usual: dict[str, Any] = {
        "n_devices": 131_072,
        "days": 5,
        "causes": [{"name": "any", "failures_per_device_day": 0.4736e-3, "detection_s": 0}],
        "restart_s": 300.0,
        "checkpoint_stall_s": 5.0,
    }
    together = simulate_campaign(setting_of(**usual))
    apart = simulate_campaign(setting_of(recovery="isolate", isolation_groups=32, **usual))
    assert together.goodput == pytest.approx(0.7397, abs=0.02)
    # reliability.md 2.8: groups of 4,096 are up 0.9932 of the time with restarts of 305 s.
    restarts = apart.losses_node_s[Loss.RESTART] / apart.paid_node_s
    assert restarts == pytest.approx(1 - 0.9932, rel=0.15)
    assert apart.goodput > 0.97
    exact = predict_campaign(
        scenario_of(recovery="isolate", isolation_groups=32, **usual),
        plan_of(131_072, n_groups=32),
        step_of(4.5),
        state_bytes=STATE_BYTES,
    )
    assert apart.goodput == pytest.approx(exact.goodput, abs=3e-3)
    assert apart.failures.total() == pytest.approx(exact.expected_failures, rel=0.2)


def test_isolated_groups_wait_for_nodes_by_themselves() -> None:
    run = simulate_campaign(
        setting_of(n_devices=16_384, days=20, recovery="isolate", isolation_groups=16, spares=4)
    )
    assert run.losses_node_s[Loss.WAITING_FOR_SPARES] == 0
    assert run.losses_node_s[Loss.RESTART] / run.paid_node_s > 0.05


@pytest.mark.parametrize(
    "reliability",
    [
        {"spares": 24},
        {"spares": 4, "repair_spread": 1.5, "repair_success": 0.8, "repair_crews": 20},
        {"spares": 16, "recovery": "shrink", "repair_s": 5 * DAY_S},
        {"spares": 16, "recovery": "isolate", "isolation_groups": 8},
        {
            "spares": 16,
            "more_causes": [
                {
                    "name": "slow",
                    "effect": "slow",
                    "slowdown": 1.3,
                    "lasts_s": 1800.0,
                    "failures_per_job_day": 10.0,
                    "detection_s": 900.0,
                },
                {
                    "name": "rack",
                    "scope": "rack",
                    "failures_per_job_day": 0.5,
                    "followers": 2.0,
                },
                {
                    "name": "sdc",
                    "effect": "corrupt",
                    "failures_per_job_day": 0.1,
                    "detection_s": 7200.0,
                },
            ],
            "cohorts": [{"name": "lemon", "share": 0.02, "rate_factor": 20}],
        },
    ],
    ids=["spares", "heavy repair", "shrink", "isolate", "everything"],
)
def test_device_time_is_conserved(reliability: dict[str, Any]) -> None:
    for replica in range(3):
        run = simulate_campaign(setting_of(days=20, **reliability), replica=replica)
        booked = run.productive_node_s + sum(run.losses_node_s.values())
        assert booked == pytest.approx(run.paid_node_s, rel=1e-9)
        assert all(lost >= 0 for lost in run.losses_node_s.values())
        useful = 20 * DAY_S * 2048
        # Fewer copies may need less device time for the same work; never more counts as useful.
        assert 0.95 * useful < run.productive_node_s < useful * (1 + 1e-3)


def test_bursts_lemons_and_heavy_repair_need_more_spares_than_poisson() -> None:
    usual: dict[str, Any] = {"days": 54, "repair_s": 2 * DAY_S, "spares": 24}
    cause = {"name": "any", "failures_per_device_day": 0.4736e-3, "detection_s": 0}
    plain = setting_of(causes=[cause], **usual)
    rough = setting_of(causes=[cause | {"followers": 3.0}], repair_spread=1.5, **usual)
    waits = [
        np.mean(
            [
                simulate_campaign(setting, replica=n).losses_node_s[Loss.WAITING_FOR_SPARES]
                for n in range(12)
            ]
        )
        for setting in (plain, rough)
    ]
    assert waits[1] > 2 * waits[0]


def test_the_same_seed_is_the_same_campaign() -> None:
    setting = setting_of(days=10, spares=8)
    again = setting_of(days=10, spares=8)
    assert simulate_campaign(setting, replica=3) == simulate_campaign(again, replica=3)
    assert simulate_campaign(setting, replica=3) != simulate_campaign(setting, replica=4)


def test_plans_meet_the_same_failures() -> None:
    short, long = (
        simulate_campaign(setting_of(days=10, restart_s=restart_s), record=True)
        for restart_s in (30.0, 600.0)
    )
    first = [next(s.end_s for s in run.segments if s.cause) for run in (short, long)]
    assert first[0] == first[1]


def test_replicas_stop_when_the_mean_is_known() -> None:
    setting = setting_of(days=10, spares=16)
    runs = run_replicas(setting, n_replicas=10, within=0.003, jobs=1)
    reach = 1.645 * np.std([run.goodput for run in runs], ddof=1) / np.sqrt(len(runs))
    assert reach <= 0.003
    assert len(runs) % 10 == 0
    assert runs[0].segments
    assert not runs[1].segments
    campaign = summarize(setting, runs)
    assert campaign.engine == "events"
    assert campaign.n_replicas == len(runs)
    assert campaign.goodput + sum(campaign.losses.values()) == pytest.approx(1, abs=1e-9)
    assert campaign.goodput_interval.low <= campaign.goodput <= campaign.goodput_interval.high
    assert sum(campaign.failures.values()) == pytest.approx(campaign.expected_failures)


@pytest.mark.slow
def test_replicas_do_not_depend_on_how_they_are_shared_out() -> None:
    setting = setting_of(days=54, n_devices=131_072)
    alone, shared = (run_replicas(setting, n_replicas=16, jobs=jobs) for jobs in (1, 2))
    assert alone == shared


@pytest.mark.parametrize(
    ("n_devices", "days", "reliability"),
    [
        (1024, 600.0, {"spares": 8}),
        (16_384, 54.0, {"spares": 32}),
        (1_048_576, 2.0, {"spares": 2000, "recovery": "isolate", "isolation_groups": 256}),
    ],
)
def test_cost_follows_failures_whatever_the_size(
    n_devices: int, days: float, reliability: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    events = Counter[str]()

    class Counted(simpy.Environment):
        def step(self) -> None:
            events["all"] += 1
            super().step()

    monkeypatch.setattr(simpy, "Environment", Counted)
    setting = setting_of(n_devices=n_devices, days=days, **reliability)
    n_failures = simulate_campaign(setting).failures.total()
    assert n_failures > 100
    # It strikes, a node is repaired, the job or its group has restarted.
    assert events["all"] < 4 * n_failures


def test_segments_are_a_table_without_gaps() -> None:
    run = simulate_campaign(setting_of(days=10, spares=8), record=True)
    frame = segments_frame(run)
    assert (frame["start_s"].iloc[1:].to_numpy() == frame["end_s"].iloc[:-1].to_numpy()).all()
    assert frame["end_s"].iloc[-1] == run.calendar_s
    assert set(frame["what"]) >= {"training", "restart", "initialisation"}


def test_every_failure_is_recorded_whether_it_stops_the_job_or_a_group() -> None:
    setting = setting_of(days=30, spares=32, recovery="isolate", isolation_groups=16)
    run = simulate_campaign(setting, record=True)
    assert Counter(strike.cause for strike in run.strikes) == run.failures
    # Only what strikes no node stops all groups at once.
    assert {strike.cause for strike in run.strikes if not strike.apart} == {
        cause.name for cause in setting.terms.causes if cause.scope == "job"
    }
    times = [strike.time_s for strike in run.strikes]
    assert times == sorted(times)
    assert not simulate_campaign(setting).strikes


def test_a_campaign_that_never_finishes_says_why() -> None:
    with pytest.raises(NoFeasiblePlan, match="a restart takes 60 s and something fails every 5"):
        setting_of(failures_per_device_day=1, restart_s=60)
    # Only the events know that corruption comes faster than anybody notices it.
    cause = {
        "name": "sdc",
        "effect": "corrupt",
        "failures_per_job_day": 50.0,
        "detection_s": 40_000.0,
        "repair_s": 50_000.0,
    }
    with pytest.raises(NoFeasiblePlan, match="never finishes"):
        simulate_campaign(
            setting_of(n_devices=128, days=1, step_s=10.0, causes=[cause], restart_s=10.0)
        )


def test_scenarios_say_what_is_impossible() -> None:
    with pytest.raises(ValueError, match="spares=3000 is more than the 2048 nodes"):
        scenario_of(spares=3000)
    with pytest.raises(ValueError, match="node 2048 fails, and there are 2048 nodes"):
        scenario_of(replay=[outage(2048, 0, 1)])
