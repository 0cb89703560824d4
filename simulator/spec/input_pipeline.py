"""How training data reach the devices: store, network, cache, decoding, prefetch."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from simulator.spec.base import Fraction, NonNegative, Positive, Spec
from simulator.spec.units import Bytes, BytesPerSecond, Count, Seconds


class InputSpec(Spec):
    """The input pipeline of one campaign."""

    dataset_bytes: Bytes = Field(gt=0)
    """As stored; read again from the start when it is used up."""
    bytes_per_token: Positive
    """Stored bytes behind one token: some 2 to 4 for tokenised text, thousands for video."""
    store_bandwidth_bytes_per_s: BytesPerSecond = Field(gt=0)
    """Of all readers together."""
    node_bandwidth_bytes_per_s: BytesPerSecond = Field(gt=0)
    """What one host reads over its network for data."""
    decode_tokens_per_core_s: Positive | None = None
    """Tokens that one core decodes and augments in a second; unset means that nothing is to do."""
    decode_cores_per_node: Count | None = Field(default=None, ge=1)
    """Cores of a training host for that; default is half of them."""
    reader_hosts: Count = Field(default=0, ge=0)
    """Hosts beside the training nodes that only read and decode."""
    reader_host_cores: Count = Field(default=96, ge=1)
    cache_bytes_per_node: Bytes = Field(default=0.0, ge=0)
    """Local disk that keeps what was read."""
    cache_bandwidth_bytes_per_s: BytesPerSecond = Field(default=0.0, ge=0)
    """Of one node's cache."""
    prefetch_steps: NonNegative = 2.0
    """Batches that are kept ready."""
    variation: NonNegative = 0.3
    """Standard deviation over mean of the time to bring one batch."""
    shuffle_bytes: Bytes = Field(default=0.0, ge=0)
    """Buffer of every node that is filled before the first step, and after every restart."""
    corrupt_fraction: Fraction = Field(default=0.0, lt=1)
    """Share of the shards that cannot be read and are skipped."""
    open_s: Seconds = Field(default=0.0, ge=0)
    """To list and open the dataset at every start."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.cache_bytes_per_node > 0 and self.cache_bandwidth_bytes_per_s == 0:
            raise ValueError("cache_bytes_per_node needs cache_bandwidth_bytes_per_s")
        if self.shuffle_bytes > self.dataset_bytes:
            raise ValueError(
                f"shuffle_bytes={self.shuffle_bytes:g} is more than the whole dataset of "
                f"{self.dataset_bytes:g} bytes"
            )
        return self
