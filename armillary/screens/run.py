"""What `armillary run` prints when a run has ended."""

from __future__ import annotations

from armillary.answers import RunAnswer
from simulator.spec.units import format_bytes, format_seconds


def run_screen(answer: RunAnswer) -> str:
    """Return the losses and what the steps took."""
    last = answer.n_steps
    first = last - len(answer.losses) + 1
    steady = first + answer.comparison.n_warmup_steps
    skipped = answer.n_skipped_shards
    return "\n".join(
        (
            f"loss        {answer.losses[0]:.4f} in step {first} -> {answer.losses[-1]:.4f} in "
            f"step {last}",
            f"step        {format_seconds(answer.step_s)} (median of steps {steady} to {last})",
            f"tokens/s    {answer.tokens_per_s:,.0f}",
            f"memory      {format_bytes(answer.peak_memory_bytes)} at most on one rank",
            *([f"skipped     {skipped} files of the data (see data.json)"] if skipped else []),
            f"files       {answer.run_dir}",
        )
    )
