"""Whether data arrive in time: the wait of a step for its batch, and what would avoid it.

Reading from the store, reading over each host's network, reading from local caches and decoding go
on side by side, so that a batch takes as long as the slowest of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.cost.plan_table import FloatArray
from simulator.spec.input_pipeline import InputSpec
from simulator.spec.job import JobSpec

HEADROOM = 0.8
"""Share of the time that a well-sized pipeline is busy: stalls vanish with any usual prefetch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTimes:
    """How long each part of the pipeline works on one batch, for n plans: shape (n,)."""

    store_s: FloatArray
    network_s: FloatArray
    cache_s: FloatArray
    decode_s: FloatArray

    @property
    def slowest_s(self) -> FloatArray:
        """Time per batch of the whole pipeline."""
        read_s = np.maximum(self.store_s, self.network_s)
        return np.maximum(read_s, np.maximum(self.cache_s, self.decode_s))

    @property
    def limit(self) -> str:
        """What the slowest part of the first plan is."""
        parts = {
            "the store": self.store_s[0],
            "the hosts' network": self.network_s[0],
            "the local caches": self.cache_s[0],
            "decoding": self.decode_s[0],
        }
        return max(parts, key=lambda name: float(parts[name]))


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFlow:
    """What the input pipeline does to n plans, and what it would need; arrays have shape (n,)."""

    first_epoch: BatchTimes
    later_epochs: BatchTimes
    n_epochs: float
    stall_s: FloatArray
    """Mean wait of a step for its batch."""
    start_s: FloatArray
    """To open the dataset and fill the shuffle buffer, at every start."""
    needed_store_bytes_per_s: FloatArray
    """Read bandwidth that keeps the store at `HEADROOM` in the first epoch."""
    needed_node_bytes_per_s: FloatArray
    needed_reader_hosts: FloatArray


def input_flow(
    spec: InputSpec,
    job: JobSpec,
    *,
    step_s: npt.ArrayLike,
    n_nodes: npt.ArrayLike,
    cores_per_node: int,
) -> InputFlow:
    """Return how data flow to jobs of `n_nodes` hosts whose steps take `step_s`."""
    step, nodes = np.broadcast_arrays(
        *(np.atleast_1d(np.asarray(value, float)) for value in (step_s, n_nodes))
    )
    batch_bytes = job.batch_tokens * spec.bytes_per_token / (1 - spec.corrupt_fraction)
    own_cores = nodes * (spec.decode_cores_per_node or max(1, cores_per_node // 2))
    readers = nodes + spec.reader_hosts
    n_epochs = job.tokens * spec.bytes_per_token / spec.dataset_bytes
    cached = np.minimum(1.0, nodes * spec.cache_bytes_per_node / spec.dataset_bytes)
    first = _batch_times(spec, job, batch_bytes, np.zeros_like(nodes), nodes, own_cores)
    later = _batch_times(spec, job, batch_bytes, cached, nodes, own_cores)
    waits = [
        stall_s(step, times.slowest_s, spec.variation, spec.prefetch_steps)
        for times in (first, later)
    ]
    share = min(1.0, 1 / n_epochs)
    rate = np.minimum(spec.store_bandwidth_bytes_per_s, readers * spec.node_bandwidth_bytes_per_s)
    decode = spec.decode_tokens_per_core_s
    needed_cores = 0.0 if decode is None else job.batch_tokens / step / HEADROOM / decode
    missing_cores = np.maximum(0.0, needed_cores - own_cores)
    return InputFlow(
        first_epoch=first,
        later_epochs=later,
        n_epochs=n_epochs,
        stall_s=share * waits[0] + (1 - share) * waits[1],
        start_s=spec.open_s + nodes * spec.shuffle_bytes / rate,
        needed_store_bytes_per_s=batch_bytes / step / HEADROOM,
        needed_node_bytes_per_s=batch_bytes / step / HEADROOM / readers,
        needed_reader_hosts=np.ceil(missing_cores / spec.reader_host_cores),
    )


def stall_s(
    step_s: npt.ArrayLike,
    batch_s: npt.ArrayLike,
    variation: npt.ArrayLike,
    prefetch_steps: npt.ArrayLike,
) -> FloatArray:
    """Mean wait per step when a batch takes `batch_s` with that variation to arrive.

    The lateness of the pipeline is a random walk of drift m - T and deviation s per step, held
    above 0 by a full prefetch buffer and below b = depth x T by the step that waits. For reflected
    Brownian motion the upper barrier pushes at the rate drift / (1 - exp(-2 drift b / s^2)), which
    is max(0, drift) without variation. Near saturation this is good to some percent; the rare waits
    of a pipeline with much to spare it puts too low.

    References
    ----------
    J. M. Harrison, "Brownian Motion and Stochastic Flow Systems" (1985), section 5.5.
    """
    step, batch = np.asarray(step_s, float), np.asarray(batch_s, float)
    drift = batch - step
    variance = (np.asarray(variation, float) * batch) ** 2
    depth_s = np.asarray(prefetch_steps, float) * step
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        exponent = np.clip(2 * drift * depth_s / variance, -700.0, 700.0)
        walk = np.where(
            np.abs(exponent) < 1e-9,
            variance / (2 * depth_s),
            drift / -np.expm1(-exponent),
        )
    steady = np.maximum(0.0, drift)
    # Without a buffer a batch is fetched after the step before it: nothing overlaps.
    buffered = np.where(variance == 0, steady, walk)
    # No buffer, however small, is worse than none.
    return np.where(depth_s == 0, batch, np.minimum(batch, np.maximum(steady, buffered)))


def _batch_times(
    spec: InputSpec,
    job: JobSpec,
    batch_bytes: float,
    cached: FloatArray,
    n_nodes: FloatArray,
    own_cores: FloatArray,
) -> BatchTimes:
    missed = batch_bytes * (1 - cached)
    readers = n_nodes + spec.reader_hosts
    cores = own_cores + spec.reader_hosts * spec.reader_host_cores
    cache_rate = n_nodes * (spec.cache_bandwidth_bytes_per_s or np.inf)
    decode = spec.decode_tokens_per_core_s or np.inf
    return BatchTimes(
        store_s=missed / spec.store_bandwidth_bytes_per_s,
        network_s=missed / readers / spec.node_bandwidth_bytes_per_s,
        cache_s=batch_bytes * cached / cache_rate,
        decode_s=job.batch_tokens / (decode * cores),
    )
