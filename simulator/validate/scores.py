"""How right the predictions are: errors by any property, ranking of plans, fits or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.validate.outcome import Outcome

RANKING_SIZE = 5
"""Smallest group of plans in which a ranking is scored."""
ALIKE = 1e-9
"""Relative difference up to which two predictions are one."""
NOISE = 0.02
"""Measured times that differ by less than this share have no order that could be predicted: the
same run, repeated with the same software, spreads by up to 1.7 % in the published tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Relative errors of some predictions; fractions, not per cent."""

    n: int
    mean: float
    """Mean of |predicted / measured - 1|."""
    median: float
    p90: float
    bias: float
    """Mean of predicted / measured - 1."""
    coverage: float
    """Share of measured values inside their 90 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """How well predictions order the plans of one question."""

    groups: int
    rows: int
    kendall_tau: float
    """Over all pairs."""
    kendall_tau_apart: float
    """Over the pairs whose measured times differ by the noise or more."""
    top1_regret: float
    """Measured time of the predicted best over the measured best, minus 1; mean over groups.
    Where the prediction does not tell several runs apart (a plan that was run twice), any of them
    may be taken, and it is their mean."""
    worst_regret: float
    plan_regret: float
    """The first regret with the runs of one plan, repeated with the same software, as one run of
    mean time."""
    top5_hits: float
    """Share of groups whose measured best is among the five predicted best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Answers to "does it fit?" against runs that did or ran out of memory."""

    right: int
    false_oom: int
    """Said not to fit, and ran."""
    missed_oom: int
    """Said to fit, and ran out of memory."""
    at_edge: int
    """Of all, those for which the 90 % interval allows both."""
    wrong_off_edge: int
    """Wrong answers that the interval did not allow."""

    @property
    def accuracy(self) -> float:
        """Share of right answers; NaN without any."""
        total = self.right + self.false_oom + self.missed_oom
        return self.right / total if total else float("nan")


def step_errors(outcomes: Iterable[Outcome]) -> Errors | None:
    """Errors of step time; None without any measured one."""
    return _errors([each for each in outcomes if each.step_ratio is not None], "step")


def memory_errors(outcomes: Iterable[Outcome]) -> Errors | None:
    """Errors of peak memory; None without any measured one."""
    return _errors([each for each in outcomes if each.memory_ratio is not None], "memory")


def _errors(outcomes: Sequence[Outcome], what: str) -> Errors | None:
    if not outcomes:
        return None
    error = np.array([getattr(each, f"{what}_ratio") for each in outcomes]) - 1.0
    covered = [each.covered(what) for each in outcomes]
    return Errors(
        n=len(outcomes),
        mean=float(np.abs(error).mean()),
        median=float(np.median(np.abs(error))),
        p90=float(np.quantile(np.abs(error), 0.9)),
        bias=float(error.mean()),
        coverage=float(np.mean(covered)),
    )


def by_property(
    outcomes: Sequence[Outcome], key: Callable[[Outcome], str | None], first: Sequence[str] = ()
) -> dict[str, list[Outcome]]:
    """Outcomes by what `key` says about them, in order of the name but for those that come first;
    None leaves one out.
    """
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        name = key(outcome)
        if name is not None:
            groups.setdefault(name, []).append(outcome)
    return {
        name: groups[name] for name in dict.fromkeys((*first, *sorted(groups))) if name in groups
    }


def ranking(outcomes: Sequence[Outcome]) -> Ranking | None:
    """Score the order of plans over all questions; None where there is none."""
    scores = list(rankings(outcomes).values())
    if not scores:
        return None
    return Ranking(
        groups=len(scores),
        rows=sum(each.rows for each in scores),
        kendall_tau=float(np.mean([each.kendall_tau for each in scores])),
        kendall_tau_apart=float(np.mean([each.kendall_tau_apart for each in scores])),
        top1_regret=float(np.mean([each.top1_regret for each in scores])),
        worst_regret=max(each.worst_regret for each in scores),
        plan_regret=float(np.mean([each.plan_regret for each in scores])),
        top5_hits=float(np.mean([each.top5_hits for each in scores])),
    )


