"""What breaks, how it is noticed and repaired, and how the job goes on."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from simulator.spec.base import Fraction, Name, NonNegative, Positive, Spec
from simulator.spec.units import Bytes, BytesPerSecond, Count, Seconds

Component = Literal[
    "device",
    "memory",
    "host",
    "nic",
    "link",
    "switch",
    "power",
    "cooling",
    "storage",
    "software",
    "corruption",
    "job",
    "preemption",
    "maintenance",
    "unknown",
]

Scope = Literal["job", "node", "rack", "pdu", "pod", "region"]
"""How much one event takes away, from a process to a region."""
SCOPES: tuple[Scope, ...] = ("job", "node", "rack", "pdu", "pod", "region")

Recovery = Literal["wait", "shrink", "replan", "isolate"]
"""What happens when nodes are missing and no spare is left: wait for a repair, go on with fewer
data-parallel copies, or with the best plan for what is left. `isolate`: replica groups go on
without the one that failed."""

MAX_FAILURES_PER_DAY = 8640.0
"""A device or a job that fails more often than every ten seconds never works."""


class LifePhase(Spec):
    """One Weibull phase of a life; the hazards of several phases add up.

    One phase of shape 1 is exponential; phases of shape < 1, 1 and > 1 make a bathtub.
    """

    share: Fraction = Field(default=1.0, gt=0)
    """Of the cause's rate; the phase alone has a mean life of 1 / (share x rate)."""
    shape: Positive = 1.0


