"""The scenario: a question one can ask and ask again."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from simulator.spec.base import Fraction, Name, Spec
from simulator.spec.choice import Numbers, RecomputeNames, ScheduleNames, Stages
from simulator.spec.cluster import ClusterSpec
from simulator.spec.data import DataSpec
from simulator.spec.economics import EconomicsSpec
from simulator.spec.input_pipeline import InputSpec
from simulator.spec.job import JobSpec
from simulator.spec.learning import LearningSpec
from simulator.spec.model import ModelSpec
from simulator.spec.reliability import ReliabilitySpec
from simulator.spec.stragglers import StragglerSpec
from simulator.spec.units import Bytes, Count, Seconds, Usd, Watts

Minimized = Literal["time", "cost", "energy", "carbon"]


class GoalSpec(Spec):
    """What the best plan is."""

    minimize: Minimized = "time"
    at_quantile: float | None = Field(default=None, ge=0.5, lt=1)
    """Share of single campaigns that the plan is to be best for: 0.9 takes what is to be least, the
    deadline and the budget at what nine of ten campaigns keep, instead of at their mean. The time
    of a step is uncertain by one factor for all plans, so that it does not enter."""
    finish_within: Seconds | None = Field(default=None, gt=0)
    budget: Usd | None = Field(default=None, gt=0)
    power_cap: Watts | None = Field(default=None, gt=0)
    """Most that the site may draw at its meter (PUE included) with all nodes of the job busy, and
    with the spares that the scenario or the plan has."""


class PlanLimits(Spec):
    """What the search may choose; unset means free.

    A decision takes one value (`tp: 8`), several (`tp: [4, 8]`) or a rule
    (`tp: {min: 2, max: 8, exclude: [4]}`). `limits: FILE` reads them from a file of their own.
    """

    tp: Numbers | None = None
    pp: Numbers | None = None
    virtual_stages: Numbers | None = None
    dp: Numbers | None = None
    """Data-parallel ranks: dp_replicate x dp_shard."""
    dp_replicate: Numbers | None = None
    dp_shard: Numbers | None = None
    cp: Numbers | None = None
    ep: Numbers | None = None
    zero_stage: Stages | None = None
    sequence_parallel: bool | None = None
    schedule: ScheduleNames | None = None
    """Of plans with a pipeline."""
    microbatch_sequences: Numbers | None = None
    n_microbatches: Numbers | None = None
    recompute: RecomputeNames | None = None
    devices: Numbers | None = None
    """Ranks to use; default is every device of the cluster. Of several (a quota is `{max: 512}`)
    the best by the goal is taken."""
    balance: bool = False
    """Whether the best meshes may deal their layers unevenly over stages, and recompute any number
    of them."""
    memory_risk: Fraction = 0.25
    """Largest probability that a plan does not fit, by the interval of its predicted peak."""
    memory_margin: Fraction | None = None
    """Share of device memory that a plan must leave free; unset means what memory_risk asks for."""
    memory: Bytes | None = Field(default=None, gt=0)
    """Memory that a rank may use, where it is less than the device has."""


class RunSpec(LearningSpec, DataSpec):
    """How the chosen plan is executed: hyper-parameters, data, and what `armillary run` does."""

    steps: Count = Field(default=20, ge=1)
    """Steps of `armillary run`; an export trains the whole job."""
    init_from: str | None = Field(default=None, min_length=1)
    """Folder of safetensors with the initial weights; unset draws them from the seed."""
    checkpoint_every_steps: Count = Field(default=0, ge=0)
    """0 means only at the end."""
    profile_every_steps: Count = Field(default=0, ge=0)
    """Steps from one window of torch's profiler to the next, which tell where time went by axis;
    0 means none. On CPUs only."""
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
    input: InputSpec | None = None
    """How data reach the devices; unset means that they are always there."""
    stragglers: StragglerSpec = StragglerSpec()
    run: RunSpec = RunSpec()
    target: Name | None = None
    """What must be able to execute the plan (a name of `simulator.spec.target`)."""
    seed: int = Field(default=0, ge=0, lt=2**63)

    @property
    def n_devices(self) -> int:
        """Ranks of the plan, at most: those asked for, or the devices of the cluster."""
        asked = self.limits.devices
        return asked if isinstance(asked, int) else self.cluster.n_devices

    @model_validator(mode="after")
    def _check(self) -> Self:
        spares, n_nodes = self.reliability.n_spares, self.cluster.n_nodes
        if spares > n_nodes:
            raise ValueError(
                f"reliability.spares={spares} is more than the {n_nodes} nodes of the cluster"
            )
        last = max((outage.node for outage in self.reliability.replay), default=-1)
        if last >= n_nodes + spares:
            raise ValueError(
                f"reliability.replay: node {last} fails, and there are {n_nodes} nodes and "
                f"{spares} spares, counted from 0"
            )
        return self
