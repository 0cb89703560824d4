"""How kernels reach the device: one by one, compiled into fewer, or as a recorded graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulator.spec.job import JobSpec, LaunchName
from simulator.spec.profiles import SoftwareProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchClass:
    """What a way of launching changes of a software generation."""

    launch_s: float
    """Least time of one kernel."""
    fuses: bool
    """Whether elementwise operations are compiled into few kernels."""
    leaves_host: bool
    """Whether the device goes on without the host."""


LAUNCHES: Mapping[LaunchName, LaunchClass] = {
    "eager": LaunchClass(launch_s=10e-6, fuses=False, leaves_host=False),
    "compiled": LaunchClass(launch_s=4e-6, fuses=True, leaves_host=False),
    "cuda-graphs": LaunchClass(launch_s=1.5e-6, fuses=False, leaves_host=True),
}
"""Eager PyTorch dispatches an operation in about 10 us, a launch from C++ takes 4 us, a node of a
CUDA graph 1.5 us. From memory, order of magnitude; a kernel table or `calibrate` knows better."""


def as_launched(software: SoftwareProfile, job: JobSpec) -> SoftwareProfile:
    """Return the software as the job launches its kernels."""
    if job.launch is None:
        return software
    launch = LAUNCHES[job.launch]
    changes: dict[str, float] = {"launch_s": launch.launch_s}
    if launch.fuses:
        changes["elementwise_factor"] = min(software.elementwise_factor, 1.0)
        changes["eager_norm_factor"] = 0.0
    if launch.leaves_host:
        changes["kernel_gap_s"] = 0.0
        changes["moe_launch_s"] = 0.0
    return software.model_copy(update=changes)
