"""The how-tos are true: what they tell to write is accepted and works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from simulator.catalog import registry
from simulator.catalog.scenario_file import scenario_from_flags
from simulator.cost import collectives
from simulator.cost.algorithms import Line, hierarchical_pass
from simulator.cost.groups import Group
from simulator.spec.plan import PlanSpec
from simulator.step.predict import predict_step

HOW_TO = Path("docs/how-to")


def block(page: str, language: str) -> str:
    text = (HOW_TO / page).read_text()
    found = re.search(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    assert found is not None
    return found[1]


def test_the_device_of_the_how_to_can_be_planned_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file in the catalog, and no code."""
    example = block("add-a-device.md", "yaml")
    texts = registry._texts

    def with_example(folder: str) -> tuple[tuple[Path, str], ...]:
        added = ((tmp_path / "my-chip.yaml", example),) if folder == "devices" else ()
        return (*texts(folder), *added)

    monkeypatch.setattr(registry, "_texts", with_example)
    registry._find.cache_clear()
    scenario = scenario_from_flags(model="llama3-8b", cluster="my-chip:16")
    assert scenario.cluster.device.sources
    assert predict_step(scenario, PlanSpec(dp_shard=16, zero_stage=1)).step_s > 0
    registry._find.cache_clear()


def test_an_algorithm_is_a_function_and_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def instant(group: Group) -> list[Line]:
        return [Line(0 * line.latency_s, 0 * line.s_per_byte) for line in hierarchical_pass(group)]

    def dp_s() -> float:
        scenario = scenario_from_flags(
            model="llama3-8b",
            cluster="h100-sxm:16",
            overrides=["cluster.collective_algorithm=hierarchical"],
        )
        return predict_step(scenario, PlanSpec(dp_replicate=16)).breakdown.dp_s

    before_s = dp_s()
    monkeypatch.setitem(collectives.REDUCTIONS, "hierarchical", instant)
    assert dp_s() < before_s
