"""Single changes to a scenario: another size, another device, one limit less."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from simulator.catalog import find_device, list_names
from simulator.catalog.cluster import default_fabric, with_another_device
from simulator.catalog.layouts.drawn import fabric_of_first
from simulator.catalog.offers import offers_of
from simulator.spec.base import Precision
from simulator.spec.choice import choice_text
from simulator.spec.cluster import ClusterSpec, DeviceSpec
from simulator.spec.errors import InputError
from simulator.spec.scenario import PlanLimits, Scenario

NEAREST_COUNTS = 64
"""Smaller numbers of devices that are tried one by one; below, only round ones are."""
LARGEST_FACTOR = 64
"""More devices than this many times as many are no advice."""


TRAINED_IN = (Precision.BF16, Precision.FP8, Precision.MXFP8, Precision.NVFP4)
"""Formats that large models are trained in."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change, and the scenario after it."""

    what: str
    scenario: Scenario


Changes = Callable[[Scenario], Iterator[Change]]
"""One kind of change, the smallest or the most promising first."""


def resized(cluster: ClusterSpec, n_devices: int) -> ClusterSpec:
    """Return the cluster with another number of devices, on whole nodes.

    Raises InputError when the count is not a multiple of a node, or above what the graph of its
    fabric joins.
    """
    per_node = min(max(cluster.devices_per_node, cluster.device.devices_per_node), n_devices)
    if n_devices % per_node:
        raise InputError(f"{n_devices} devices are not whole nodes of {per_node}")
    n_nodes = n_devices // per_node
    domain = cluster.scale_up_domain_devices
    if n_nodes > 1 and cluster.n_nodes == 1:
        domain = cluster.device.scale_up_domain_devices
    name = f"{cluster.device.name}-x{n_devices}"
    named = cluster.model_copy(update={"name": name, "scale_up_domain_devices": domain})
    return of_nodes(named, n_nodes, per_node)


def of_nodes(cluster: ClusterSpec, n_nodes: int, devices_per_node: int) -> ClusterSpec:
    """Return the cluster with so many nodes of so many devices, and their part of a drawn fabric.

    Raises InputError where the graph of the fabric joins fewer, or not these by themselves.
    """
    fabric = fabric_of_first(cluster.fabric, n_nodes, devices_per_node)
    if n_nodes > 1 and fabric.kind == "none":
        fabric = default_fabric(cluster.device, n_nodes, devices_per_node)
    sizes = {"n_nodes": n_nodes, "devices_per_node": devices_per_node, "fabric": fabric}
    sized = cluster.model_copy(update=sizes)
    faults = tuple(
        fault
        for fault in cluster.link_faults
        if fault.device < sized.n_devices and fault.level in sized.level_devices
    )
    return sized.model_copy(update={"link_faults": faults})


def with_devices(scenario: Scenario, n_devices: int) -> Scenario:
    """Return the scenario on a cluster of another size, all of it used."""
    return scenario.model_copy(
        update={
            "cluster": resized(scenario.cluster, n_devices),
            "limits": scenario.limits.model_copy(update={"devices": None}),
        }
    )


def with_device(scenario: Scenario, name: str) -> Scenario:
    """Return the scenario on as many devices of another kind, as `cluster.device` set does.

    A price list is of the kind before, and another one takes its place.
    """
    n_devices = scenario.n_devices
    cluster = with_another_device(scenario.cluster, name, n_devices)
    limits = scenario.limits.model_copy(update={"devices": None, "memory": None})
    economics = scenario.economics.model_copy(update={"price": None})
    changes = {"cluster": cluster, "limits": limits, "economics": economics}
    return scenario.model_copy(update=changes)


def limits_set(scenario: Scenario) -> dict[str, str]:
    """Return what narrows the search, by name, as one writes it: limits but devices, and target."""
    free = PlanLimits()
    texts = {
        name: f"limits.{name}={choice_text(value)}"
        for name, value in scenario.limits
        if value != getattr(free, name) and name not in ("devices", "balance")
    }
    return texts | ({} if scenario.target is None else {"target": f"target={scenario.target}"})


def without_limit(scenario: Scenario, name: str) -> Scenario:
    """Return the scenario without one of `limits_set`."""
    if name == "target":
        return scenario.model_copy(update={"target": None})
    limits = scenario.limits.model_copy(update={name: getattr(PlanLimits(), name)})
    return scenario.model_copy(update={"limits": limits})


def without_limits(scenario: Scenario) -> Iterator[Change]:
    """Yield the scenario without each of its limits, and without its target."""
    for name, text in limits_set(scenario).items():
        yield Change(f"without {text}", without_limit(scenario, name))


def more_devices(scenario: Scenario) -> Iterator[Change]:
    """Yield the scenario on 2, 4, 8 ... times as many devices."""
    n_devices = scenario.n_devices
    factor = 2
    while factor <= LARGEST_FACTOR:
        try:
            yield Change(
                f"{factor * n_devices:,} devices instead of {n_devices:,}",
                with_devices(scenario, factor * n_devices),
            )
        except InputError:
            return
        factor *= 2


