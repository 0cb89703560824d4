"""What `armillary validate` prints: errors by property, ranking, fits, and what was inferred."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from armillary.screens.table import text_table
from simulator.validate import Validation
from simulator.validate.scores import NOISE, Errors

TITLES = {
    "source": "by source",
    "kind": "by device, precision and model",
    "size": "by size",
    "recompute": "by recompute",
}
FEATURES = ("tp", "pp", "vpp", "cp", "ep")
WORST = ["largest errors", "measured s", "predicted s", "error", "inferred"]
N_WORST = 5
N_NAMED = 3
"""Skipped rows that are named for every reason."""
COLUMNS = ["rows", "mean", "median", "90 %", "bias", "in interval"]


def validation_screen(found: Validation) -> str:
    """Return the scores as text."""
    lines = [*_headline(found), ""]
    for name, errors in _tables(found):
        lines += [*text_table([name, *COLUMNS], _rows(errors)), ""]
    lines += [*text_table(WORST, _worst(found)), ""] if found.step else []
    lines += _notes(found)
    return "\n".join(lines)


def validation_markdown(found: Validation) -> str:
    """Return the scores as a Markdown page."""
    lines = [*_headline(found), ""]
    for name, errors in _tables(found):
        lines += [_cells([name, *COLUMNS]), _cells(["---", *["--:"] * len(COLUMNS)])]
        lines += [*(_cells(row) for row in _rows(errors)), ""]
    if found.step:
        lines += [_cells(WORST), _cells(["---", *["--:"] * (len(WORST) - 1)])]
        lines += [*(_cells(row) for row in _worst(found)), ""]
    lines += [f"- {line}" for line in _notes(found)]
    return "\n".join([*lines, ""])


def _cells(row: list[str]) -> str:
    return "| " + " | ".join(row) + " |"


def _headline(found: Validation) -> list[str]:
    predicted = sum(outcome.skipped is None for outcome in found.outcomes)
    lines = [f"{len(found.outcomes)} rows, {predicted} predicted"]
    if found.mean_of_sources is not None:
        lines[0] += f"; step time off by {_percent(found.mean_of_sources)} (mean of the sources)"
    return lines


def _tables(found: Validation) -> list[tuple[str, Mapping[str, Errors]]]:
    tables: list[tuple[str, Mapping[str, Errors]]] = [
        (f"step time {title}", found.step_by(name)) for name, title in TITLES.items()
    ]
    features: dict[str, Errors] = {}
    for name in FEATURES:
        features |= found.step_by(name)
    tables.append(("step time by feature", features))
    tables.append(("peak memory by source", found.memory_by_source()))
    return [(name, errors) for name, errors in tables if errors]


def _rows(errors: Mapping[str, Errors]) -> list[list[str]]:
    return [
        [
            name,
            str(each.n),
            _percent(each.mean),
            _percent(each.median),
            _percent(each.p90),
            f"{100 * each.bias:+.1f} %",
            f"{100 * each.coverage:.0f} %",
        ]
        for name, each in errors.items()
    ]


def _worst(found: Validation) -> list[list[str]]:
    """Return the rows whose step time is furthest off, the furthest first."""
    return [
        [
            each.row.id,
            f"{each.row.step_s:.3g}",
            f"{each.predicted_step_s:.3g}",
            f"{100 * (each.step_ratio - 1):+.1f} %",
            ", ".join(each.assumed),
        ]
        for each in found.furthest(N_WORST)
        if each.step_ratio is not None
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _verdicts(found: Validation) -> list[str]:
    lines = []
    if found.ranking is not None:
        rank = found.ranking
        lines.append(
            f"ranking: {rank.rows} rows in {rank.groups} questions; Kendall tau "
            f"{rank.kendall_tau:.2f} ({rank.kendall_tau_apart:.2f} of pairs over {_percent(NOISE)} "
            f"apart), top-1 regret {_percent(rank.top1_regret)} (of plans "
            f"{_percent(rank.plan_regret)}, worst {_percent(rank.worst_regret)}), "
            f"best in the first five {_percent(rank.top5_hits)}"
        )
    if found.fit is not None:
        fit = found.fit
        lines.append(
            f"fits or not: {_percent(fit.accuracy)} right; {fit.false_oom} said not to fit and "
            f"ran, {fit.missed_oom} said to fit and did not; {fit.at_edge} at the edge, and of the "
            f"others {fit.wrong_off_edge} wrong"
        )
    return lines


def _notes(found: Validation) -> list[str]:
    return [*_verdicts(found), *_inferred(found), *_skipped(found)]


def _inferred(found: Validation) -> list[str]:
    columns = Counter(column for outcome in found.outcomes for column in outcome.assumed)
    if not columns:
        return []
    shown = ", ".join(f"{column} in {count}" for column, count in columns.most_common())
    return [f"inferred by rule where not stated (rows): {shown}"]


def _skipped(found: Validation) -> list[str]:
    """Return the reasons, the most frequent first, with some of the rows of each."""
    rows: dict[str, list[str]] = {}
    for outcome in found.outcomes:
        if outcome.skipped:
            rows.setdefault(outcome.skipped, []).append(outcome.row.id)
    lines = []
    for reason, ids in sorted(rows.items(), key=lambda item: -len(item[1])):
        more = [f"{len(ids) - N_NAMED} more"] if len(ids) > N_NAMED else []
        lines.append(f"skipped {len(ids)}: {reason} ({', '.join([*ids[:N_NAMED], *more])})")
    return lines
