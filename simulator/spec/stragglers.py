"""What keeps the ranks of a job from being equally fast."""

from __future__ import annotations

from pydantic import Field

from simulator.spec.base import Fraction, Spec
from simulator.spec.units import Count


class StragglerSpec(Spec):
    """Slow devices and jitter within a step, beyond the usual that the software profile's growth
    with scale contains. Slow links are described with the cluster.
    """

    slow_devices: Count = Field(default=0, ge=0)
    """Devices that are slow for good; which ones is drawn with the scenario's seed."""
    slowdown: float = Field(default=1.0, ge=1, le=1000)
    """Computing time of a slow device over that of the others."""
    pass_jitter: Fraction = 0.0
    """Standard deviation over mean of the computing time of one pass on one device."""
