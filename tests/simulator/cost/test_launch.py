"""Ways of launching kernels: small models wait for them, large ones do not."""

from __future__ import annotations

import pytest

from simulator.catalog import find_software
from simulator.catalog.scenario_file import scenario_from_flags
from simulator.cost.launch import LAUNCHES, as_launched
from simulator.spec.job import JobSpec
from simulator.spec.plan import PlanSpec
from simulator.step.predict import predict_step


def passes_s(model: str, launch: str | None, software: str = "default") -> float:
    """Forward and backward of one step."""
    scenario = scenario_from_flags(
        model=model,
        cluster="h100-sxm:8",
        tokens="1T",
        sequence_length="1024",
        batch="8",
        overrides=[f"job.software={software}"] + ([f"job.launch={launch}"] if launch else []),
    )
    breakdown = predict_step(scenario, PlanSpec(dp_replicate=8)).breakdown
    return breakdown.forward_s + breakdown.backward_s


def test_a_small_model_waits_for_its_launches() -> None:
    """124M parameters, one sequence a device: some 400 kernels of less than 10 us."""
    eager, compiled, graphs = (
        passes_s("gpt2", launch) for launch in ("eager", "compiled", "cuda-graphs")
    )
    assert eager > compiled > graphs
    assert eager > 1.2 * graphs


def test_a_large_model_does_not() -> None:
    eager, graphs = (passes_s("llama3-70b", launch) for launch in ("eager", "cuda-graphs"))
    assert eager == pytest.approx(graphs, rel=0.01)


def test_a_graph_leaves_the_host_out_of_mixture_layers() -> None:
    """NVIDIA's stack of 2024 spends 8 ms of host time on a mixture layer."""
    eager, graphs = (
        passes_s("qwen3-30b-a3b", launch, "megatron-core-2024") for launch in (None, "cuda-graphs")
    )
    assert eager > 1.05 * graphs


def test_unset_means_as_the_software_does() -> None:
    software = find_software("default")
    assert as_launched(software, JobSpec()) is software
    for name in LAUNCHES:
        changed = as_launched(software, JobSpec(launch=name))
        assert changed.launch_s == LAUNCHES[name].launch_s
