"""A run that goes on after failures, by a trace and by themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.compare import compare
from runtime.launch import run
from runtime.result import RunResult, read_metrics
from runtime.run_dir import RunDir
from runtime.supervise import Recovery, supervise
from simulator.catalog.plan_json import read_plan_file
from simulator.spec.errors import RunError
from simulator.spec.plan_file import PlanFile
from simulator.spec.reliability import Outage
from simulator.spec.scenario import RunSpec
from tests.runtime.plans import fp32, plan_file
from tests.runtime.test_ranks import alive


class Clock:
    """Time that goes on when it is looked at."""

    def __init__(self, tick_s: float = 1.0) -> None:
        self._now_s, self._tick_s = 0.0, tick_s

    def __call__(self) -> float:
        self._now_s += self._tick_s
        return self._now_s


def on_single_devices(file: PlanFile) -> PlanFile:
    """The same plan with every rank on a node of its own."""
    old = file.scenario.cluster
    fabric = old.fabric.model_copy(update={"kind": "ethernet"})
    update = {"n_nodes": file.plan.n_ranks, "devices_per_node": 1, "fabric": fabric}
    scenario = file.scenario.model_copy(update={"cluster": old.model_copy(update=update)})
    return file.model_copy(update={"scenario": scenario})


TWO = on_single_devices(plan_file(fp32(dp_replicate=2)))
ONE = plan_file(fp32(n_microbatches=2))


def events(place: RunDir, *names: str) -> list[dict[str, Any]]:
    lines = place.events.read_text().splitlines() if place.events.exists() else []
    records = [json.loads(line) for line in lines]
    return [record for record in records if not names or record["event"] in names]


class Attempts:
    """In place of ranks: fails as often as told, looking at the trace while it lasts."""

    def __init__(self, n_failures: int, n_looks: int = 3) -> None:
        self._n_failures, self._n_looks = n_failures, n_looks
        self.plans: list[str] = []

    def __call__(self, present: PlanFile, inject: Callable[[], None]) -> None:
        self.plans.append(present.plan.label())
        for _ in range(self._n_looks):
            inject()
        if len(self.plans) <= self._n_failures:
            raise RunError("rank 1 was killed\n  | its log")


def test_a_failure_is_the_end_unless_restarts_are_allowed(tmp_path: Path) -> None:
    place = RunDir(tmp_path)
    with pytest.raises(RunError, match="rank 1 was killed"):
        supervise(TWO, place, Recovery(), Attempts(1))
    attempts = Attempts(2)
    assert supervise(TWO, place, Recovery(max_restarts=2), attempts) is TWO
    assert len(attempts.plans) == 3
    with pytest.raises(RunError):
        supervise(TWO, place, Recovery(max_restarts=2), Attempts(3))
    failure = events(place, "failure")[0]
    assert (failure["injected"], failure["message"]) == (False, "rank 1 was killed")


def test_an_injected_failure_is_always_followed_by_a_restart(tmp_path: Path) -> None:
    place, outage = RunDir(tmp_path), Outage(node=1, start_s=2.0, end_s=2.0, cause="hbm")
    attempts = Attempts(1)
    supervise(TWO, place, Recovery(outages=(outage,), clock=Clock()), attempts)
    assert len(attempts.plans) == 2
    assert [e["event"] for e in events(place)] == ["fault", "failure", "restart"]
    (fault,) = events(place, "fault")
    assert (fault["node"], fault["cause"]) == (1, "hbm")
    assert events(place, "failure")[0]["injected"] is True


@pytest.mark.parametrize(("n_spares", "waits"), [(0, True), (1, False), (None, False)])
def test_a_node_that_is_down_is_waited_for_unless_there_is_a_spare(
    n_spares: int | None, waits: bool, tmp_path: Path
) -> None:
    place, outage = RunDir(tmp_path), Outage(node=0, start_s=2.0, end_s=40.0)
    recovery = Recovery(outages=(outage,), n_spares=n_spares, clock=Clock(0.5))
    supervise(TWO, place, recovery, Attempts(1, n_looks=9))
    assert bool(events(place, "wait")) is waits


def test_what_is_left_goes_on_under_another_plan(tmp_path: Path) -> None:
    asked: list[int] = []

    def replan(of: PlanFile, n_nodes: int) -> PlanFile:
        assert of is TWO
        asked.append(n_nodes)
        return ONE

    place, outage = RunDir(tmp_path), Outage(node=0, start_s=2.0, end_s=1e6)
    recovery = Recovery(outages=(outage,), n_spares=0, replan=replan, clock=Clock())
    attempts = Attempts(1)
    assert supervise(TWO, place, recovery, attempts) is ONE
    assert asked == [1]
    assert attempts.plans == [TWO.plan.label(), ONE.plan.label()]
    (change,) = events(place, "replan")
    assert (change["n_nodes"], change["plan"]) == (1, ONE.plan.label())


def test_the_planner_is_asked_again_only_when_more_nodes_are_free(tmp_path: Path) -> None:
    four = on_single_devices(plan_file(fp32(dp_replicate=4)))
    asked: list[int] = []

    def nothing_fits(_: PlanFile, n_nodes: int) -> None:
        asked.append(n_nodes)

    ends_s = (12.0, 18.0, 24.0)
    outages = tuple(
        Outage(node=node, start_s=2.0, end_s=end_s) for node, end_s in enumerate(ends_s)
    )
    recovery = Recovery(outages=outages, n_spares=0, replan=nothing_fits, clock=Clock())
    place, attempts = RunDir(tmp_path), Attempts(1)
    assert supervise(four, place, recovery, attempts) is four
    assert asked == [1, 2, 3]
    assert len(events(place, "wait")) == 1


def test_outages_of_nodes_without_ranks_stop_nothing(tmp_path: Path) -> None:
    outage = Outage(node=5, start_s=0.0, end_s=1e6)
    with pytest.raises(RunError):
        supervise(TWO, RunDir(tmp_path), Recovery(outages=(outage,), clock=Clock()), Attempts(1))


STEPS, EVERY = 40, 10
TRAINED = RunSpec(steps=STEPS, checkpoint_every_steps=EVERY)


class StepClock:
    """Counts the steps that a run has measured, so that a trace in steps can be injected."""

    def __init__(self, place: RunDir) -> None:
        self._place = place

    def __call__(self) -> float:
        return float(max((step.step for step in read_metrics(self._place.metrics)), default=0))


FAULTS = {
    "recorded": (1, "killed", 1),
    "hung": (0, "hung", 0),
    "corruption": (1, "not finite", 1),
    "rendezvous": (0, "rendezvous", None),
}
"""By class of the trace: the node, and the cause and rank that must be found."""


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A run without faults."""
    file = on_single_devices(plan_file(fp32(dp_replicate=2), run=TRAINED))
    return run(file, run_dir=tmp_path_factory.mktemp("calm") / "run")


