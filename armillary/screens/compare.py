"""What `armillary compare` and `armillary run` print: predicted beside measured."""

from __future__ import annotations

from runtime.compare import Comparison, Quantity
from simulator.spec.units import format_bytes, format_count, format_seconds


def compare_screen(comparison: Comparison) -> str:
    """Return the table, where the two differ most, and what to do about it."""
    memory, step, goodput = comparison.peak_memory_bytes, comparison.step_s, comparison.goodput
    tokens = comparison.tokens_per_s
    lines = [
        f"{comparison.plan}: {comparison.n_steps} steps, "
        f"the first {comparison.n_warmup_steps} left out as warm-up",
        "",
        f"{'':<22}{'predicted':>12}{'measured':>12}{'error':>9}",
        _line("step", format_seconds(step.predicted), format_seconds(step.measured), step.error),
    ]
    lines += [
        _line(
            f"  {part.name}",
            format_seconds(part.predicted_s),
            format_seconds(part.measured_s),
            Quantity(predicted=part.predicted_s, measured=part.measured_s).error,
        )
        for part in comparison.parts
    ]
    lines += [
        _line(
            "tokens per second",
            format_count(tokens.predicted),
            format_count(tokens.measured),
            tokens.error,
        ),
        _line(
            "peak memory of a rank",
            format_bytes(memory.predicted),
            format_bytes(memory.measured),
            memory.error,
        ),
        _line(
            "goodput of this run",
            f"{100 * goodput.predicted:.1f} %",
            f"{100 * goodput.measured:.1f} %",
            None,
        ),
        *(
            _line(
                f"  {loss.name.replace('_', ' ')}",
                f"{100 * loss.predicted:.1f} %",
                f"{100 * loss.measured:.1f} %",
                None,
            )
            for loss in comparison.losses
        ),
        "",
        *_spreads(comparison),
        f"differs most: {comparison.differs_most}",
        f"next: {comparison.suggestion}",
    ]
    return "\n".join(lines)


def _line(name: str, predicted: str, measured: str, error: float | None) -> str:
    percent = "" if error is None else f"{100 * error:+.1f} %"
    return f"{name:<22}{predicted:>12}{measured:>12}{percent:>9}".rstrip()


def _spreads(comparison: Comparison) -> list[str]:
    step = comparison.step_s
    lines = []
    if step.interval is not None:
        low, high = step.interval
        inside = "inside" if low <= step.measured <= high else "OUTSIDE"
        lines.append(
            f"predicted 90 % interval {format_seconds(low)} to {format_seconds(high)}: "
            f"measured is {inside}"
        )
    if step.spread is not None:
        low, high = step.spread
        lines.append(
            f"measured steps: {format_seconds(low)} to {format_seconds(high)} "
            "(10th to 90th percentile)"
        )
    return lines
