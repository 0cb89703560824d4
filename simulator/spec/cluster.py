"""The cluster: devices, the links between them, and what has been measured of both."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from simulator.spec.base import (
    Basis,
    Fraction,
    Name,
    NonNegative,
    Positive,
    PositiveInt,
    Source,
    Spec,
)
from simulator.spec.fabric_graph import FabricGraph
from simulator.spec.kernel_table import GemmPoint, KernelTable
from simulator.spec.links import AlgorithmName, LevelName, LinkFault, LinkModel, ProtocolName
from simulator.spec.peaks import PeakRates
from simulator.spec.units import Bytes, BytesPerSecond, Seconds, Watts


class KernelEfficiency(Spec):
    """How much of its data sheet a device delivers, per kind of kernel."""

    gemm_fraction: Fraction
    """Share of the peak that a large matrix multiplication reaches."""
    gemm_wave_length: NonNegative = 1440.0
    """Square root of A0 in the factor A/(A + A0) for a result of A = M N elements: waves of
    tiles."""
    gemm_saturation_length: NonNegative = 264.0
    """K0 in the factor K/(K + K0) for the inner dimension."""
    group_rows: NonNegative = 280.0
    """M0 in the factor M/(M + M0) for the rows of one expert, in 16 bit: what ramping up costs."""
    fp8_fraction: Fraction = 0.84
    """Share of the peak ratio that fp8 and int8 multiplications really gain."""
    mx_fraction: Fraction = 0.95
    """Share of the rate with one scale per tensor that a scale per block of 32 (mxfp8) leaves."""
    fp4_fraction: Fraction = 0.7
    attention_fraction: Fraction = 0.45
    """Share of the 16-bit peak in fused attention forward, causal FLOPs, head width 128."""
    flash1_fraction: Fraction = 0.0
    """The same with the first FlashAttention; 0 means two thirds of `attention_fraction`."""
    flash2_fraction: Fraction = 0.0
    """The same with FlashAttention-2; 0 means `attention_fraction`."""
    attention_backward_ratio: Positive = 2.85
    """Time of attention backward over forward."""
    memory_fraction: Fraction = 0.85
    """Share of memory bandwidth that elementwise kernels reach."""
    launch_latency_s: Seconds = Field(default=4e-6, ge=0)
    """Least time of one kernel."""
    interval_factor: float = Field(default=1.45, ge=1)
    """Half-width, as a factor, of the 90 % interval of a predicted step of a dense model on a
    cluster that was not measured. The default is for devices without a published run in the fit."""


class LinkSpec(Spec):
    """One kind of link, seen from one device and in one direction."""

    bandwidth_bytes_per_s: BytesPerSecond = Field(gt=0)
    latency_s: Seconds = Field(ge=0)
    """Fixed cost of one message (one ring step)."""
    efficiency: Fraction = Field(default=0.7, gt=0)
    """Share of the line rate that large ring collectives reach."""
    topology: Literal["switch", "mesh", "torus-2d", "torus-3d", "shared-memory"] = "switch"
    reduces_in_network: bool = False
    """Whether the switches reduce on the way (NVLink SHARP, InfiniBand SHARP)."""
    protocols: tuple[ProtocolName, ...] = ()
    """NCCL's protocols that collectives of its devices choose from; none for other libraries."""


class HostSpec(Spec):
    """The machine around the devices."""

    n_cores: PositiveInt = 96
    memory_bytes: Bytes = Field(default=2.0 * 2**40, gt=0)
    power_w: Watts = Field(default=0.0, ge=0)
    """Everything in a node but its devices, busy."""
    device_copy_bandwidth_bytes_per_s: BytesPerSecond = Field(default=25e9, gt=0)
    """Device to host, per device."""
    n_other_ranks: int = Field(default=0, ge=0)
    """Ranks of other jobs that keep a node busy; they count where devices share cores."""