@pytest.mark.ranks
def test_losses_go_on_as_if_nothing_had_happened(tmp_path: Path, calm: RunResult) -> None:
    """Every kind of fault is noticed, blamed on the right rank, and made up for."""
    file = on_single_devices(plan_file(fp32(dp_replicate=2), run=TRAINED))
    place = RunDir(tmp_path / "struck")
    struck_at = dict(zip(FAULTS, (5.0, 13.0, 23.0, 33.0), strict=True))
    outages = [
        Outage(node=node, start_s=struck_at[cause], end_s=struck_at[cause], cause=cause)
        for cause, (node, _, _) in FAULTS.items()
    ]
    # Disturbs without stopping: the checkpoint of step 20 is missed.
    outages.append(Outage(node=1, start_s=15.0, end_s=21.0, cause="full-disk"))
    struck = run(
        file,
        run_dir=place.root,
        silence_s=3.0,
        recovery=Recovery(outages=tuple(outages), clock=StepClock(place)),
    )
    assert [step.step for step in struck.steps] == list(range(1, STEPS + 1))
    assert struck.losses == calm.losses
    found = [(e["cause"], e["failed_rank"]) for e in events(place, "failure")]
    assert found == [(cause, rank) for _, cause, rank in FAULTS.values()]
    assert all((place.root / e["log"]).exists() for e in events(place, "failure"))
    resumed = sorted({e["step"] for e in events(place, "resume")})
    assert set(resumed) <= {10, 20, 30}
    assert 0 < compare(place.root).goodput.measured < compare(calm.run_dir).goodput.measured
    assert not any(alive(e["pid"]) for e in events(place, "start", "agent"))


@pytest.mark.ranks
def test_losses_go_on_under_another_plan(tmp_path: Path, calm: RunResult) -> None:
    file = on_single_devices(plan_file(fp32(dp_replicate=2), run=TRAINED))
    alone = plan_file(fp32(n_microbatches=2), run=TRAINED)
    place = RunDir(tmp_path / "struck")
    recovery = Recovery(
        outages=(Outage(node=1, start_s=13.0, end_s=1e6),),
        n_spares=0,
        replan=lambda _, n_nodes: alone if n_nodes == 1 else None,
        clock=StepClock(place),
    )
    struck = run(file, run_dir=place.root, recovery=recovery)
    assert struck.losses == pytest.approx(calm.losses, rel=1e-4)
    assert len(events(place, "replan")) == 1
    assert read_plan_file(place.plan) == file  # as asked: what it is compared with
    assert read_plan_file(place.changed_plan(1)) == alone
    assert compare(place.root).plan == file.plan.label()
