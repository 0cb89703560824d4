"""Every number says its formula, its inputs and where they come from."""

from importlib import import_module
from pathlib import Path

import pytest

from planner.explain import explain
from planner.losses import PART_NAMES, added_shares, loses_to
from planner.numbers import NUMBERS
from planner.search import search
from simulator.catalog import find_model
from simulator.catalog.cluster import parse_cluster
from simulator.catalog.scenario_file import load_scenario
from simulator.spec.errors import InputError
from simulator.spec.job import JobSpec
from simulator.spec.plan_file import PlanFile, RankedPlan
from simulator.spec.prediction import StepBreakdown
from simulator.spec.scenario import GoalSpec, Scenario
from simulator.spec.units import SECONDS, format_seconds, parse_quantity

SPARES = ("reliability.spares=3",)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def plan_file() -> PlanFile:
    scenario = Scenario(
        name="explained",
        model=find_model("llama3-8b"),
        cluster=parse_cluster("h100-sxm:16"),
        job=JobSpec(tokens=10**10, sequence_length=4096, global_batch_sequences=64),
        goal=GoalSpec(finish_within=86400.0),
    )
    return search(scenario, top=3).plan_file()


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_in_full(plan_file: PlanFile, name: str) -> None:
    (number,) = explain(plan_file, number=name).numbers
    assert number.name == name
    assert number.value
    assert number.formula
    assert len(number.meaning) > 20
    assert number.inputs
    assert all(each.value and each.source for each in number.inputs)


def test_places_exist(plan_file: PlanFile) -> None:
    for number in explain(plan_file).numbers:
        path, name = number.computed_by.split(": ")
        assert (ROOT / path).is_file()
        assert hasattr(import_module(path.removesuffix(".py").replace("/", ".")), name)


def test_the_step_is_the_sum_of_its_inputs(plan_file: PlanFile) -> None:
    (number,) = explain(plan_file, number="step_s").numbers
    parts = [each for each in number.inputs if each.name.endswith("_s")]
    shares = [float(each.value.split("(")[1].removesuffix(" %)")) for each in parts]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    assert number.value == format_seconds(plan_file.prediction.step.step_s)


def test_goodput_and_time_follow_from_their_inputs() -> None:
    scenario = load_scenario("scenarios/llama3-70b-on-64-h100.yaml", overrides=SPARES)
    explained = explain(search(scenario, top=1).plan_file())
    values = {number.name: number for number in explained.numbers}
    inputs = {each.name: each.value for each in values["calendar_s"].inputs}
    inputs |= {each.name: each.value for each in values["goodput"].inputs}
    n_steps, devices, paid, hours = (
        float(inputs[name].replace(",", ""))
        for name in ("n_steps", "devices", "paid_devices", "device_hours")
    )
    step_s = parse_quantity(inputs["step_s"], SECONDS, "duration")
    goodput = float(inputs["goodput"].removesuffix(" %")) / 100
    assert (devices, paid) == (64, 88)
    assert goodput == pytest.approx(n_steps * step_s * devices / (hours * 3600), rel=0.005)
    printed = float(values["goodput"].value.removesuffix(" %")) / 100
    assert goodput == pytest.approx(printed, abs=0.0006)
    calendar_s = parse_quantity(values["calendar_s"].value, SECONDS, "duration")
    assert calendar_s == pytest.approx(n_steps * step_s * devices / (goodput * paid), rel=0.01)
    lost = sum(float(value.removesuffix(" % lost")) for value in inputs.values() if "lost" in value)
    assert goodput + lost / 100 == pytest.approx(1, abs=0.001)


def test_a_number_has_its_interval(plan_file: PlanFile) -> None:
    for number in explain(plan_file).numbers:
        assert bool(number.interval) == (number.name != "mfu")
        assert (number.inputs[-1].name == "90 %") == bool(number.interval)


def test_datasheet_numbers_name_their_document(plan_file: PlanFile) -> None:
    (number,) = explain(plan_file, number="step_s").numbers
    (peak,) = [each for each in number.inputs if each.name == "peak bf16"]
    assert peak.value == "989 TFLOP/s"
    assert peak.source.startswith("datasheet: ")


def test_limits_name_memory_time_and_deadline(plan_file: PlanFile) -> None:
    limits = explain(plan_file.choosing(2)).limits
    assert [sentence.split(":")[0] for sentence in limits] == [
        "memory",
        "time",
        "campaign",
        "deadline",
    ]


def test_against_another_plan(plan_file: PlanFile) -> None:
    difference = explain(plan_file.choosing(2), against=1).against
    assert difference is not None
    assert difference.other == plan_file.alternatives[0].plan.label()
    assert difference.decisions
    total = sum(part.this_s - part.other_s for part in difference.parts)
    assert total == pytest.approx(difference.step_s[0] - difference.step_s[1], rel=1e-6, abs=1e-9)
    sizes = [abs(part.this_s - part.other_s) for part in difference.parts]
    assert sizes == sorted(sizes, reverse=True)


