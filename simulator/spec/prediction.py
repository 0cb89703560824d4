"""What the simulator says about a plan: results, never inputs."""

from __future__ import annotations

import math
from statistics import NormalDist

from pydantic import Field

from simulator.spec.base import Basis, Spec
from simulator.spec.checkpoint_use import CheckpointUse
from simulator.spec.fit import FitVerdict, misfit_probability, verdict
from simulator.spec.kernel_table import KernelLookups
from simulator.spec.links import LevelName
from simulator.spec.units import format_probability

NORMAL_95 = 1.6448536269514722
"""A 90 % interval reaches this many standard deviations to either side."""


class Interval(Spec):
    """A 90 % interval."""

    low: float
    high: float

    @property
    def ends(self) -> tuple[float, float]:
        """Return both ends."""
        return self.low, self.high

    def times(self, middle: float, other: Interval, other_middle: float) -> Interval:
        """Return the interval of a product around `middle`; its other factor is independent.

        Logarithms of the factors add up, and the squares of how far they reach do (exact where
        both are lognormal). Around 0 there is no factor, and the interval stays.
        """
        if middle <= 0:
            return self
        low = math.hypot(_reach(self.low, middle), _reach(other.low, other_middle))
        high = math.hypot(_reach(middle, self.high), _reach(other_middle, other.high))
        return Interval(low=middle * math.exp(-low), high=middle * math.exp(high))

    def at(self, share: float, middle: float) -> float:
        """Return what a share of all is below, where half of all lies below `middle`."""
        reach = _reach(self.low, middle) if share < 0.5 else _reach(middle, self.high)
        return middle * math.exp(NormalDist().inv_cdf(share) / NORMAL_95 * reach)

    def share_below(self, limit: float, middle: float) -> float:
        """Return the probability of no more than `limit` where half of all lies below `middle`."""
        below = limit < middle
        reach = _reach(self.low, middle) if below else _reach(middle, self.high)
        if reach == 0:
            return float(limit >= middle)
        distance = math.log(max(limit, 1e-300) / middle)
        return NormalDist().cdf(NORMAL_95 * distance / reach)


def _reach(low: float, high: float) -> float:
    """Logarithm of how far apart two ends are; no less than 0, as a mean may lie beside them."""
    return math.log(high / low) if 0 < low < high else 0.0


class StepBreakdown(Spec):
    """Where the time of one step goes; the parts add up to the step time.

    All parts are seconds on the critical rank. Communication counts only where nothing hides it.
    """

    forward_s: float = 0.0
    backward_s: float = 0.0
    recompute_s: float = 0.0
    tp_s: float = 0.0
    cp_s: float = 0.0
    ep_s: float = 0.0
    pp_s: float = 0.0
    dp_s: float = 0.0
    bubble_s: float = 0.0
    optimizer_s: float = 0.0
    input_s: float = 0.0
    """Mean wait for the batch, where the scenario says how data arrive (`input`)."""
    other_s: float = 0.0
    """Constant per-step work, jitter and growth with scale."""

    def parts(self) -> tuple[tuple[str, float], ...]:
        """Return (name without unit, seconds) in a fixed order."""
        return tuple(
            (name.removesuffix("_s"), getattr(self, name)) for name in type(self).model_fields
        )

    @property
    def communication_s(self) -> float:
        """Time in which nothing is computed because of communication."""
        return self.tp_s + self.cp_s + self.ep_s + self.pp_s + self.dp_s

    @property
    def total_s(self) -> float:
        """The step time."""
        return sum(seconds for _, seconds in self.parts())


class MemoryBreakdown(Spec):
    """What the fullest rank of one pipeline stage holds at its peak, in bytes."""

    stage: int = 0
    weights_bytes: float = 0.0
    gradients_bytes: float = 0.0
    optimizer_bytes: float = 0.0
    activations_bytes: float = 0.0
    logits_bytes: float = 0.0
    buffers_bytes: float = 0.0
    """Gathered weights, communication and temporary buffers."""
    fragmentation_bytes: float = 0.0
    """Reserved by the allocator and used by no tensor."""
    communicators_bytes: float = 0.0
    """Outside of the allocator: the communication library's buffers, group by group."""
    framework_bytes: float = 0.0
    """Outside of the allocator: device context and libraries."""

    def parts(self) -> tuple[tuple[str, float], ...]:
        """Return (name without unit, bytes) in a fixed order."""
        return tuple(
            (name.removesuffix("_bytes"), getattr(self, name))
            for name in type(self).model_fields
            if name != "stage"
        )

    @property
    def total_bytes(self) -> float:
        """The peak."""
        return sum(size for _, size in self.parts())

    @property
    def reserved_bytes(self) -> float:
        """Peak of what the allocator reserves (torch's `max_memory_reserved`)."""
        return self.total_bytes - self.framework_bytes - self.communicators_bytes

    @property
    def allocated_bytes(self) -> float:
        """Peak of all tensors (torch's `max_memory_allocated`)."""
        return self.reserved_bytes - self.fragmentation_bytes


