import math
from dataclasses import replace

import numpy as np
import pytest

from simulator.cost.uncertainty import anchored_scale
from simulator.validate.judge import PUBLISHED, judge
from simulator.validate.rows import RunRow, read_rows


def rows_of(source: str, count: int) -> list[RunRow]:
    rows = [row for row in read_rows(PUBLISHED[0]) if row.source_group == source and row.step_s]
    return rows[:count]


def test_one_step_counts_for_half_of_its_bias() -> None:
    """0.10^2 / (0.10^2 + 0.10^2) = 0.5; 3 / 4 of it after three steps."""
    assert anchored_scale([1.2]) == pytest.approx(math.sqrt(1.2))
    assert anchored_scale([1.2] * 3) == pytest.approx(1.2**0.75)


def test_a_step_that_is_far_off_counts_as_two_spreads() -> None:
    assert anchored_scale([3.0]) == pytest.approx(math.exp(0.1))


def test_many_steps_count_whole_and_their_scatter_cancels() -> None:
    assert anchored_scale([1.2] * 100) == pytest.approx(1.2, rel=3e-3)
    assert anchored_scale([1.25, 0.8]) == pytest.approx(1.0)


def test_anchors_move_their_source_and_are_not_scored() -> None:
    rows = rows_of("torchtitan", 12)
    plain, anchored = judge(rows), judge(rows, n_anchors=2)
    picked = [outcome for outcome in anchored.outcomes if outcome.anchor]
    assert len(picked) == 2
    assert all(outcome.step_ratio is None for outcome in picked)
    ratios = [
        after.predicted_step_s / before.predicted_step_s
        for before, after in zip(plain.outcomes, anchored.outcomes, strict=True)
        if before.predicted_step_s and after.predicted_step_s
    ]
    measured = [
        before.row.step_s / before.predicted_step_s
        for before, after in zip(plain.outcomes, anchored.outcomes, strict=True)
        if after.anchor and before.row.step_s and before.predicted_step_s
    ]
    np.testing.assert_allclose(ratios, anchored_scale(measured))
    assert plain.step is not None
    assert anchored.step is not None
    assert anchored.step.n == plain.step.n - 2


def test_a_source_of_one_row_has_nothing_to_score_and_is_left_alone() -> None:
    (outcome,) = judge(rows_of("internevo", 1), n_anchors=1).outcomes
    assert not outcome.anchor


def test_left_out_predictions_differ_only_for_sources_in_the_fits() -> None:
    rows = rows_of("internevo", 3)
    own = [replace(row, source_group="mine") for row in rows]
    for group, alike in ((rows, False), (own, True)):
        plain, left_out = judge(group).outcomes[0], judge(group, left_out=True).outcomes[0]
        assert plain.predicted_step_s is not None
        same = plain.predicted_step_s == pytest.approx(left_out.predicted_step_s, rel=0.003)
        assert same is alike
