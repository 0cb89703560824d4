"""What this machine is: its processor, cores and memory."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    """The host that is being measured."""

    processor: str
    n_cores: int
    """Cores that this process may use."""
    memory_bytes: float


def this_machine() -> Machine:
    """Return the processor's name, the usable cores and the memory of this host."""
    affinity = getattr(os, "sched_getaffinity", None)
    return Machine(
        processor=_processor_name(),
        n_cores=len(affinity(0)) if affinity else os.cpu_count() or 1,
        memory_bytes=float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
    )


def _processor_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
