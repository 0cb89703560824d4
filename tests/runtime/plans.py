"""Small models, jobs and plan files for tests of real runs."""

from __future__ import annotations

from simulator.spec.base import Basis, Precision, Source
from simulator.spec.cluster import (
    ClusterSpec,
    DeviceSpec,
    FabricSpec,
    KernelEfficiency,
    LinkSpec,
)
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec
from simulator.spec.peaks import PeakRates
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile, Provenance, inputs_sha256
from simulator.spec.prediction import (
    CampaignPrediction,
    Interval,
    MemoryBreakdown,
    Prediction,
    StepBreakdown,
    StepPrediction,
)
from simulator.spec.scenario import RunSpec, Scenario

TINY = ModelSpec(
    name="tiny",
    n_layers=4,
    hidden_size=64,
    n_heads=4,
    n_kv_heads=2,
    head_dim=16,
    ffn_size=128,
    vocab_size=256,
)

_LINK = LinkSpec(bandwidth_bytes_per_s=5e9, latency_s=1e-4, topology="shared-memory")
_CPU = DeviceSpec(
    name="cpu",
    vendor="test",
    memory_bytes=4e9,
    memory_bandwidth_bytes_per_s=1e10,
    peak=PeakRates(fp32_flops_per_s=1e11, bf16_flops_per_s=1e11),
    efficiency=KernelEfficiency(gemm_fraction=0.9),
    devices_per_node=8,
    scale_up=_LINK,
    scale_up_domain_devices=8,
    sources=(Source(field="peak", basis=Basis.ASSUMED, source="test"),),
)
CLUSTER = ClusterSpec(
    name="here",
    device=_CPU,
    n_nodes=1,
    devices_per_node=8,
    scale_up=_LINK,
    scale_up_domain_devices=8,
    fabric=FabricSpec(name="none", kind="none", nic=_LINK),
)
_PREDICTION = Prediction(
    step=StepPrediction(
        step_s=1.0,
        interval_step_s=Interval(low=0.5, high=2.0),
        mfu=0.5,
        model_flops_per_device_per_s=1e10,
        tokens_per_s=1e3,
        breakdown=StepBreakdown(forward_s=1.0),
        memory=(MemoryBreakdown(weights_bytes=1e8),),
        memory_capacity_bytes=4e9,
        basis=Basis.DATASHEET,
    ),
    campaign=CampaignPrediction(
        n_steps=1,
        goodput=1.0,
        goodput_interval=Interval(low=1.0, high=1.0),
        calendar_s=1.0,
        device_hours=1.0,
        expected_failures=0.0,
        checkpoint_interval_s=1.0,
        checkpoint_stall_s=0.0,
    ),
)


def plan_file(
    plan: PlanSpec,
    *,
    model: ModelSpec = TINY,
    run: RunSpec | None = None,
    sequence_length: int = 32,
) -> PlanFile:
    """Return a plan file for a plan, whose batch is what the plan makes it."""
    job = JobSpec(
        tokens=10**6,
        sequence_length=sequence_length,
        global_batch_sequences=plan.batch_sequences,
        precision=plan.precision,
    )
    scenario = Scenario(
        name="test", model=model, cluster=CLUSTER, job=job, run=run or RunSpec(steps=3), seed=7
    )
    return PlanFile(
        scenario=scenario,
        plan=plan,
        prediction=_PREDICTION,
        provenance=Provenance(armillary_version="0", seed=7, inputs_sha256=inputs_sha256(scenario)),
    )


def fp32(**decisions: object) -> PlanSpec:
    """Return a plan in fp32."""
    return PlanSpec.model_validate({"precision": Precision.FP32} | decisions)
