"""What `armillary run` prints when a run has ended."""

from __future__ import annotations

from runtime.result import RunResult
from simulator.spec.units import format_bytes, format_seconds


def run_screen(result: RunResult) -> str:
    """Return the losses and what the steps took."""
    first, last = result.steps[0], result.steps[-1]
    steady = result.steady_steps
    return "\n".join(
        (
            f"loss        {first.loss:.4f} in step {first.step} -> {last.loss:.4f} in step "
            f"{last.step}",
            f"step        {format_seconds(result.step_s)} (median of steps {steady[0].step} to "
            f"{steady[-1].step})",
            f"tokens/s    {result.tokens_per_s:,.0f}",
            f"memory      {format_bytes(result.peak_memory_bytes)} at most on one rank",
            f"files       {result.run_dir}",
        )
    )
