import pytest

from simulator.spec.prediction import Interval
from simulator.validate.outcome import Outcome
from simulator.validate.rows import RunRow
from simulator.validate.scores import fit, kendall_tau, ranking, step_errors


def outcome(predicted: float, measured: float) -> Outcome:
    return Outcome(
        row=RunRow(model="m", measured_step_s=measured),
        predicted_step_s=predicted,
        interval_step_s=Interval(low=predicted / 1.1, high=predicted * 1.1),
    )


def test_errors_are_relative_to_the_measurement() -> None:
    errors = step_errors([outcome(1.2, 1.0), outcome(0.9, 1.0), outcome(2.0, 2.0)])
    assert errors is not None
    assert errors.n == 3
    assert errors.mean == pytest.approx(0.1)
    assert errors.bias == pytest.approx(0.1 / 3)
    assert errors.median == pytest.approx(0.1)
    assert errors.coverage == pytest.approx(1 / 3)  # 1.0 lies above 0.9 x 1.1


def test_ranking_by_hand() -> None:
    measured = [1.0, 2.0, 3.0, 4.0, 5.0]
    predicted = [2.5, 2.0, 3.0, 4.0, 5.0]
    scores = ranking([outcome(p, m) for p, m in zip(predicted, measured, strict=True)])
    assert scores is not None
    assert scores.top1_regret == 1.0  # the chosen one takes 2.0 where 1.0 was possible
    assert scores.kendall_tau == pytest.approx((9 - 1) / 10)
    assert scores.top5_hits == 1.0


def test_runs_that_are_predicted_alike_are_chosen_alike() -> None:
    """The plan that takes 2 s was run again and took 4 s: 3 s are to be expected of it."""
    runs = [(1.0, 4.0), (1.0, 2.0), (3.0, 2.0), (4.0, 5.0), (5.0, 6.0)]
    scores = ranking([outcome(p, m) for p, m in runs])
    assert scores is not None
    assert scores.top1_regret == 0.5
    assert scores.plan_regret == 0.5  # (4 + 2) / 2 over the 2 s of another plan


def test_repeated_runs_of_a_plan_are_one_plan() -> None:
    """The best plan ran twice, once slowly: that is no wrong choice."""
    runs = [(1.0, 4.0), (1.0, 2.0), (3.0, 3.5), (4.0, 5.0), (5.0, 6.0)]
    scores = ranking([outcome(p, m) for p, m in runs])
    assert scores is not None
    assert scores.top1_regret == 0.5
    assert scores.plan_regret == 0.0


def test_pairs_within_the_noise_have_no_order() -> None:
    """Of six pairs, the inverted one differs by 1 % in what was measured."""
    import numpy as np

    measured, predicted = np.array([1.0, 1.01, 2.0, 3.0]), np.array([1.1, 1.0, 2.0, 3.0])
    assert kendall_tau(predicted, measured) == pytest.approx((5 - 1) / 6)
    assert kendall_tau(predicted, measured, noise=0.02) == 1.0
    assert kendall_tau(predicted, measured, noise=0.005) == pytest.approx((5 - 1) / 6)


def test_kendall_tau_of_opposite_orders() -> None:
    import numpy as np

    assert kendall_tau(np.arange(6.0), -np.arange(6.0)) == -1.0


def test_fit_counts_only_models_that_ran_out_of_memory() -> None:
    def judged(fits: bool, *, oom: bool, model: str = "m") -> Outcome:
        return Outcome(row=RunRow(model=model, oom=oom), fits=fits)

    found = fit(
        [
            judged(True, oom=False),
            judged(False, oom=False),
            judged(True, oom=True),
            judged(False, oom=True),
            judged(True, oom=False, model="another"),
        ]
    )
    assert found is not None
    assert (found.right, found.false_oom, found.missed_oom) == (2, 1, 1)
    assert found.accuracy == 0.5