class DeviceSpec(Spec):
    """One accelerator, or one CPU worker."""

    name: Name
    aliases: tuple[Name, ...] = ()
    vendor: str
    memory_bytes: Bytes = Field(gt=0)
    memory_bandwidth_bytes_per_s: BytesPerSecond = Field(gt=0)
    peak: PeakRates
    efficiency: KernelEfficiency
    tdp_w: Watts = Field(default=0.0, ge=0)
    """0 means not published."""
    idle_w: Watts = Field(default=0.0, ge=0)
    devices_per_node: PositiveInt
    scale_up: LinkSpec
    """The link inside a scale-up domain."""
    scale_up_domain_devices: PositiveInt
    """Devices that the scale-up link joins (8 in an HGX box, 72 in an NVL72 rack)."""
    nic_bandwidth_bytes_per_s: BytesPerSecond = Field(default=0.0, ge=0)
    """Scale-out bandwidth per device and direction that usual nodes have; 0 means none."""
    host: HostSpec = HostSpec()
    """The machine that usually surrounds it."""
    sources: tuple[Source, ...]

    @property
    def basis(self) -> Basis:
        """What the weakest of its main figures rests on: memory, its bandwidth, 16-bit peak."""
        main = ("memory_bytes", "memory_bandwidth_bytes_per_s", "peak.bf16_flops_per_s")
        strength = list(Basis)
        found = [
            source.basis
            for source in self.sources
            if any(f == source.field or f.startswith(source.field + ".") for f in main)
        ]
        return min(found, key=strength.index, default=Basis.ASSUMED)