class InputNeeds(Spec):
    """What keeps a campaign fed."""

    n_epochs: float
    """How often the dataset is read."""
    stall_s: float
    """Mean wait of a step for its batch, as the scenario describes the pipeline."""
    limited_by: str
    """The slowest part of the pipeline in the first epoch."""
    storage_bytes: float
    """Dataset and the checkpoints that the safest tier keeps, two where it does not say."""
    store_bytes_per_s: float
    """Read bandwidth of the store under which steps hardly ever wait."""
    node_bytes_per_s: float
    """The same of every host's network."""
    reader_hosts: int
    """Hosts beside the training nodes that must read and decode."""


class CampaignPrediction(Spec):
    """The whole training, with its failures."""

    n_steps: int
    goodput: float
    goodput_interval: Interval
    losses: dict[str, float] = Field(default_factory=dict)
    """Share of paid device time lost per class; goodput and losses add up to 1."""
    calendar_s: float
    device_hours: float
    cost_usd: float | None = None
    energy_j: float | None = None
    co2_kg: float | None = None
    expected_failures: float
    failures: dict[str, float] = Field(default_factory=dict)
    """Mean number by cause, where the engine counts them."""
    intervals: dict[str, Interval] = Field(default_factory=dict)
    """90 % of single campaigns at this step time: of calendar_s, device_hours, cost_usd, energy_j
    and co2_kg, by events of failures and of every loss too, by name."""
    engine: str = "closed-form"
    """'closed-form' or 'events'."""
    n_replicas: int = 0
    """Simulated campaigns behind it; 0 for the closed form."""
    checkpoint_interval_s: float
    """Work between two checkpoints."""
    checkpoint_stall_s: float
    """Time that training stands still for one."""
    checkpoints: tuple[CheckpointUse, ...] = ()
    """Every tier, from the nearest to the safest; the two above are of the safest and of all."""
    input_needs: InputNeeds | None = None
    """None where data are taken to be always there."""
    assumptions: tuple[str, ...] = ()

    @property
    def paid_devices(self) -> float:
        """Devices that are paid for, spares among them, on average."""
        return self.device_hours * 3600 / self.calendar_s


class AxisLinks(Spec):
    """Which links the groups along one axis of a plan cross."""

    axis: str
    n_ranks: int
    blocks: dict[LevelName, int]
    """Per level, the blocks below it that a group joins: devices of a domain, domains of a pod,
    pods of a region, regions."""


class StepPrediction(Spec):
    """One training step of one plan."""

    step_s: float
    interval_step_s: Interval
    engine: str = "closed-form"
    """'closed-form' or 'events'."""
    mfu: float
    model_flops_per_device_per_s: float
    tokens_per_s: float
    breakdown: StepBreakdown
    memory: tuple[MemoryBreakdown, ...]
    """One per pipeline stage."""
    memory_capacity_bytes: float
    memory_factor: float = 1.3
    """Half-width of the 90 % interval of every peak, as a factor."""
    basis: Basis
    kernels: KernelLookups | None = None
    """How many kernel shapes were measured, where the cluster has a kernel table."""
    links: tuple[AxisLinks, ...] = ()
    """For every axis in use."""
    assumptions: tuple[str, ...] = ()

    @property
    def fed_step_s(self) -> float:
        """The step where its data are there: what the rest of the training adds its waits to."""
        return self.step_s - self.breakdown.input_s

    @property
    def communication_share(self) -> float:
        """Share of `fed_step_s` in which nothing is computed because of communication."""
        return self.breakdown.communication_s / self.fed_step_s

    @property
    def held_bytes(self) -> float:
        """Weights and optimizer state of the rank that holds most of them."""
        return max(stage.weights_bytes + stage.optimizer_bytes for stage in self.memory)

    @property
    def peak_memory_bytes(self) -> float:
        """Peak of the fullest stage."""
        return max(stage.total_bytes for stage in self.memory)

    @property
    def memory_margin_bytes(self) -> float:
        """What the fullest rank leaves free; negative when it does not fit."""
        return self.memory_capacity_bytes - self.peak_memory_bytes

    @property
    def interval_memory_bytes(self) -> Interval:
        """90 % interval of the fullest stage's peak."""
        peak = self.peak_memory_bytes
        return Interval(low=peak / self.memory_factor, high=peak * self.memory_factor)

    @property
    def misfit_probability(self) -> float:
        """Probability that the fullest rank needs more than there is."""
        return misfit_probability(
            self.peak_memory_bytes, self.memory_capacity_bytes, self.memory_factor
        )

    @property
    def fit(self) -> FitVerdict:
        """Whether it fits, in a word."""
        return verdict(self.misfit_probability)

    @property
    def fit_in_words(self) -> str:
        """How likely it is to fit."""
        return f"fits with a probability of {format_probability(1 - self.misfit_probability)}"


class Prediction(Spec):
    """Step and campaign of one plan."""

    step: StepPrediction
    campaign: CampaignPrediction

    @property
    def intervals(self) -> dict[str, Interval]:
        """90 % intervals of what takes as long as the campaign does, by name.

        The time of a step is known to a factor that all campaigns share; how many failures strike
        differs from one to the next.
        """
        step, campaign = self.step, self.campaign
        known = {name: getattr(campaign, name) for name in TOTALS}
        return {
            name: campaign.intervals.get(name, Interval(low=value, high=value)).times(
                value, step.interval_step_s, step.step_s
            )
            for name, value in known.items()
            if value is not None
        }


TOTALS = ("calendar_s", "device_hours", "cost_usd", "energy_j", "co2_kg")
"""What a campaign comes to: all of it grows with the time of a step."""
