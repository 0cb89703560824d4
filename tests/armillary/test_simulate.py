"""`armillary simulate`: the screen, the JSON of the contract, and its files."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import armillary
from armillary.choice import chosen_plan
from armillary.cli import main
from armillary.simulation import StepAnswer
from simulator.catalog.plan_json import write_plan_file
from simulator.spec.errors import InputError
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.reliability import CheckpointTier, RestartSpec

SCENARIO = "scenarios/llama3-70b-on-64-h100.yaml"


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["simulate", *arguments])
    seen = capsys.readouterr()
    assert isinstance(left.value.code, int)
    return left.value.code, seen.out, seen.err


@pytest.fixture
def plan_path(tmp_path: Path, example_plan_file: PlanFile) -> str:
    path = tmp_path / "plan.json"
    write_plan_file(path, example_plan_file)
    return str(path)


@pytest.fixture
def piped_plan_path(tmp_path: Path, example_plan_file: PlanFile) -> str:
    """A plan of two stages and eight microbatches."""
    path = tmp_path / "piped.json"
    plan = PlanSpec(pp=2, tp=8, dp_replicate=4, microbatch_sequences=32, n_microbatches=8)
    write_plan_file(path, example_plan_file.model_copy(update={"plan": plan}))
    return str(path)


def test_json_adds_up(capsys: pytest.CaptureFixture[str], plan_path: str) -> None:
    code, out, err = output(capsys, plan_path, "--json")
    answer = json.loads(out)
    assert (code, err, answer["version"]) == (0, "", 1)
    step, campaign = answer["step"], answer["campaign"]
    assert math.isclose(sum(step["breakdown_s"].values()), step["step_s"], rel_tol=1e-9)
    assert step["interval_step_s"][0] < step["step_s"] < step["interval_step_s"][1]
    assert len(step["peak_memory_bytes"]) == answer["plan"]["pp"]
    assert math.isclose(sum(campaign["losses"].values()) + campaign["goodput"], 1, rel_tol=1e-9)
    needed = {"calendar_s", "device_hours", "cost_usd", "energy_j", "co2_kg", "failures"}
    assert needed <= campaign.keys()


def test_every_checkpoint_tier_has_a_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, example_plan_file: PlanFile
) -> None:
    rates = {"write_bandwidth_bytes_per_s": 10e9}
    tiers = tuple(
        CheckpointTier.model_validate(place | rates)
        for place in (
            {"name": "peer", "survives": "node"},
            {"name": "store", "survives": "region", "shared": True},
        )
    )
    scenario = example_plan_file.scenario
    asked = {"checkpoint_tiers": tiers, "restart": RestartSpec(init_s=60), "restart_s": None}
    reliability = scenario.reliability.model_copy(update=asked)
    scenario = scenario.model_copy(update={"reliability": reliability})
    path = tmp_path / "tiers.json"
    write_plan_file(path, example_plan_file.model_copy(update={"scenario": scenario}))
    for engine in (("closed-form",), ("events", "--replicas", "2")):
        screen = output(capsys, str(path), "--engine", *engine)[1]
        assert "checkpoints  survive" in screen
        assert [line.split()[1] for line in screen.splitlines() if line[:7] in _TIERS] == [
            "node",
            "region",
        ]
        campaign = json.loads(output(capsys, str(path), "--json", "--engine", *engine)[1])[
            "campaign"
        ]
        peer, store = campaign["checkpoints"]
        assert peer["interval_s"] <= store["interval_s"] == campaign["checkpoint_interval_s"]
        assert store["load_s"] == store["persist_s"] > peer["load_s"] > 0


_TIERS = ("  peer ", "  store")


def test_memory_is_described_where_it_stands() -> None:
    described = {name: field.description for name, field in StepAnswer.model_fields.items()}
    assert described["peak_memory_bytes"] == "Per pipeline stage, its fullest rank."
    assert described["fit"] == "'fits', 'edge' or 'does not fit'."


def test_chance_alone_and_the_step_are_told_apart(
    capsys: pytest.CaptureFixture[str], plan_path: str
) -> None:
    _, screen, _ = output(capsys, plan_path, "--replicas", "3")
    lines = screen.splitlines()
    (head,) = (line for line in lines if "90 % by chance alone  90 % with the step's" in line)
    (cost,) = (line for line in lines if line.startswith("  cost "))
    (goodput,) = (line for line in lines if line.startswith("  goodput "))
    assert cost.count(" to ") == 2
    assert goodput.count(" to ") == 1
    assert len(cost) == len(head)


def test_engines_agree(capsys: pytest.CaptureFixture[str], plan_path: str) -> None:
    times = []
    for engine in ("events", "closed-form"):
        _, out, _ = output(capsys, plan_path, "--engine", engine, "--json")
        times.append(json.loads(out)["step"]["step_s"])
    assert times[0] == pytest.approx(times[1], rel=0.02)


def test_measured_kernels_and_links_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "kernels.csv").write_text(
        "kind,precision,m,n,k,time_us\ngemm,bf16,16384,8192,1024,450\n"
    )
    scenario = tmp_path / "question.yaml"
    scenario.write_text(
        "model: llama3-70b\n"
        "cluster: {base: h100-sxm:64, kernels: kernels.csv}\n"
        "job: {sequence_length: 8192, global_batch_sequences: 1024}\n"
        "limits: {tp: 8, pp: 4, cp: 1, microbatch_sequences: 2}\n"
    )
    _, screen, _ = output(capsys, str(scenario))
    assert "kernels: 1 of 1" in screen
    assert "bf16 attention heads=16 queries=8192" in screen
    assert "links: tp 8 devices of a domain" in screen
    assert max(map(len, screen.splitlines())) <= 80
    step = json.loads(output(capsys, str(scenario), "--json")[1])["step"]
    assert step["kernels"]["table"] == "kernels.csv"
    assert step["kernels"]["n_measured"] == 1
    assert len(step["kernels"]["missed"]) == step["kernels"]["n_shapes"] - 1
    assert step["links"][0] == {"axis": "tp", "n_ranks": 8, "blocks": {"scale-up": 8}}


def test_a_scenario_is_planned_first(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = output(capsys, SCENARIO, "--set", "limits.pp=4")
    assert code == 0
    assert " pp4" in out
    assert max(map(len, out.splitlines())) <= 80
    for word in ("step ", "memory:", "campaign:", "goodput", "assumed"):
        assert word in out


def test_files_are_written(
    capsys: pytest.CaptureFixture[str], plan_path: str, tmp_path: Path
) -> None:
    trace, picture, memory = (tmp_path / name for name in ("t.json", "t.svg", "m.svg"))
    drawn = ("--timeline", str(picture), "--memory", str(memory))
    code, out, _ = output(capsys, plan_path, "--trace", str(trace), *drawn)
    assert code == 0
    assert json.loads(trace.read_text())["traceEvents"]
    for each in (picture, memory):
        assert each.read_text().lstrip().startswith("<?xml")
        assert f"saved: {each}" in " ".join(out.split())


def test_a_campaign_is_a_picture_and_two_tables(
    capsys: pytest.CaptureFixture[str], plan_path: str, tmp_path: Path
) -> None:
    picture, course, table = (tmp_path / name for name in ("p.svg", "c.csv", "t.parquet"))
    files = ("--progress", str(picture), "--course", str(course), "--table", str(table))
    code, out, _ = output(capsys, plan_path, "--replicas", "9", "--json", *files)
    assert code == 0
    replicas = pd.read_parquet(table)
    assert len(replicas) == 9
    losses = json.loads(out)["campaign"]["losses"]
    assert (replicas[["goodput", *losses]].sum(axis=1) - 1).abs().max() < 1e-9
    assert pd.read_csv(course)["end_s"].iloc[-1] == pytest.approx(replicas["calendar_s"].iloc[0])
    before = [path.read_bytes() for path in (picture, course, table)]
    again = output(capsys, plan_path, "--replicas", "9", "--json", *files)
    assert again == (0, out, "")
    assert [path.read_bytes() for path in (picture, course, table)] == before


def test_intervals_hold_the_means(capsys: pytest.CaptureFixture[str], plan_path: str) -> None:
    _, out, _ = output(capsys, plan_path, "--within", "0.002", "--json")
    campaign = json.loads(out)["campaign"]
    assert campaign["replicas"] % 20 == 0
    needed = {"calendar_s", "device_hours", "cost_usd", "energy_j", "co2_kg", "failures"}
    assert campaign["intervals"].keys() == needed | campaign["losses"].keys()
    for name in needed:
        low, high = campaign["intervals"][name]
        assert low <= campaign[name] <= high
    step = json.loads(out)["step"]
    apart = step["interval_step_s"][1] / step["interval_step_s"][0]
    assert campaign["joint_intervals"].keys() == needed - {"failures"}
    for name, (low, high) in campaign["joint_intervals"].items():
        by_chance = campaign["intervals"][name][1] / campaign["intervals"][name][0]
        assert max(apart, by_chance) <= high / low * (1 + 1e-9)
        assert high / low <= apart * by_chance * (1 + 1e-9)
    _, out, _ = output(capsys, plan_path, "--engine", "closed-form", "--json")
    exact = json.loads(out)["campaign"]
    assert exact["intervals"].keys() == needed - {"failures"}
    low, high = exact["intervals"]["calendar_s"]
    assert low < exact["calendar_s"] < high < 1.05 * low


def test_the_same_in_python(example_plan_file: PlanFile) -> None:
    simulation = armillary.simulate(example_plan_file, n_replicas=3)
    assert simulation.prediction.campaign.n_replicas == 3
    assert simulation.replicas is not None
    assert list(simulation.replicas.to_frame()["replica"]) == [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("99",), "there is no plan 99; it ranks plans 1 to"),
        (("--engine", "foo"), "unknown engine 'foo'"),
        (("--timeline", "t.pdf"), "t.pdf is neither .svg nor .png"),
        (("--progress", "t.pdf"), "t.pdf is neither .svg nor .png"),
        (("--table", "t.xls"), "t.xls is neither .csv nor .parquet"),
        (("--engine", "closed-form", "--course", "c.csv"), "no course of events"),
        (("--replay", "none.csv"), "none.csv"),
        (("--set", "limits.tp=1"), "--set changes scenarios, not plans"),
    ],
)
def test_bad_input(
    capsys: pytest.CaptureFixture[str],
    plan_path: str,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    code, out, err = output(capsys, plan_path, *arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_a_number_is_a_rank_of_the_last_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example_plan_file: PlanFile
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        chosen_plan("1")
    (tmp_path / "armillary-out").mkdir()
    write_plan_file(tmp_path / "armillary-out" / "plan.json", example_plan_file)
    wanted = example_plan_file.alternatives[-1]
    assert chosen_plan(str(wanted.rank)).plan == wanted.plan


def test_passes_in_another_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], piped_plan_path: str
) -> None:
    """The own order comes back as it was; two passes in the opposite order change the step."""
    table, other = tmp_path / "own.csv", tmp_path / "other.csv"

    def step_s(*arguments: str) -> float:
        code, out, err = output(capsys, piped_plan_path, "--replicas", "1", "--json", *arguments)
        assert (code, err) == (0, "")
        return float(json.loads(out)["step"]["step_s"])

    own_s = step_s("--passes", str(table))
    assert step_s("--schedule", str(table)) == own_s
    first, *rest = table.read_text().splitlines()
    cells = first.split(",")
    assert cells[:2] == ["0F0", "0F1"]
    other.write_text("\n".join([",".join(["0F1", "0F0", *cells[2:]]), *rest]))
    picture = tmp_path / "step.svg"
    assert step_s("--schedule", str(other), "--timeline", str(picture)) > own_s
    assert picture.exists()


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        (lambda text: text.replace("0F0,", "", 1), "chunk 0, microbatch 0 has the passes B"),
        (lambda text: text.replace("0F0,", "0X0,", 1), "order.csv:1:1: '0X0' is not an action"),
        (lambda text: "0B0," + text.replace(",0B0", "", 1), "rank 0 cannot go on at position 0"),
        (lambda text: "\n".join(reversed(text.splitlines())), "has chunk 0 on rank 1"),
        (lambda text: text.replace("\n", ",0F99\n", 1), "passes (none)"),
    ],
)
def test_an_order_that_cannot_be_is_refused_at_its_place(
    change: Callable[[str], str],
    mistake: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    piped_plan_path: str,
) -> None:
    order = tmp_path / "order.csv"
    output(capsys, piped_plan_path, "--replicas", "1", "--passes", str(order))
    order.write_text(change(order.read_text()))
    code, _, err = output(capsys, piped_plan_path, "--schedule", str(order))
    assert code == 2
    assert mistake in err
    assert "order.csv" in err
