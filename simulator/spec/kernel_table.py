"""Kernels that were measured: shapes and times."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from simulator.spec.base import PositiveInt, Precision, Spec
from simulator.spec.units import Seconds

KernelKind = Literal["gemm", "grouped-gemm", "attention", "attention-backward"]


class GemmPoint(Spec):
    """A measured matrix multiplication of one rank."""

    m: PositiveInt
    n: PositiveInt
    k: PositiveInt
    precision: Precision
    n_busy_ranks: PositiveInt = 1
    """Ranks that compute at the same time on the machine."""
    time_s: Seconds = Field(gt=0)
    backward_s: Seconds = Field(default=0.0, ge=0)
    """The two products of its backward together; 0 means not measured (twice time_s)."""
    groups: int = Field(default=0, ge=0)
    """Multiplications in one kernel, m rows each (experts); 0 means an ordinary one."""

    @property
    def flops(self) -> float:
        """Work of it."""
        return 2.0 * max(self.groups, 1) * self.m * self.n * self.k

    @property
    def n_values(self) -> float:
        """Values read and written."""
        return max(self.groups, 1) * float(self.m * self.n + self.n * self.k + self.m * self.k)


class AttentionPoint(Spec):
    """A measured fused attention of one rank."""

    sequences: PositiveInt
    heads: PositiveInt
    length: PositiveInt
    """Tokens of a sequence, queries and keys alike."""
    head_dim: PositiveInt
    """Width of a query."""
    value_dim: PositiveInt
    causal: bool
    precision: Precision
    backward: bool = False
    time_s: Seconds = Field(gt=0)

    @property
    def flops(self) -> float:
        """Work of a forward."""
        pairs = self.length * (self.length + 1) / 2 if self.causal else self.length**2
        return 2.0 * self.sequences * self.heads * pairs * (self.head_dim + self.value_dim)

    @property
    def n_values(self) -> float:
        """Values read and written."""
        return 2.0 * self.sequences * self.heads * self.length * (self.head_dim + self.value_dim)


class KernelTable(Spec):
    """Kernels as a user measured them on the device."""

    name: str
    """The file they come from."""
    gemms: tuple[GemmPoint, ...] = ()
    attentions: tuple[AttentionPoint, ...] = ()


class KernelLookups(Spec):
    """How far a kernel table covers one step."""

    table: str
    n_shapes: int
    """Distinct kernel shapes of the step."""
    n_measured: int
    """Those that are in the table; the others are estimated from its nearest shapes."""
    missed: tuple[str, ...] = ()
    """Shapes that are not in the table, as `bf16 gemm m=4096 n=8192 k=1024`."""
