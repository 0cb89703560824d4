"""What `armillary explain` prints."""

from __future__ import annotations

from armillary.screens.wrapping import wrapped
from planner.explain import Difference, ExplainedNumber, Explanation
from planner.losses import PART_NAMES
from simulator.spec.units import format_bytes, format_seconds


def explain_screen(explanation: Explanation) -> str:
    """Return limits and all numbers, or one number in full."""
    name = "the plan" if explanation.rank is None else f"plan {explanation.rank}"
    lines = [f"{name}: {explanation.label}"]
    if len(explanation.numbers) == 1:
        return "\n".join(lines + _in_full(explanation.numbers[0]))
    lines += ["", "what binds"]
    for sentence in explanation.limits:
        lines += _wrapped(sentence)
    if explanation.decisions:
        lines += ["", "what it does about failures, and what else would change"]
    for sentence in explanation.decisions:
        lines += _wrapped(sentence)
    if explanation.against is not None:
        lines += ["", *against_lines(explanation.against)]
    lines += ["", *_numbers(explanation.numbers)]
    if explanation.assumptions:
        lines += ["", "assumed"]
        for assumption in explanation.assumptions:
            lines += _wrapped(assumption)
    lines += ["", "inputs and sources of one number: armillary explain --number step_s"]
    return "\n".join(lines)


def _numbers(numbers: tuple[ExplainedNumber, ...]) -> list[str]:
    """Return a line or more per number: its formula is folded."""
    column = "{:<18}{:<10}{:<19}"
    lines = [column.format("number", "value", "90 %") + "formula"]
    for number in numbers:
        start = column.format(number.name, number.value, number.interval)
        indent = " " * len(start)
        lines += wrapped(number.formula, first=start, rest=indent)
    return lines


def _in_full(number: ExplainedNumber) -> list[str]:
    lines = ["", f"{number.name} = {number.value}"]
    lines += [*_wrapped(f"= {number.formula}"), "", "from"]
    name_width = max((len(each.name) for each in number.inputs), default=0)
    value_width = max((len(each.value) for each in number.inputs), default=0)
    for each in number.inputs:
        start = f"  {each.name:<{name_width}}  {each.value:<{value_width}}  "
        lines += wrapped(each.source, first=start, rest=" " * len(start))
    lines += ["", f"computed by {number.computed_by}"]
    for line in number.meaning.splitlines():
        lines += wrapped(line, first="  ", rest="  ") or [""]
    return lines


def against_lines(difference: Difference) -> list[str]:
    """Return what differs from another plan: decisions, step, memory, and parts of the step."""
    mine, theirs = difference.step_s
    lines = [f"against {difference.other}", *_wrapped("; ".join(difference.decisions))]
    lines.append(
        f"  step {format_seconds(mine)} and {format_seconds(theirs)} "
        f"({100 * (mine / theirs - 1):+.1f} %), memory "
        f"{format_bytes(difference.peak_memory_bytes[0])} and "
        f"{format_bytes(difference.peak_memory_bytes[1])}"
    )
    for part in difference.parts:
        change = 100 * (part.this_s - part.other_s) / theirs
        lines.append(
            f"  {PART_NAMES[part.name]:<26}{format_seconds(part.this_s):>9}"
            f"{format_seconds(part.other_s):>10}{change:+8.1f} % of its step"
        )
    return lines


def _wrapped(text: str) -> list[str]:
    return wrapped(text, first="  ", rest="    ")
