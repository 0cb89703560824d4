"""What one asks a cluster to be, before the catalog fills it in."""

from __future__ import annotations

from pydantic import Field

from simulator.spec.base import Name, Spec
from simulator.spec.cluster import Calibration, FabricSpec, HostSpec, LinkSpec
from simulator.spec.kernel_table import KernelTable
from simulator.spec.links import AlgorithmName, LinkFault, LinkModel
from simulator.spec.units import Bytes, Count, Watts


class ClusterRequest(Spec):
    """A cluster as one writes it: a catalog device, a count, and what differs from the catalog."""

    device: str
    nodes: Count | None = Field(default=None, ge=1)
    devices: Count | None = Field(default=None, ge=1)
    devices_per_node: Count | None = Field(default=None, ge=1)
    fabric: str | FabricSpec | None = None
    scale_up: LinkSpec | None = None
    scale_up_domain_devices: Count | None = Field(default=None, ge=1)
    collective_algorithm: AlgorithmName | None = None
    link_model: LinkModel | None = None
    link_faults: tuple[LinkFault, ...] = ()
    power_limit_w: Watts | None = Field(default=None, gt=0)
    """Power limit of a device, where it is below the data sheet's."""
    host: HostSpec | None = None
    memory: Bytes | None = Field(default=None, gt=0)
    """Memory per device, where it differs from the catalog."""
    name: Name | None = None
    calibration: Calibration | None = None
    kernels: str | KernelTable | None = None
    """Kernels as measured on such a device: a CSV file, its path relative to this file."""
    layout: str | None = None
    """Nodes, links and network interfaces as another tool saw them: slurm:FILE, graph:FILE,
    nccl:FILE or nvidia-smi:FILE, its path relative to this file."""