def rankings(outcomes: Sequence[Outcome]) -> dict[str, Ranking]:
    """Score the order of plans that share model, sequence, batch, device and device count."""
    timed = [each for each in outcomes if each.step_ratio is not None]
    groups = by_property(timed, _question)
    return {
        question: _rank(group) for question, group in groups.items() if len(group) >= RANKING_SIZE
    }


def _question(outcome: Outcome) -> str:
    row = outcome.row
    return (
        f"{row.model}, {row.global_batch_seqs} x {row.seq_len} tokens, {row.n_devices} {row.device}"
    )


def _plan(outcome: Outcome) -> str:
    """The cells of a run that say how it was done; and its prediction, for what notes say."""
    row = outcome.row
    mesh = (row.tp, row.pp, row.vpp, row.cp, row.ep, row.dp, row.zero_stage_or_fsdp)
    passes = (row.micro_batch, row.sequence_parallel, row.recompute, row.precision)
    return f"{mesh} {passes} {row.attention_impl} {outcome.software} {outcome.predicted_step_s:.6g}"


def _times(runs: Sequence[Outcome]) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and measured times."""
    predicted = np.array([each.predicted_step_s for each in runs])
    return predicted, np.array([each.row.step_s for each in runs])


def _regret(predicted: np.ndarray, measured: np.ndarray) -> float:
    chosen = predicted <= predicted.min() * (1.0 + ALIKE)
    return float(measured[chosen].mean() / measured.min() - 1.0)


def _rank(group: Sequence[Outcome]) -> Ranking:
    predicted, measured = _times(group)
    order = np.argsort(predicted, kind="stable")
    regret = _regret(predicted, measured)
    plans = [_times(runs) for runs in by_property(group, _plan).values()]
    means = np.array([[each.mean() for each in times] for times in plans])
    return Ranking(
        groups=1,
        rows=len(group),
        kendall_tau=kendall_tau(predicted, measured),
        kendall_tau_apart=kendall_tau(predicted, measured, noise=NOISE),
        top1_regret=regret,
        worst_regret=regret,
        plan_regret=_regret(means[:, 0], means[:, 1]),
        top5_hits=float(measured.argmin() in order[:5]),
    )


def kendall_tau(first: np.ndarray, second: np.ndarray, *, noise: float = 0.0) -> float:
    """Kendall's tau-b of two sequences: agreement of the order of all pairs.

    With `noise`, over the pairs only whose second values differ by at least that share of the
    smaller one.

    References
    ----------
    Kendall, "The treatment of ties in ranking problems", Biometrika 33 (1945).
    """
    upper = np.triu_indices(len(first), 1)
    apart = np.subtract.outer(second, second)[upper]
    kept = np.abs(apart) >= noise * np.minimum.outer(second, second)[upper]
    one = np.sign(np.subtract.outer(first, first))[upper][kept]
    two = np.sign(apart[kept])
    pairs = np.sqrt((one**2).sum() * (two**2).sum())
    return float((one * two).sum() / pairs) if pairs else 1.0


def fit(outcomes: Iterable[Outcome]) -> Fit | None:
    """Confusion of fits and runs out of memory; None where nothing ran out of memory.

    Only sources that report runs out of memory count: others would only show that what ran, ran.
    """
    outcomes = list(outcomes)
    models = {each.row.model for each in outcomes if each.row.ran_out_of_memory}
    judged = [
        each
        for each in outcomes
        if each.row.model in models
        and each.fits is not None
        and (each.row.ran_out_of_memory or not each.row.outcome)
    ]
    if not judged:
        return None
    off_edge = [each for each in judged if not each.at_edge]
    oom = [each for each in judged if each.row.ran_out_of_memory]
    ran = [each for each in judged if not each.row.ran_out_of_memory]
    return Fit(
        right=sum(not each.fits for each in oom) + sum(bool(each.fits) for each in ran),
        false_oom=sum(not each.fits for each in ran),
        missed_oom=sum(bool(each.fits) for each in oom),
        at_edge=len(judged) - len(off_edge),
        wrong_off_edge=sum(each.fits == each.row.ran_out_of_memory for each in off_edge),
    )
