"""What would be enough, and which changes help, is priced before it is said."""

import re
from pathlib import Path

import pytest

from planner.search import search
from simulator.catalog.scenario_file import load_scenario
from simulator.spec.errors import NoFeasiblePlan

SCENARIO = """\
model: llama2-7b
cluster: h100-sxm:{n_devices}
job: {{tokens: 100G, sequence_length: 2048, global_batch_sequences: 1024}}
reliability: {{spares: 2}}
"""


def advice(folder: Path, *goals: str, n_devices: int = 64) -> tuple[Path, str]:
    """The file of a scenario, and what is said of goals that it misses."""
    file = folder / "missed.yaml"
    file.write_text(SCENARIO.format(n_devices=n_devices))
    with pytest.raises(NoFeasiblePlan) as caught:
        search(load_scenario(file, overrides=goals), top=1)
    return file, str(caught.value)


@pytest.mark.parametrize(
    ("goals", "helps"),
    [
        (("goal.budget=9k",), {"goal.budget", "job.tokens", "economics.price", "job.precision"}),
        (("goal.budget=1k", "goal.minimize=cost"), {"goal.budget", "job.tokens"}),
        (("goal.finish_within=1d",), {"goal.finish_within", "job.tokens"}),
        (("goal.budget=12k", "limits.recompute=full"), {"goal.budget", "economics.price"}),
    ],
)
def test_every_advice_holds(goals: tuple[str, ...], helps: set[str], tmp_path: Path) -> None:
    file, text = advice(tmp_path, *goals)
    changes = re.findall(r"^  ([a-z_.]+)=(\S+?)(?: \(.*\))?: done in", text, re.MULTILINE)
    assert helps <= {field for field, _ in changes}, text
    for field, value in changes:
        asked = load_scenario(file, overrides=[*goals, f"{field}={value}"])
        campaign = search(asked, top=1).best.prediction.campaign
        goal = asked.goal
        assert goal.budget is None or (campaign.cost_usd or 0) <= goal.budget, field
        assert goal.finish_within is None or campaign.calendar_s <= goal.finish_within, field


def test_a_budget_is_quoted_beside_the_cheapest_plan(tmp_path: Path) -> None:
    _, text = advice(tmp_path, "goal.budget=8k")
    assert re.search(
        r"the cheapest \(.*\) costs \$\d.* and takes .*, and goal.budget is \$8 k", text
    )


def test_the_budget_that_suffices_is_no_more_than_needed(tmp_path: Path) -> None:
    file, text = advice(tmp_path, "goal.budget=8k")
    (enough,) = re.findall(r"goal.budget=(\d+)", text)
    with pytest.raises(NoFeasiblePlan):
        search(load_scenario(file, overrides=[f"goal.budget={0.98 * float(enough)}"]), top=1)


def test_a_goal_beyond_the_peak_names_no_devices(tmp_path: Path) -> None:
    _, text = advice(tmp_path, "goal.finish_within=10min")
    assert "devices" not in text
    assert "precision" not in text


def test_two_goals_that_exclude_each_other(tmp_path: Path) -> None:
    _, text = advice(tmp_path, "goal.finish_within=2h", "goal.budget=1k")
    assert "goal.finish_within is 2 h and goal.budget is $1 k" in text
    assert "  goal." not in text
    assert "  job.tokens=" in text
