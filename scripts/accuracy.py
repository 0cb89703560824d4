"""Write the tables of docs/accuracy.md: `python scripts/accuracy.py`; `--check` only compares.

Every table stands between `<!-- table: NAME -->` and `<!-- end -->`; the text around is by hand.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simulator.spec.files import write_atomic
from simulator.validate import Outcome, Validation, validate
from simulator.validate.constants import STORED, stored_values
from simulator.validate.corrections import OUTLIERS
from simulator.validate.scores import Errors, fit

PAGE = Path(__file__).resolve().parent.parent / "docs" / "accuracy.md"
EXPLANATIONS = STORED.with_name("known_problems.csv")


def _moe(outcome: Outcome) -> bool:
    return bool(outcome.row.n_experts)


def _narrow(outcome: Outcome) -> bool:
    return outcome.row.precision.lower() not in ("", "bf16", "fp16")


def _hopper(outcome: Outcome) -> bool:
    return outcome.row.device.startswith(("A100", "A800", "H100"))


TABLE_5 = tuple(f"megatron-papers-{number:04d}" for number in range(20, 28))
CLASSES: Mapping[str, Callable[[Outcome], bool]] = {
    "A100/H100, dense, 16 bit": lambda row: _hopper(row) and not _moe(row) and not _narrow(row),
    "H100, dense, fp8": lambda row: _hopper(row) and not _moe(row) and _narrow(row),
    "Blackwell, dense": lambda row: "B200" in row.row.device and not _moe(row),
    "mixtures of experts": _moe,
    "the same, less four left out of all fits": lambda row: (
        _moe(row) and row.row.id not in OUTLIERS
    ),
    "TPU": lambda row: row.row.device.startswith("TPU"),
    "Megatron's Table 5 (8 rows)": lambda row: row.row.id in TABLE_5,
}


@dataclass(frozen=True)
class Both:
    """The published runs, predicted in three ways."""

    fitted: Validation
    left_out: Validation
    anchored: Validation
    """As left out, after one measured step of the source."""


def _percent(share: float | None, signed: bool = False) -> str:
    if share is None:
        return ""
    return f"{100 * share:+.1f}" if signed else f"{100 * share:.1f}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] + ["--:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


ERROR_HEADER = ["rows", "fitted", "bias", "left out", "bias", "one step measured", "90 % interval"]


def _errors(name: str, own: Errors, out: Errors, anchored: Errors | None) -> list[str]:
    return [
        name,
        str(own.n),
        _percent(own.mean),
        _percent(own.bias, signed=True),
        _percent(out.mean),
        _percent(out.bias, signed=True),
        _percent(anchored.mean if anchored else None),
        f"{100 * own.coverage:.0f} / {100 * out.coverage:.0f}",
    ]


def sources_table(both: Both) -> str:
    """Errors by source, and their means."""
    own, out = both.fitted.step_by("source"), both.left_out.step_by("source")
    anchored = both.anchored.step_by("source")
    rows = [_errors(name, own[name], out[name], anchored.get(name)) for name in own]
    means = [each.mean_of_sources for each in (both.fitted, both.left_out, both.anchored)]
    whole = both.fitted.step, both.left_out.step
    assert whole[0]
    assert whole[1]
    coverage = f"{100 * whole[0].coverage:.0f} / {100 * whole[1].coverage:.0f}"
    total = [str(whole[0].n), _percent(means[0]), "", _percent(means[1]), "", _percent(means[2])]
    rows.append(["**mean of the sources**", *total, coverage])
    return _table(["source", *ERROR_HEADER], rows)


def classes_table(both: Both) -> str:
    """Mean of the sources' errors in each class that the design sets a goal for."""
    rows = []
    for name, inside in CLASSES.items():
        parts = [
            Validation(outcomes=tuple(each for each in found.outcomes if inside(each)))
            for found in (both.fitted, both.left_out, both.anchored)
        ]
        own, out = parts[0].step, parts[1].step
        assert own
        assert out
        rows.append(
            [
                name,
                str(own.n),
                *(_percent(part.mean_of_sources) for part in parts),
                f"{100 * own.coverage:.0f} / {100 * out.coverage:.0f}",
            ]
        )
    return _table(["class", "rows", "fitted", "left out", "one step measured", "interval"], rows)


def properties_table(names: Sequence[str]) -> Callable[[Both], str]:
    """Errors by some properties of the rows."""

    def table(both: Both) -> str:
        rows = []
        for name in names:
            own, out = both.fitted.step_by(name), both.left_out.step_by(name)
            anchored = both.anchored.step_by(name)
            rows += [_errors(key, own[key], out[key], anchored.get(key)) for key in own]
        return _table(["rows with", *ERROR_HEADER], rows)

    return table


