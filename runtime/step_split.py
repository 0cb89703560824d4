"""Where the time of one step of a rank went, from what torch's profiler saw of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runtime.json_lines import JsonLines
from simulator.spec.plan import PlanSpec

GAP_S = 2e-4
"""A shorter time in which no operation runs is the host's, whatever is under way."""

_POINT_TO_POINT = ("send", "recv")


@dataclass(frozen=True, slots=True)
class Span:
    """One operation; seconds since the window began."""

    name: str
    start_s: float
    end_s: float
    on_main_thread: bool


@dataclass(slots=True, kw_only=True)
class StepSplit:
    """One line of splits.jsonl: seconds of one rank in one step, which add up to its passes."""

    step: int
    rank: int
    compute_s: float = 0.0
    """With what the host needs between operations."""
    dp_s: float = 0.0
    """Nothing is computed because of this axis; so the next four."""
    tp_s: float = 0.0
    cp_s: float = 0.0
    ep_s: float = 0.0
    bubble_s: float = 0.0
    """Waiting for another pipeline stage, its messages included."""
    data_s: float = 0.0
    """Waiting for the batch, before the passes."""
    optimizer_s: float = 0.0
    """After them."""

    @classmethod
    def parse(cls, record: dict[str, Any]) -> StepSplit:
        """Return the split of a line. Raises KeyError, TypeError or ValueError."""
        seconds = {name: float(value) for name, value in record.items() if name.endswith("_s")}
        return cls(step=int(record["step"]), rank=int(record["rank"]), **seconds)

    def parts(self) -> dict[str, float]:
        """Return seconds by name without unit."""
        values = asdict(self)
        return {name.removesuffix("_s"): values[name] for name in values if name.endswith("_s")}


def split_lines(path: Path) -> JsonLines[StepSplit]:
    """Return the reader of a splits.jsonl, from its first line on."""
    return JsonLines(path, StepSplit.parse, kind="splits")


def split_passes(spans: Iterable[Span], plan: PlanSpec, *, end_s: float) -> dict[str, float]:
    """Return the seconds of the passes per part, `compute_s` to `bubble_s`.

    Every moment belongs to the innermost operation of the main thread: a computation, or an
    exchange. Where there is none for a while, it belongs to the exchange that is under way.
    """
    ordered = sorted(spans, key=lambda span: (span.start_s, -span.end_s))
    main = [span for span in ordered if span.on_main_thread]
    issued = _outermost(span for span in main if _is_exchange(span.name))
    flights = [span for span in ordered if span.name.startswith(("gloo:", "nccl:"))]
    parts: dict[str, float] = {}
    outer = set(map(id, issued))
    seen = [span for span in main if not _is_exchange(span.name) or id(span) in outer]
    for start_s, stop_s, name in _innermost(seen, end_s):
        part = "compute_s"
        if name is not None and _is_exchange(name):
            part = _part_of(name, plan)
        elif not _is_computation(name) and stop_s - start_s >= GAP_S:
            part = _under_way(start_s, stop_s, flights, issued, plan) or part
        parts[part] = parts.get(part, 0.0) + stop_s - start_s
    return parts


def _outermost(spans: Iterable[Span]) -> list[Span]:
    """Return those of some spans, in order of their start, that lie in no other."""
    outer: list[Span] = []
    for span in spans:
        if not outer or span.start_s >= outer[-1].end_s:
            outer.append(span)
    return outer


def _is_exchange(name: str) -> bool:
    return name.startswith(("c10d::", "_c10d_functional::"))


def _is_computation(name: str | None) -> bool:
    return name is not None and name.startswith("aten::")


def _part_of(name: str, plan: PlanSpec) -> str:
    """Return the part of an exchange: in our runtime, its kind tells the axis.

    Tensor and expert parallelism use functional collectives, rings and pipelines send and receive.
    """
    if any(kind in name for kind in _POINT_TO_POINT):
        return "bubble_s" if plan.pp > 1 else "cp_s"
    if "all_to_all" in name or "alltoall" in name:
        return "ep_s"
    return "tp_s" if name.startswith("_c10d_functional::") and plan.tp > 1 else "dp_s"


def _under_way(
    start_s: float,
    stop_s: float,
    flights: Sequence[Span],
    issued: Sequence[Span],
    plan: PlanSpec,
) -> str | None:
    """Return the part of the exchange that lasts through most of a gap; None where none does."""
    for flight in flights:
        shared_s = min(stop_s, flight.end_s) - max(start_s, flight.start_s)
        if shared_s > 0.5 * (stop_s - start_s):
            before = [span.name for span in issued if span.start_s <= flight.start_s]
            return _part_of(before[-1] if before else flight.name, plan)
    return None


def _innermost(main: Sequence[Span], end_s: float) -> Iterator[tuple[float, float, str | None]]:
    """Yield (start, end, name) of the innermost operation, without gaps; None where none runs."""
    now_s = 0.0
    stack: list[Span] = []

    def until(limit_s: float) -> Iterator[tuple[float, float, str | None]]:
        nonlocal now_s
        while stack and stack[-1].end_s <= limit_s:
            span = stack.pop()
            if span.end_s > now_s:
                yield now_s, span.end_s, span.name
                now_s = span.end_s
        if limit_s > now_s:
            yield now_s, limit_s, stack[-1].name if stack else None
            now_s = limit_s

    for span in main:
        yield from until(span.start_s)
        stack.append(span)
    yield from until(end_s)