def test_unknown_rank_and_number(plan_file: PlanFile) -> None:
    with pytest.raises(InputError, match="there is no plan 9; it ranks plans 1 to 3"):
        explain(plan_file.choosing(9))
    with pytest.raises(InputError, match="--against: there is no plan 4"):
        explain(plan_file, against=4)
    with pytest.raises(InputError, match="unknown number 'step'; did you mean"):
        explain(plan_file, number="step")


def changed(ranked: RankedPlan, **parts: float) -> RankedPlan:
    """The same plan with other parts of its step."""
    breakdown = ranked.prediction.step.breakdown.model_copy(update=parts)
    step = ranked.prediction.step.model_copy(
        update={"breakdown": breakdown, "step_s": breakdown.total_s}
    )
    campaign = ranked.prediction.campaign
    longer = campaign.calendar_s * step.step_s / ranked.prediction.step.step_s
    campaign = campaign.model_copy(update={"calendar_s": longer})
    prediction = ranked.prediction.model_copy(update={"step": step, "campaign": campaign})
    return ranked.model_copy(update={"prediction": prediction})


def test_the_part_that_grew_most_is_the_reason(plan_file: PlanFile) -> None:
    best = plan_file.alternatives[0]
    step = best.prediction.step
    slower = changed(
        best,
        bubble_s=step.breakdown.bubble_s + 0.09 * step.step_s,
        tp_s=step.breakdown.tp_s + 0.02 * step.step_s,
    )
    assert loses_to(slower, best) == "11.0 % longer: pipeline bubble +9.0 %"
    shares = dict(added_shares(slower.prediction.step, step))
    assert shares["tp"] == pytest.approx(0.02)


def test_an_equal_plan_loses_by_memory(plan_file: PlanFile) -> None:
    best = plan_file.alternatives[0]
    fuller = best.prediction.step.memory[0].model_copy(
        update={"buffers_bytes": best.prediction.step.memory[0].buffers_bytes + 2.0**31}
    )
    step = best.prediction.step.model_copy(
        update={"memory": (fuller, *best.prediction.step.memory[1:])}
    )
    prediction = best.prediction.model_copy(update={"step": step})
    other = best.model_copy(update={"prediction": prediction})
    assert loses_to(other, best) == "as good, 2.0 GiB less memory free"
    assert loses_to(best, best) == "as good"


def test_failures_may_be_the_reason(plan_file: PlanFile) -> None:
    best = plan_file.alternatives[0]
    campaign = best.prediction.campaign
    goodput = campaign.goodput / 1.02
    losses = {**campaign.losses, "lost_work": campaign.losses["lost_work"] + 0.02 * goodput}
    longer = {"goodput": goodput, "losses": losses, "calendar_s": 1.02 * campaign.calendar_s}
    worse = campaign.model_copy(update=longer)
    prediction = best.prediction.model_copy(update={"campaign": worse})
    other = best.model_copy(update={"prediction": prediction})
    assert loses_to(other, best) == "2.0 % longer: lost work +2.0 %"


def test_every_part_has_a_name() -> None:
    assert {name for name, _ in StepBreakdown().parts()} == set(PART_NAMES)


def test_energy_follows_from_its_inputs() -> None:
    changes = (*SPARES, "economics.communication_power=500")
    scenario = load_scenario("scenarios/llama3-70b-on-64-h100.yaml", overrides=changes)
    file = search(scenario, top=1).plan_file()
    (number,) = explain(file, number="energy_j").numbers
    shown = {each.name: each.value for each in number.inputs}
    watts = {name: float(shown[name].removesuffix(" W")) for name in shown if name.endswith("_w")}
    share = {
        name: float(shown[name].removesuffix(" %")) / 100
        for name in shown
        if name.endswith("_share")
    }
    busy_w = watts["busy_w"] - share["communication_share"] * (
        watts["busy_w"] - watts["communicating_w"]
    )
    mean_w = share["busy_share"] * busy_w + share["idle_share"] * watts["idle_w"]
    mean_w += share["spare_share"] * watts["spare_w"]
    campaign = file.prediction.campaign
    energy_j = campaign.device_hours * 3600 * mean_w * float(shown["pue"])
    assert share["spare_share"] > 0
    assert energy_j == pytest.approx(campaign.energy_j, rel=0.005)


def test_model_flops_follow_from_their_inputs(plan_file: PlanFile) -> None:
    (number,) = explain(plan_file, number="mfu").numbers
    shown = {each.name: each.value for each in number.inputs}
    n, layers, width, length = (float(shown[name].replace(",", "")) for name in "NLhs")
    gflops = float(shown["model_flops_per_token"].removesuffix(" GFLOP"))
    assert gflops * 1e9 == pytest.approx(6 * n + 12 * layers * width * length, rel=0.005)


def test_the_margin_says_its_share(plan_file: PlanFile) -> None:
    (memory, *_) = explain(plan_file).limits
    assert "above the margin of 8.2 GiB (10.2 %)" in memory