def ranking_table(both: Both) -> str:
    """Order of plans, question by question."""
    own, out = both.fitted.rankings, both.left_out.rankings
    rows = [
        [
            question,
            str(own[question].rows),
            *(f"{each[question].kendall_tau:.2f}" for each in (own, out)),
            *(f"{each[question].kendall_tau_apart:.2f}" for each in (own, out)),
            *(_percent(each[question].top1_regret) for each in (own, out)),
            *(_percent(each[question].plan_regret) for each in (own, out)),
            f"{own[question].top5_hits:.0f} / {out[question].top5_hits:.0f}",
        ]
        for question in own
    ]
    whole = both.fitted.ranking, both.left_out.ranking
    assert whole[0]
    assert whole[1]
    rows.append(
        [
            "**mean**",
            str(whole[0].rows),
            *(f"{each.kendall_tau:.2f}" for each in whole if each),
            *(f"{each.kendall_tau_apart:.2f}" for each in whole if each),
            *(_percent(each.top1_regret) for each in whole if each),
            *(_percent(each.plan_regret) for each in whole if each),
            f"{whole[0].top5_hits:.2f} / {whole[1].top5_hits:.2f}",
        ]
    )
    tau = ["tau", "left out", "tau apart", "left out"]
    regret = ["regret %", "left out", "of plans %", "left out"]
    header = ["question", "runs", *tau, *regret, "best in five"]
    return _table(header, rows)


def fit_table(both: Both) -> str:
    """Fits or runs out of memory, by model."""
    fitted, left_out = both.fitted.outcomes, both.left_out.outcomes
    models = sorted({each.row.model for each in fitted if each.row.ran_out_of_memory})
    rows = []
    for model in (None, *models):
        own, out = (
            fit([each for each in outcomes if model in (None, each.row.model)])
            for outcomes in (fitted, left_out)
        )
        if own is not None and out is not None:
            counts = [own.right, own.false_oom, own.missed_oom, own.at_edge, own.wrong_off_edge]
            shares = [_percent(own.accuracy), _percent(out.accuracy)]
            rows.append([model or "**all**", *map(str, counts), *shares])
    header = ["model", "right", "said not to fit, ran", "said to fit, did not", "at the edge"]
    return _table([*header, "wrong elsewhere", "right %", "left out %"], rows)


def memory_table(both: Both) -> str:
    """Errors of peak memory."""
    left_out = both.left_out.memory_by_source()
    rows = [
        [
            name,
            str(each.n),
            _percent(each.mean),
            _percent(each.bias, signed=True),
            _percent(left_out[name].mean),
            f"{100 * each.coverage:.0f} / {100 * left_out[name].coverage:.0f}",
        ]
        for name, each in both.fitted.memory_by_source().items()
    ]
    return _table(["source", "rows", "error %", "bias", "left out %", "90 % interval"], rows)


def worst_table(both: Both) -> str:
    """The ten rows with the largest errors."""
    with EXPLANATIONS.open(encoding="utf-8", newline="") as file:
        known = {row["id"]: row["explanation"] for row in csv.DictReader(file)}
    left_out = {each.row.id: each.step_ratio for each in both.left_out.outcomes}
    rows = [
        [
            each.row.id,
            f"{each.row.model}, {each.row.n_devices} {each.row.device}, {each.row.precision}",
            f"{each.row.step_s:.3g}",
            f"{each.predicted_step_s:.3g}",
            _percent((each.step_ratio or 1.0) - 1.0, signed=True),
            _percent((left_out[each.row.id] or 1.0) - 1.0, signed=True),
            known.get(each.row.id, "not explained"),
        ]
        for each in both.fitted.furthest(10)
    ]
    header = ["row", "what", "measured s", "predicted s", "error %", "left out %", "why"]
    return _table(header, rows)


def constants_table(_: Both) -> str:
    """Every fitted constant and how far it moves when a source is left out."""
    columns = stored_values()
    fitted = columns.pop("fitted")
    rows = []
    for label, value in fitted.items():
        others = [column[label] for column in columns.values()]
        rows.append([f"`{label}`", f"{value:.3g}", f"{min(others):.3g} - {max(others):.3g}"])
    return _table(["constant", "fitted", "with a source left out"], rows)


TABLES: Mapping[str, Callable[[Both], str]] = {
    "sources": sources_table,
    "classes": classes_table,
    "kinds": properties_table(["kind"]),
    "features": properties_table(["size", "recompute", "tp", "pp", "vpp", "cp", "ep"]),
    "software": properties_table(["software"]),
    "ranking": ranking_table,
    "fit": fit_table,
    "memory": memory_table,
    "worst": worst_table,
    "constants": constants_table,
}


def page(old: str) -> str:
    """Return the page with its tables computed anew."""
    both = Both(validate(), validate(left_out=True), validate(left_out=True, n_anchors=1))

    def fill(match: re.Match[str]) -> str:
        return f"<!-- table: {match[1]} -->\n\n{TABLES[match[1]](both)}\n\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->.*?<!-- end -->", fill, old, flags=re.DOTALL)


def main(*, check: bool) -> int:
    """Write the page, or compare it; return the exit status."""
    old = PAGE.read_text(encoding="utf-8")
    new = page(old)
    if check and new != old:
        print(f"{PAGE.name} is out of date: run python scripts/accuracy.py", file=sys.stderr)
        return 1
    if not check:
        write_atomic(PAGE, new)
    return 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