class FailureCause(Spec):
    """One reason for which a job stops, slows down or computes nonsense."""

    name: Name
    component: Component = "unknown"
    """What fails. Nodes that `preemption` takes away are not paid for until they are back."""
    failures_per_device_day: NonNegative = Field(default=0.0, le=MAX_FAILURES_PER_DAY)
    failures_per_job_day: NonNegative = Field(default=0.0, le=MAX_FAILURES_PER_DAY)
    """Of a job of any size."""
    effect: Literal["stop", "slow", "corrupt"] = "stop"
    scope: Scope = "node"
    """What one event strikes; `job` leaves every node in place."""
    repair_fraction: Fraction = 1.0
    """Share of the events that take their nodes away; the others need a restart only."""
    detection_s: Seconds | None = Field(default=None, ge=0)
    """Event to detection; default is the profile's."""
    repair_s: Seconds | None = Field(default=None, gt=0)
    """Mean time until the nodes are back; default is `reliability.repair_s`."""
    life: tuple[LifePhase, ...] = Field(default=(LifePhase(),), min_length=1, max_length=8)
    """Ages are those of parts, and survive restarts of the job."""
    followers: NonNegative = 0.0
    """Mean number of neighbouring nodes that go with the struck one (a burst, geometric); the rates
    count all of them."""
    notice_s: Seconds = Field(default=0.0, ge=0)
    """Warning ahead; work is saved first where it leaves enough time."""
    planned: bool = False
    """Whether the time it costs counts as planned maintenance."""
    slows: Literal["compute", "network"] = "compute"
    """What a `slow` event slows down on the struck nodes, and so in the whole job."""
    slowdown: float = Field(default=1.0, ge=1, le=1000)
    lasts_s: Seconds = Field(default=0.0, ge=0)
    """Mean time until a `slow` event passes by itself."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        shares = sum(phase.share for phase in self.life)
        if abs(shares - 1) > 1e-6:
            raise ValueError(f"the shares of life add up to {shares:.6g}, not to 1")
        if self.effect == "slow" and (self.slowdown == 1 or self.lasts_s == 0):
            raise ValueError("effect slow needs slowdown > 1 and lasts_s > 0")
        if self.effect == "corrupt" and self.detection_s is None:
            raise ValueError("effect corrupt needs detection_s: how long nobody notices")
        return self


class CohortSpec(Spec):
    """A part of the nodes that fails more often (lemons) or is of another age."""

    name: Name
    share: Fraction = Field(gt=0)
    """Of all nodes."""
    rate_factor: NonNegative = 1.0
    """Failures over those of an ordinary node."""
    age_s: Seconds = Field(default=0.0, ge=0)
    """Age at the start of the campaign; counts for lives that are not exponential."""


class Outage(Spec):
    """One recorded outage of one node."""

    node: Count = Field(ge=0)
    start_s: Seconds = Field(ge=0)
    """From the start of the campaign."""
    end_s: Seconds = Field(ge=0)
    cause: Name = "recorded"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.end_s < self.start_s:
            raise ValueError(
                f"node {self.node} is back at {self.end_s:g} s, before it fails at "
                f"{self.start_s:g} s"
            )
        return self


class RestartSpec(Spec):
    """What a restart is made of, from detection to training again; loading comes on top."""

    drain_s: Seconds = Field(default=0.0, ge=0)
    """Stop what still runs."""
    schedule_s: Seconds = Field(default=0.0, ge=0)
    """Find nodes, start processes."""
    init_s: Seconds = Field(default=0.0, ge=0)
    """Communicators and compilation, whatever the size."""
    init_s_per_device: Seconds = Field(default=0.0, ge=0)
    """What communicators add per device of the job."""
    catch_up_s: Seconds = Field(default=0.0, ge=0)
    """Data loader, warm-up of the first step."""


class CheckpointTier(Spec):
    """A place for checkpoints, from device copies to an object store."""

    name: Name
    survives: Scope
    """The largest loss after which it can still be read: `job` for a copy on the device or its
    host, `node` for a copy on a peer, `region` for a store that nothing takes away."""
    write_bandwidth_bytes_per_s: BytesPerSecond = Field(gt=0)
    read_bandwidth_bytes_per_s: BytesPerSecond | None = Field(default=None, gt=0)
    """Default is the write bandwidth."""
    shared: bool = False
    """Whether the bandwidths (and the capacity) are of the whole store instead of one node."""
    blocking: bool = False
    """Whether training stands still until it is written."""
    interval_s: Seconds = Field(default=0.0, ge=0)
    """Work between two saves; 0 means the best for the failures that only this tier survives."""
    capacity_bytes: Bytes | None = Field(default=None, gt=0)
    keep: Count | None = Field(default=None, ge=1)
    """Checkpoints that are kept; unset means all, and that there is room for one is checked."""
    replicated_reads: bool = False
    """Whether every data-parallel copy reads the whole state by itself at a restart."""


SpareKind = Literal["hot", "warm", "cold"]


class SparePool(Spec):
    """Spares of one kind, beside others."""

    kind: SpareKind = "warm"
    """Hot spares run and fail like the others, warm ones idle, cold ones are off."""
    nodes: Count = Field(ge=1)
    swap_s: Seconds = Field(default=0.0, ge=0)
    """Time to bring one in, on top of the restart."""


class ReliabilitySpec(Spec):
    """How often things break, what a restart costs and what keeps the job going."""

    profile: Name = "llama3-16k-h100"
    """Failure profile of the catalog that everything below starts from."""
    failures_per_device_day: NonNegative | None = Field(default=None, le=MAX_FAILURES_PER_DAY)
    """Job-stopping failures; default is the profile's rate. Causes are scaled to it."""
    failure_factor: NonNegative = 1.0
    """On the rates of all causes: 2 is twice as many failures, 0 none. Outages of a replay stay."""
    causes: tuple[FailureCause, ...] = Field(default=(), max_length=64)
    """In place of the profile's causes."""
    more_causes: tuple[FailureCause, ...] = Field(default=(), max_length=64)
    """On top of the profile's causes (preemption, maintenance, slow links, corruption)."""
    cohorts: tuple[CohortSpec, ...] = Field(default=(), max_length=16)
    replay: tuple[Outage, ...] = Field(default=(), max_length=1_000_000)
    """Recorded outages that happen besides the random ones: a list, or a file with the columns
    node, start, end and class."""
    random_failures: bool = True
    """Whether the causes strike at all; false leaves the replay alone."""

    spares: Annotated[Count, Field(ge=0)] | Literal["best"] | None = None
    """Spare nodes paid for and kept ready; `best` leaves their number to the planner. Unset means
    that a replacement is always at hand and costs nothing while it waits (a large shared pool)."""
    spare_kind: SpareKind = "warm"
    """Hot spares run and fail like the others, warm ones idle, cold ones are off."""
    swap_s: Seconds = Field(default=0.0, ge=0)
    """Time to bring a spare in, on top of the restart."""
    spare_pools: tuple[SparePool, ...] = Field(default=(), max_length=8)
    """Spares of several kinds, in place of the three above, in the order in which they come in. A
    pool is filled up from the next one in the meantime, so that a later one is waited for only when
    a failure strikes more nodes than the pools before it have."""
    restart_s: Seconds | None = Field(default=None, ge=0)
    """Failure to training again, detection included and lost work not; default is the profile's
    detection and restart together."""
    restart: RestartSpec | None = None
    """The restart in parts, in place of one number; detection and loading come on top."""
    repair_s: Seconds | None = Field(default=None, gt=0)
    """Mean time until a broken node is back; default is the profile's."""
    repair_spread: NonNegative = Field(default=0.0, le=5)
    """Standard deviation of the logarithm of the repair time (1.5 is a heavy tail); 0 is none."""
    repair_success: Fraction = Field(default=1.0, gt=0)
    """Share of the repairs that help; after the others the node is repaired again."""
    repair_crews: Count | None = Field(default=None, ge=1)
    """Nodes that can be repaired at once; unset means all."""
    recovery: Literal[Recovery, "best"] = "wait"
    """What happens when nodes are missing and no spare is left: wait for a repair, go on with fewer
    data-parallel copies (shrink), or with the best plan for what is left (replan). `isolate`:
    replica groups go on without the one that failed. `best` leaves it to the planner, which
    compares all of them."""
    isolation_groups: Count | None = Field(default=None, ge=1)
    """Groups of `isolate`, a divisor of dp_replicate; default is the smallest that fill nodes."""

    checkpoint_write_bandwidth_bytes_per_s: BytesPerSecond | None = Field(default=None, gt=0)
    """Of the whole store; default is the profile's."""
    checkpoint_stall_s: Seconds | None = Field(default=None, ge=0)
    """Time that training stands still for one checkpoint; default follows from bytes and links."""
    checkpoint_tiers: tuple[CheckpointTier, ...] = Field(default=(), max_length=8)
    """From the nearest to the safest; default is one shared store."""

    nodes_per_rack: Count | None = Field(default=None, ge=1)
    """Default: the nodes of one scale-up domain."""
    nodes_per_pdu: Count | None = Field(default=None, ge=1)
    """Nodes behind one power distribution unit; default is one rack."""
    flaps_per_device_day: NonNegative = 0.0
    """Link flaps that hold up the job without stopping it."""
    flap_stall_s: Seconds = Field(default=0.0, ge=0)
    """How long one flap holds up the whole job."""
    step_jitter: float = Field(default=0.0, ge=0, le=1)
    """Standard deviation over mean of each device's own time per step; all wait for the slowest.
    What the software profile says about growth with scale contains the usual jitter already."""

    @property
    def n_spares(self) -> int:
        """Spare nodes that are asked for; 0 where that is open."""
        if self.spare_pools:
            return sum(pool.nodes for pool in self.spare_pools)
        return self.spares if isinstance(self.spares, int) else 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.restart_s is not None and self.restart is not None:
            raise ValueError("give restart_s or restart, not both")
        if self.spare_pools and (
            self.spares is not None or self.swap_s or self.spare_kind != "warm"
        ):
            raise ValueError("give spare_pools or spares, spare_kind and swap_s, not both")
        shares = sum(cohort.share for cohort in self.cohorts)
        if shares > 1 + 1e-9:
            raise ValueError(f"the shares of the cohorts add up to {shares:.3g}, more than 1")
        names = [cause.name for cause in (*self.causes, *self.more_causes)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"cause {twice[0]!r} is given twice")
        if not self.random_failures and not self.replay:
            raise ValueError("random_failures=false needs a replay")
        _check_tiers(self.checkpoint_tiers)
        _check_replay(self.replay)
        return self


def _check_tiers(tiers: tuple[CheckpointTier, ...]) -> None:
    order = [SCOPES.index(tier.survives) for tier in tiers]
    if order != sorted(set(order)):
        raise ValueError(
            "checkpoint_tiers go from the nearest to the safest: every tier must survive more "
            "than the one before it"
        )


def _check_replay(outages: tuple[Outage, ...]) -> None:
    back_s: dict[int, float] = {}
    for outage in sorted(outages, key=lambda outage: (outage.start_s, outage.node)):
        if outage.start_s < back_s.get(outage.node, 0.0):
            raise ValueError(
                f"outages of node {outage.node} overlap: it fails again at {outage.start_s:g} s, "
                f"before it is back at {back_s[outage.node]:g} s"
            )
        back_s[outage.node] = outage.end_s
