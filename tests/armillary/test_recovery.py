"""How a run recovers, as its scenario asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from armillary.cli import main
from armillary.recovery import recovery_of, replanned, shrunk
from armillary.simulation import with_replay
from planner.search import search
from simulator.catalog.plan_json import read_plan_file, write_plan_file
from simulator.catalog.scenario_file import load_scenario
from simulator.spec.errors import InputError
from simulator.spec.plan_file import PlanFile
from simulator.spec.reliability import ReliabilitySpec

SCENARIOS = Path(__file__).parents[2] / "scenarios"


@pytest.fixture(scope="module")
def planned() -> PlanFile:
    """First light on two nodes of one core each, by tensor parallelism within a copy."""
    changes = (
        "cluster={device: cpu, nodes: 4, devices_per_node: 1, fabric: ethernet-100g}",
        "limits.tp=2",
        "reliability.recovery=shrink",
        "reliability.spares=0",
    )
    return search(load_scenario(SCENARIOS / "first-light.yaml", overrides=changes)).plan_file()


def with_recovery(plan_file: PlanFile, recovery: str) -> PlanFile:
    reliability = plan_file.scenario.reliability.model_copy(update={"recovery": recovery})
    scenario = plan_file.scenario.model_copy(update={"reliability": reliability})
    plan = plan_file.plan.model_copy(update={"recovery": None, "isolation_groups": None})
    return plan_file.model_copy(update={"scenario": scenario, "plan": plan})


def test_recoveries_of_the_scenario(planned: PlanFile) -> None:
    calm = recovery_of(planned, injects=False, max_restarts=3)
    assert (calm.max_restarts, calm.replan, calm.outages) == (3, None, ())
    asked = recovery_of(planned, injects=True, max_restarts=0)
    assert asked.n_spares == 0
    assert asked.replan is shrunk
    for name, replan in (("wait", None), ("replan", replanned)):
        file = with_recovery(planned, name)
        assert recovery_of(file, injects=True, max_restarts=0).replan is replan
    two_copies = {"dp_replicate": 2, "dp_shard": 1, "zero_stage": 0}
    file = with_recovery(planned, "isolate")
    file = file.model_copy(update={"plan": file.plan.model_copy(update=two_copies)})
    with pytest.raises(InputError, match="cannot go on without a replica group"):
        recovery_of(file, injects=True, max_restarts=0)


def test_a_shrunk_plan_has_fewer_copies_and_the_same_batch(planned: PlanFile) -> None:
    smaller = shrunk(planned, 2)
    assert smaller is not None
    assert (planned.plan.tp, planned.plan.n_ranks) == (2, 4)
    assert (smaller.plan.tp, smaller.plan.n_ranks) == (2, 2)
    assert smaller.plan.batch_sequences == planned.plan.batch_sequences
    assert smaller.prediction.step.step_s > planned.prediction.step.step_s
    assert shrunk(planned, 1) is None  # half a copy


def test_another_plan_may_take_what_is_left(planned: PlanFile) -> None:
    free = planned.scenario.limits.model_copy(update={"tp": None})
    scenario = planned.scenario.model_copy(update={"limits": free})
    other = replanned(planned.model_copy(update={"scenario": scenario}), 1)
    assert other is not None
    assert other.plan.n_ranks == 1


def test_outages_may_strike_spares_that_the_planner_chose(
    planned: PlanFile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reliability = planned.scenario.reliability.model_copy(update={"spares": "best"})
    file = planned.model_copy(
        update={
            "scenario": planned.scenario.model_copy(update={"reliability": reliability}),
            "plan": planned.plan.model_copy(update={"n_spare_nodes": 2}),
        }
    )
    faults, path = tmp_path / "faults.csv", tmp_path / "plan.json"
    faults.write_text("node,start,end,class\n5,10,20,hbm\n")
    struck = with_replay(file, faults)
    assert recovery_of(struck, injects=True, max_restarts=0).n_spares == 2
    write_plan_file(path, struck)
    assert read_plan_file(path) == struck
    assert not caplog.records  # it is not a file that was changed after planning
    faults.write_text("node,start,end,class\n6,10,20,hbm\n")
    with pytest.raises(InputError, match="node 6 fails, and there are 6 nodes and spares"):
        with_replay(file, faults)


def test_outages_may_strike_pools_of_spares(planned: PlanFile, tmp_path: Path) -> None:
    """The pools say how many there are, and the file can be read again."""
    pools = ({"kind": "warm", "nodes": 1}, {"kind": "cold", "nodes": 2, "swap_s": 60.0})
    asked = planned.scenario.reliability.model_dump() | {"spares": None, "spare_pools": pools}
    reliability = ReliabilitySpec.model_validate(asked)
    scenario = planned.scenario.model_copy(update={"reliability": reliability})
    file = planned.model_copy(update={"scenario": scenario})
    faults, path = tmp_path / "faults.csv", tmp_path / "plan.json"
    faults.write_text("node,start,end,class\n6,10,20,hbm\n")
    struck = with_replay(file, faults)
    assert struck.scenario.reliability.spares is None
    assert recovery_of(struck, injects=True, max_restarts=0).n_spares == 3
    write_plan_file(path, struck)
    assert read_plan_file(path) == struck


def test_faults_of_nodes_that_are_not_there_are_refused(
    planned: PlanFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.json").write_text(planned.model_dump_json())
    (tmp_path / "faults.csv").write_text("node,start,end,class\n4,10,20,hbm\n")
    words = ["run", str(tmp_path / "plan.json"), "--faults", str(tmp_path / "faults.csv")]
    with pytest.raises(SystemExit) as left:
        main([*words, "--run-dir", str(tmp_path / "run")])
    assert left.value.code == 2
    assert "node 4 fails, and there are 4 nodes" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
