"""What `armillary whatif` prints: one line per case, its length in time as a bar."""

from __future__ import annotations

from pathlib import Path

from armillary.screens.table import text_table
from armillary.screens.wrapping import WIDTH, wrapped
from planner.whatif import WhatIf, WhatIfCase
from simulator.spec.units import format_seconds, format_usd

_KEY_WIDTH = 12


def whatif_screen(answer: WhatIf, *, question: str, written: tuple[Path, ...] = ()) -> str:
    """Return the screen; `written` are files that were made on the way."""
    labels = list(dict.fromkeys(case.plan.label() for case in answer.cases if case.plan))
    header = [_short(key) for key in answer.keys]
    header += ["plan", "step", "MFU", "goodput", "time", "cost"]
    table = text_table(header, [_row(case, labels) for case in answer.cases])
    lines = [*wrapped(question), f"changed: {', '.join(answer.keys)}", ""]
    lines += [table[0], *_with_bars(answer, table[1:]), ""]
    lines += [f"plan {number}: {label}" for number, label in enumerate(labels, start=1)]
    lines += _reasons(answer)
    lines += [f"saved: {path}" for path in written]
    return "\n".join(lines)


def _with_bars(answer: WhatIf, rows: list[str]) -> list[str]:
    """Return the rows with their times as bars in the room that is left."""
    start = max(map(len, rows)) + 2
    times_s = [case.prediction.calendar_s if case.prediction else 0.0 for case in answer.cases]
    scale = max(WIDTH - start, 0) / max(*times_s, 1e-9)
    return [
        f"{row:<{start}}{'#' * round(time_s * scale)}".rstrip()
        for row, time_s in zip(rows, times_s, strict=True)
    ]


def _short(key: str) -> str:
    name = key.rpartition(".")[2]
    return name if len(name) <= _KEY_WIDTH else name[: _KEY_WIDTH - 1] + "~"


def _row(case: WhatIfCase, labels: list[str]) -> list[str]:
    if case.plan is None or case.prediction is None:
        return [*case.values, "none", "-", "-", "-", "-", "-"]
    summary = case.prediction
    cost = "-" if summary.cost_usd is None else format_usd(summary.cost_usd).replace(" ", "")
    return [
        *case.values,
        str(labels.index(case.plan.label()) + 1),
        format_seconds(summary.step_s),
        f"{100 * summary.mfu:.1f}%",
        f"{100 * summary.goodput:.1f}%",
        format_seconds(summary.calendar_s),
        cost,
    ]


def _reasons(answer: WhatIf) -> list[str]:
    """Say once why cases have no plan."""
    reasons: dict[str, list[WhatIfCase]] = {}
    for case in answer.cases:
        if case.no_answer:
            reasons.setdefault(case.no_answer, []).append(case)
    lines = []
    for reason, cases in reasons.items():
        pairs = zip(answer.keys, cases[0].values, strict=True)
        changed = ", ".join(f"{key}={value}" for key, value in pairs)
        more = f" and {len(cases) - 1} more" if len(cases) > 1 else ""
        lines += wrapped(f"{changed}{more}: {reason}", rest="  ")
    return lines
