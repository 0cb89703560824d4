"""The scenario: a question one can ask and ask again."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from simulator.spec.base import Fraction, Name, NonNegative, Positive, Spec
from simulator.spec.cluster import ClusterSpec
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec
from simulator.spec.plan import RecomputeName, ScheduleName
from simulator.spec.units import Bytes, BytesPerSecond, Count, Seconds, Usd, Watts


class GoalSpec(Spec):
    """What the best plan is."""

    minimize: Literal["time", "cost", "energy"] = "time"
    finish_within: Seconds | None = Field(default=None, gt=0)
    budget: Usd | None = Field(default=None, gt=0)


class ReliabilitySpec(Spec):
    """How often things break and what a restart costs."""

    profile: Name = "llama3-16k-h100"
    """Failure profile of the catalog that the rates below start from."""
    failures_per_device_day: NonNegative | None = None
    """Job-stopping failures; default is the profile's rate."""
    spares: Count | None = Field(default=None, ge=0)
    """Spare nodes paid for and kept ready; unset means that a replacement is always at hand and
    costs nothing while it waits (a large shared pool)."""
    restart_s: Seconds | None = Field(default=None, ge=0)
    """Failure to training again, detection included and lost work not; default is the profile's
    detection and restart together."""
    repair_s: Seconds | None = Field(default=None, gt=0)
    """Mean time until a broken node is back; default is the profile's."""
    checkpoint_write_bandwidth_bytes_per_s: BytesPerSecond | None = Field(default=None, gt=0)
    """Of the whole store; default is the profile's."""
    checkpoint_stall_s: Seconds | None = Field(default=None, ge=0)
    """Time that training stands still for one checkpoint; default follows from bytes and links."""


class EconomicsSpec(Spec):
    """Prices, power and carbon."""

    price: Name | None = None
    """Price list of the catalog; default is the device's first one."""
    usd_per_device_hour: Usd | None = Field(default=None, ge=0)
    """Overrides the price list."""
    grid: Name = "us-average-2024"
    """Carbon intensity profile of the catalog."""
    kg_co2_per_kwh: NonNegative | None = None
    pue: Positive = 1.1
    """Facility power over IT power."""
    device_power: Watts | None = Field(default=None, ge=0)
    """Average draw of one busy device; default from its data sheet."""


class PlanLimits(Spec):
    """Values that the search must keep; unset means free."""

    tp: Count | None = Field(default=None, ge=1)
    pp: Count | None = Field(default=None, ge=1)
    virtual_stages: Count | None = Field(default=None, ge=1)
    dp: Count | None = Field(default=None, ge=1)
    dp_replicate: Count | None = Field(default=None, ge=1)
    dp_shard: Count | None = Field(default=None, ge=1)
    cp: Count | None = Field(default=None, ge=1)
    ep: Count | None = Field(default=None, ge=1)
    zero_stage: int | None = Field(default=None, ge=0, le=3)
    sequence_parallel: bool | None = None
    schedule: ScheduleName | None = None
    microbatch_sequences: Count | None = Field(default=None, ge=1)
    recompute: RecomputeName | None = None
    devices: Count | None = Field(default=None, ge=1)
    """Ranks to use; default is every device of the cluster."""
    memory_margin: Fraction = 0.06
    """Share of device memory that a plan must leave free."""
    memory: Bytes | None = Field(default=None, gt=0)
    """Memory that a rank may use, where it is less than the device has."""


class RunSpec(Spec):
    """How the chosen plan is executed."""

    steps: Count = Field(default=20, ge=1)
    learning_rate: Positive = 1e-3
    warmup_steps: Count = Field(default=5, ge=0)
    weight_decay: NonNegative = 0.1
    max_gradient_norm: Positive = 1.0
    data: Literal["text", "random"] = "text"
    """Deterministic real text that needs no download, or seeded random tokens."""
    checkpoint_every_steps: Count = Field(default=0, ge=0)
    """0 means only at the end."""
    threads_per_rank: Count = Field(default=1, ge=1)


class Scenario(Spec):
    """A question: model x cluster x job x goal, with its seed."""

    name: Name
    model: ModelSpec
    cluster: ClusterSpec
    job: JobSpec = JobSpec()
    goal: GoalSpec = GoalSpec()
    limits: PlanLimits = PlanLimits()
    reliability: ReliabilitySpec = ReliabilitySpec()
    economics: EconomicsSpec = EconomicsSpec()
    run: RunSpec = RunSpec()
    target: Name | None = None
    """What must be able to execute the plan (a name of `simulator.spec.target`)."""
    seed: int = Field(default=0, ge=0, lt=2**63)