class FabricSpec(Spec):
    """Everything between nodes."""

    name: Name
    kind: Literal["none", "rail-optimized", "fat-tree", "torus", "ethernet", "wide-area"]
    nic: LinkSpec
    """Per-device share of the node's network interfaces."""
    nics_per_node: int = Field(default=0, ge=0)
    """0 means one per device."""
    nodes_per_pod: int = Field(default=0, ge=0)
    """Nodes under one set of leaf switches with full bandwidth between them; 0 means all."""
    oversubscription: Positive = 1.0
    """How much less bandwidth a device has to another pod (7 means 1:7)."""
    torus_shape: tuple[PositiveInt, ...] = ()
    wide_area: LinkSpec | None = None
    """Per-region link to the other regions."""
    n_regions: PositiveInt = 1
    graph: FabricGraph | None = None
    """Links and switches as drawn by a user; the fields above are then what they come down to."""
    sources: tuple[Source, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.graph is not None and self.n_regions > 1:
            raise ValueError("a fabric given as a graph is one region: set n_regions to 1")
        if self.n_regions > 1 and self.wide_area is None:
            raise ValueError(f"{self.n_regions} regions need a link between them: give wide_area")
        return self


CollectiveName = Literal["all-reduce", "all-gather", "reduce-scatter", "all-to-all", "p2p"]


class CollectiveFit(Spec):
    """A measured collective: time = alpha + wire bytes / bandwidth.

    Wire bytes per rank: all-reduce 2 (w-1)/w, all-gather, reduce-scatter and all-to-all (w-1)/w,
    point to point 1, of the full (unsharded) message.
    """

    operation: CollectiveName
    n_ranks: PositiveInt
    alpha_s: Seconds = Field(ge=0)
    bandwidth_bytes_per_s: BytesPerSecond = Field(gt=0)
    relative_error: NonNegative = 0.0
    n_busy_ranks: int = Field(default=0, ge=0)
    """Ranks active on the machine while it was measured; 0 means n_ranks."""


class WorkFit(Spec):
    """What a rank spends beside multiplications and attention, fitted to small reference steps.

    Dispatch of kernels, elementwise traffic, optimizer: a fixed part and a part per value.
    """

    n_busy_ranks: PositiveInt = 1
    layer_s: Seconds = Field(ge=0)
    """Forward of one layer over one microbatch; its backward takes about 1.5 times that."""
    layer_value_s: Seconds = Field(ge=0)
    """Per elementwise value of the same."""
    weight_s: Seconds = Field(ge=0)
    """Per weight of a layer and microbatch: gradients written or added up in the backward."""
    head_s: Seconds = Field(ge=0)
    """Forward and backward of head and loss over one microbatch."""
    logit_s: Seconds = Field(ge=0)
    update_s: Seconds = Field(ge=0)
    """Gradient norm and optimizer step."""
    parameter_s: Seconds = Field(ge=0)
    relative_error: NonNegative = 0.0
    """Mean, over the reference steps."""


ExchangeName = Literal[
    "replica-reduce", "shard-reduce", "shard-gather", "tensor", "sequence", "stage"
]
"""What a mechanism exchanges: the gradients of a layer between copies, or reduced and its weights
gathered where they are divided; one pair of linear maps without and with sequence parallelism; an
activation from a pipeline stage to the next."""


class ExchangeFit(Spec):
    """What an exchange of the runtime adds to its bare collective: fixed + bytes x byte_s.

    Fitted to small reference steps; hooks, copies and waiting are inside, and nothing of it hides
    behind compute. Bytes are of the full message.
    """

    exchange: ExchangeName
    n_ranks: PositiveInt
    n_busy_ranks: PositiveInt
    fixed_s: Seconds = Field(ge=0)
    byte_s: Seconds = Field(ge=0)


class Calibration(Spec):
    """What was measured on this very cluster."""

    date: str
    tool_version: str = ""
    gemms: tuple[GemmPoint, ...] = ()
    collectives: tuple[CollectiveFit, ...] = ()
    work: tuple[WorkFit, ...] = ()
    exchanges: tuple[ExchangeFit, ...] = ()
    memory_bandwidth_bytes_per_s: BytesPerSecond = Field(default=0.0, ge=0)
    """Of one rank alone; 0 means not measured."""
    shared_slowdown: tuple[float, ...] = ()
    """Slowdown of compute with 1, 2, 3 ... ranks busy on one host."""
    step_scale: Positive = 1.0
    """Measured over predicted step time, from whole measured steps."""
    step_scale_runs: int = Field(default=0, ge=0)
    """Of how many runs step_scale is the mean."""
    learned_from: tuple[str, ...] = ()
    """Digests of those of them that `compare --update` was given; each counts once."""
    process_memory_bytes: Bytes = Field(default=0.0, ge=0)
    """Memory of a rank before it holds a model."""
    start_s: Seconds = Field(default=0.0, ge=0)
    """Launch of the ranks to their first step; 0 means not measured."""


class ClusterSpec(Spec):
    """Identical devices in identical nodes, joined by a scale-up link and a fabric."""

    name: Name
    device: DeviceSpec
    n_nodes: PositiveInt
    devices_per_node: PositiveInt
    scale_up: LinkSpec
    scale_up_domain_devices: PositiveInt
    fabric: FabricSpec
    collective_algorithm: AlgorithmName | None = None
    """Used for every collective that has it (tree: all-reduce only); unset means the fastest of
    ring and tree for each message, as NCCL chooses."""
    link_model: LinkModel = "levels"
    """How one plan's links are shared: by level, or as flows over the graph of all devices. The
    search prices all plans by level, and its finalists as this says."""
    link_faults: tuple[LinkFault, ...] = ()
    power_limit_w: Watts | None = Field(default=None, gt=0)
    """Power limit of a device, where it is below the data sheet's; lowers its clock."""
    host: HostSpec = HostSpec()
    calibration: Calibration | None = None
    kernels: KernelTable | None = None
    """Kernels as a user measured them on such a device."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.n_nodes > 1 and self.fabric.kind == "none":
            raise ValueError(f"{self.n_nodes} nodes need a fabric, and fabric.kind is none")
        self._check_power()
        self._check_graph()
        for number, fault in enumerate(self.link_faults):
            self._check_fault(f"link_faults[{number}]", fault)
        return self

    def _check_graph(self) -> None:
        graph = self.fabric.graph
        if graph is None:
            return
        wanted = self.n_nodes if graph.host_kind == "node" else self.n_devices
        if graph.n_hosts != wanted:
            raise ValueError(
                f"the fabric's graph joins {graph.n_hosts} {graph.host_kind}s, and the cluster has "
                f"{wanted}"
            )

    def _check_power(self) -> None:
        device, limit_w = self.device, self.power_limit_w
        if limit_w is not None and not device.tdp_w:
            raise ValueError(f"power_limit_w={limit_w:g}: the draw of {device.name} is unknown")
        if limit_w is not None and limit_w <= device.idle_w:
            raise ValueError(
                f"power_limit_w={limit_w:g} is not above the {device.idle_w:g} W that "
                f"{device.name} draws when idle"
            )

    def _check_fault(self, name: str, fault: LinkFault) -> None:
        if fault.level not in self.level_devices:
            known = ", ".join(self.level_devices)
            raise ValueError(f"{name}: level={fault.level} is not in this cluster; it has {known}")
        if self.fabric.graph is not None and fault.level != "scale-up":
            raise ValueError(
                f"{name}: level={fault.level}; the fabric is given as a graph: take the bandwidth "
                "from the link in its file"
            )
        if fault.device >= self.n_devices:
            raise ValueError(
                f"{name}: device={fault.device} of {self.n_devices}; they count from 0"
            )
        if self.remaining_bandwidth(fault.level) <= 0:
            raise ValueError(
                f"{name}: remaining=0 cuts devices off; only one of several network interfaces of "
                "a node can be lost (level scale-out)"
            )

    @property
    def n_devices(self) -> int:
        """All devices of the cluster."""
        return self.n_nodes * self.devices_per_node

    @property
    def clock_share(self) -> float:
        """Clock under the power limit over that without it.

        What a busy device draws beyond idling grows with clock x voltage², and voltage with the
        clock: with its cube.
        """
        device, limit_w = self.device, self.power_limit_w
        if limit_w is None or limit_w >= device.tdp_w:
            return 1.0
        share: float = ((limit_w - device.idle_w) / (device.tdp_w - device.idle_w)) ** (1 / 3)
        return share

    @property
    def nics_of_node(self) -> int:
        """Network interfaces of a node."""
        return min(self.fabric.nics_per_node or self.devices_per_node, self.devices_per_node)

    @property
    def domain_devices(self) -> int:
        """Devices of one scale-up domain; all of them where there is no fabric."""
        alone = self.fabric.kind == "none"
        return self.n_devices if alone else min(self.scale_up_domain_devices, self.n_devices)

    @property
    def pod_devices(self) -> int:
        """Devices under one set of leaf switches; the region where pods are not told apart."""
        region = self.region_devices
        return min(self.fabric.nodes_per_pod * self.devices_per_node or region, region)

    @property
    def region_devices(self) -> int:
        """Devices of one region; the last one may hold fewer."""
        return -(-self.n_devices // self.fabric.n_regions)

    @property
    def level_devices(self) -> dict[LevelName, int]:
        """Levels of links that the cluster has, innermost first: the devices that each joins.

        Blocks of consecutive devices: scale-up domains inside pods inside regions.
        """
        levels: dict[LevelName, int] = {"scale-up": self.domain_devices}
        if self.domain_devices < self.n_devices:
            levels["scale-out"] = self.pod_devices
        if self.pod_devices < self.region_devices:
            levels["pods"] = self.region_devices
        if self.fabric.n_regions > 1:
            levels["regions"] = self.n_devices
        return levels

    def remaining_bandwidth(self, level: LevelName) -> float:
        """Share of a level's bandwidth that its faults leave to the groups that cross it.

        All ranks wait for the slowest link. Where network interfaces of a node are dead, those
        that are left carry their traffic.
        """
        faults = [fault for fault in self.link_faults if fault.level == level]
        n_links = self.nics_of_node if level == "scale-out" else 1
        shares = [1.0]
        for node in {fault.device // self.devices_per_node for fault in faults}:
            here = [fault for fault in faults if fault.device // self.devices_per_node == node]
            dead = {self.nic_of(fault.device) for fault in here if not fault.remaining}
            slowest = min((fault.remaining for fault in here if fault.remaining), default=1.0)
            shares.append(slowest * max(0.0, 1 - len(dead) / n_links))
        return min(shares)

    def nic_of(self, device: int) -> int:
        """Number of the network interface, in its node, that a device uses."""
        return device % self.devices_per_node * self.nics_of_node // self.devices_per_node

    @property
    def basis(self) -> Basis:
        """What predictions for this cluster rest on."""
        return self.device.basis if self.calibration is None else Basis.MEASURED
