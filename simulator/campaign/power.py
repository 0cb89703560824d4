"""Power resolved to watts per device: busy, communicating, idle; carbon per kilowatt-hour."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.catalog import find_grid
from simulator.spec.cluster import ClusterSpec
from simulator.spec.economics import EconomicsSpec

DEVICE_IDLE_SHARE = 63 / 400
"""Idle over busy power of a device: A100 in idle mode (InternLM/AcmeTrace, Kalos)."""
HOST_IDLE_SHARE = (1512 - 8 * 63) / (5040 - 8 * 400)
"""The same for the rest of a node: 8xA100 server P10 and P95 less its devices (Acme, Seren)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerTerms:
    """Draw of one device with its share of host and fabric, before the facility's overhead."""

    busy_w: float
    communicating_w: float
    idle_w: float
    spare_w: float
    """Of devices without ranks."""
    pue: float
    kg_co2_per_kwh: float

    @property
    def least_busy_w(self) -> float:
        """Draw of a device in a job, at its lowest."""
        return min(self.busy_w, self.communicating_w)

    def at_meter_w(self, n_devices: int, n_spares: int) -> float:
        """Most that a site draws at its meter: all devices of a job busy, beside spare ones."""
        job_w = n_devices * max(self.busy_w, self.communicating_w)
        return self.pue * (job_w + n_spares * self.spare_w)


def power_terms(
    cluster: ClusterSpec, economics: EconomicsSpec, *, cold_spares: float
) -> PowerTerms | None:
    """Return the draw of one device, or None where nobody published it.

    `cold_spares` is the share of the spares that are off.

    Raises InputError for an unknown grid.
    """
    device = cluster.device
    limit_w = min(device.tdp_w, cluster.power_limit_w or device.tdp_w)
    busy_w = economics.device_power or limit_w
    if busy_w == 0:
        return None
    idle_w = economics.idle_power
    if idle_w is None:
        idle_w = device.idle_w or DEVICE_IDLE_SHARE * busy_w
    communicating_w = economics.communication_power
    host_w = cluster.host.power_w / cluster.devices_per_node
    fabric_w = economics.fabric_power_per_device or 0.0
    grid = find_grid(economics.grid, where="economics.grid")
    given = economics.kg_co2_per_kwh
    idle_w += HOST_IDLE_SHARE * host_w + fabric_w
    return PowerTerms(
        busy_w=busy_w + host_w + fabric_w,
        communicating_w=(busy_w if communicating_w is None else communicating_w)
        + host_w
        + fabric_w,
        idle_w=idle_w,
        spare_w=(1 - cold_spares) * idle_w,
        pue=economics.pue,
        kg_co2_per_kwh=grid.kg_co2_per_kwh if given is None else given,
    )
