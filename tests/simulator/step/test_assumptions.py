from __future__ import annotations

import pytest

from simulator.catalog.scenario_file import scenario_from_flags
from simulator.step.assumptions import step_assumptions


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("job.dropout=0.1", "dropout inside fused attention costs nothing more"),
        ("job.launch=cuda-graphs", "kernels are launched as cuda-graphs"),
        ("cluster.power_limit_w=500", "devices limited to 500 W run at 87% of their clock"),
        (
            "stragglers.pass_jitter=0.02",
            "a search prices stragglers to first order and times its finalists with them",
        ),
        ("cluster.collective_algorithm=tree", "collectives by tree"),
        ("job.expert_imbalance=1.25", "the busiest expert rank gets 1.25 times the mean"),
        (
            "cluster.link_faults=[{level: scale-out, device: 3, remaining: 0}]",
            "the network interface of device 3 at 0 % of its bandwidth",
        ),
    ],
)
def test_what_one_asked_for_is_said(override: str, sentence: str) -> None:
    scenario = scenario_from_flags(
        model="mixtral-8x7b", cluster="h100-sxm:16", overrides=[override]
    )
    assert sentence in step_assumptions(scenario, {})


def test_what_one_did_not_ask_for_is_not_said() -> None:
    scenario = scenario_from_flags(model="llama3-8b", cluster="h100-sxm:16")
    assert step_assumptions(scenario, {}) == (
        "by default: 1 T tokens, 1,024 sequences a step, sequences of 8,192 tokens, bf16, adamw",
        "software generation 'default'",
        "kernel and link efficiencies from the catalog, not measured on this cluster",
    )


def test_what_one_said_is_no_default() -> None:
    job = {"tokens": "2T", "batch": "512", "sequence_length": "4096", "precision": "fp8"}
    scenario = scenario_from_flags(
        model="llama3-8b", cluster="h100-sxm:16", **job, overrides=["job.optimizer=sgd"]
    )
    assert not any("default:" in sentence for sentence in step_assumptions(scenario, {}))