def larger_devices(scenario: Scenario) -> Iterator[Change]:
    """Yield the scenario on catalog devices with more memory, the smallest first."""
    now = scenario.cluster.device
    devices = [find_device(name) for name in list_names("devices")]
    larger = [
        device
        for device in devices
        if device.memory_bytes > now.memory_bytes and device.name != "cpu"
    ]
    for device in sorted(larger, key=lambda device: (device.memory_bytes, device.name)):
        try:
            yield Change(f"{device.name} devices", with_device(scenario, device.name))
        except InputError:  # so many do not make whole nodes
            continue


def other_devices(scenario: Scenario) -> Iterator[Change]:
    """Yield the scenario on as many other devices of the catalog, most compute for a dollar first.

    Where prices do not matter the fastest come first; devices of which none is known come last.
    """
    precision, now = scenario.job.precision, scenario.cluster.device.name

    def worth(device: DeviceSpec) -> tuple[float, str]:
        prices = offers_of(scenario.economics, device.name)
        usd = prices[0].usd_per_device_hour if prices else float("inf")
        per = usd if scenario.goal.budget is not None else 1.0
        return -device.peak.of(precision) / per, device.name

    devices = [find_device(name) for name in list_names("devices") if name not in (now, "cpu")]
    for device in sorted(devices, key=worth):
        try:
            yield Change(f"{device.name} devices", with_device(scenario, device.name))
        except InputError:  # so many do not make whole nodes
            continue


def faster_precisions(scenario: Scenario) -> Iterator[Change]:
    """Yield the scenario in number formats in which its device is faster, the slowest first."""
    peak, now = scenario.cluster.device.peak, scenario.job.precision
    faster = [each for each in TRAINED_IN if peak.of(each) > peak.of(now)]
    for precision in sorted(faster, key=peak.of):
        job = scenario.job.model_copy(update={"precision": precision})
        yield Change(f"job.precision={precision}", scenario.model_copy(update={"job": job}))


def cheaper_prices(scenario: Scenario) -> Iterator[Change]:
    """Yield the scenario at other known prices of its device, the lowest first."""
    economics, device = scenario.economics, scenario.cluster.device.name
    if scenario.goal.budget is None:
        return
    offers = offers_of(economics, device)
    for price in sorted(offers, key=lambda price: price.usd_per_device_hour):
        changed = economics.rented_by(price)
        yield Change(
            f"economics.price={price.name} (${price.usd_per_device_hour:g} a device-hour)",
            scenario.model_copy(update={"economics": changed}),
        )


def fewer_nodes(scenario: Scenario) -> Iterator[Change]:
    """Yield the scenario on a half, a quarter ... of its devices, which cost less the fewer."""
    n_devices = scenario.n_devices
    while n_devices % 2 == 0 and scenario.goal.budget is not None:
        n_devices //= 2
        limits = scenario.limits.model_copy(update={"devices": n_devices})
        yield Change(f"limits.devices={n_devices}", scenario.model_copy(update={"limits": limits}))


def shorter_sequences(scenario: Scenario) -> Iterator[Change]:
    """Yield the scenario with sequences of half, a quarter ... of the length, batch tokens kept."""
    job = scenario.job
    length, sequences = job.sequence_length, job.batch_sequences
    while length % 2 == 0 and length > 256:
        length, sequences = length // 2, sequences * 2
        changed = job.model_copy(
            update={
                "sequence_length": length,
                "global_batch_sequences": sequences,
                "global_batch_tokens": None,
            }
        )
        yield Change(f"job.sequence_length={length}", scenario.model_copy(update={"job": changed}))


def smaller_gradients(scenario: Scenario) -> Iterator[Change]:
    """Yield the scenario with gradients in 16 bit, where they are in 32."""
    if scenario.job.gradient_dtype == "fp32" and scenario.job.precision != "fp32":
        job = scenario.job.model_copy(update={"gradient_dtype": "bf16"})
        yield Change("job.gradient_dtype=bf16", scenario.model_copy(update={"job": job}))


def fewer_devices(scenario: Scenario) -> Iterator[Change]:
    """Yield the scenario on smaller numbers of devices, down to half of them, the largest first.

    Few enough for any cluster: the nearest, then the next multiple of every power of two.
    """
    n_devices = scenario.n_devices
    nearest = max(n_devices - NEAREST_COUNTS, n_devices // 2 + 1)
    multiples = {nearest - 1 - (nearest - 1) % 2**power for power in range(n_devices.bit_length())}
    round_ones = (count for count in multiples if count > n_devices // 2)
    for count in (*range(n_devices - 1, nearest - 1, -1), *sorted(round_ones, reverse=True)):
        limits = scenario.limits.model_copy(update={"devices": count})
        what = f"limits.devices={count}"
        if count < nearest:
            what += " (only round numbers were tried)"
        yield Change(what, scenario.model_copy(update={"limits": limits}))


def other_batches(scenario: Scenario) -> Iterator[Change]:
    """Yield the scenario with batches within 10 % that the devices divide better, best first."""
    n_devices = scenario.n_devices
    now = scenario.job.batch_sequences
    shares = [share for share in range(n_devices, 1, -1) if n_devices % share == 0]
    batches = dict.fromkeys(max(round(now / share), 1) * share for share in shares)
    for batch in batches:
        if abs(batch - now) <= 0.1 * now and batch != now:
            job = scenario.job.model_copy(
                update={"global_batch_sequences": batch, "global_batch_tokens": None}
            )
            yield Change(
                f"job.global_batch_sequences={batch}", scenario.model_copy(update={"job": job})
            )
