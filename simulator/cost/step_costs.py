"""The price list of one step: what every clock puts on its time line.

All fields are arrays over the rows of a `PlanTable`. Times are of one rank, for one microbatch
unless said otherwise. Communication is the whole duration; how much of it hides behind compute is
decided by the clock, from the `*_overlap` shares.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.cost.plan_table import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTime:
    """One pass (forward, backward or recompute) of one layer over one microbatch."""

    compute_s: FloatArray
    tp_s: FloatArray
    """Tensor-parallel collectives that nothing hides (the overlap share is already taken off)."""
    cp_s: FloatArray
    """Context-parallel exchange that nothing hides."""
    ep_s: FloatArray
    """Expert all-to-all that nothing hides."""

    @property
    def total_s(self) -> FloatArray:
        """Time of the pass on the critical path."""
        return self.compute_s + self.tp_s + self.cp_s + self.ep_s


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCosts:
    """The three passes of one kind of layer, and its data-parallel traffic."""

    forward: LayerTime
    backward: LayerTime
    recompute: LayerTime
    """Zero where the plan does not recompute."""
    reduce_s: FloatArray
    """Gradient reduction of the layer over the data-parallel ranks, once per step (per microbatch
    under zero stage 2 and 3 with several microbatches, see `StepCosts.reduce_every_microbatch`)."""
    gather_s: FloatArray
    """All-gather of the layer's weights: before every forward (and backward) pass under zero
    stage 3, once per step after the optimizer under stage 1 and 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeCosts:
    """What stands before the first layer or after the last one."""

    forward: LayerTime
    backward: LayerTime
    reduce_s: FloatArray
    gather_s: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCosts:
    """Everything that happens in a step, priced."""

    dense: LayerCosts
    moe: LayerCosts
    """Equal to `dense` for models without experts."""
    embedding: EdgeCosts
    head: EdgeCosts
    p2p_s: FloatArray
    """One activation (or its gradient) from a stage to the next."""
    p2p_overlap: FloatArray
    """Share of a transfer that runs beside compute; for the rest the receiving rank waits, busy."""
    dp_overlap: FloatArray
    """Share of reduce and gather that may hide behind compute."""
    gather_once_overlap: FloatArray
    """The same for weights that are gathered once a step (zero stage 1 and 2)."""
    dp_contention: FloatArray
    """Share of the hidden reduce and gather time by which they slow the compute beside them."""
    gather_every_pass: FloatArray
    """1 where weights are gathered for every pass (zero stage 3), else 0."""
    reduce_every_microbatch: FloatArray
    """1 where gradients are reduced for every microbatch, else 0."""
    optimizer_s: FloatArray
    """Optimizer update of the fullest rank, gradient clipping included; once per step."""
    step_constant_s: FloatArray
    scale_factor: FloatArray
    """Growth of everything with the number of ranks, and the measured step scale; >= 0."""
