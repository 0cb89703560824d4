"""The probability that a plan does not fit, and the margin that a risk asks for."""

import pytest

from simulator.spec.fit import margin_at_risk, misfit_probability, verdict


@pytest.mark.parametrize(
    ("peak", "probability"), [(80.0, 0.5), (80.0 / 1.17, 0.05), (80.0 * 1.17, 0.95), (8.0, 0.0)]
)
def test_ends_of_the_interval_leave_five_percent(peak: float, probability: float) -> None:
    assert misfit_probability(peak, 80.0, 1.17) == pytest.approx(probability, abs=1e-6)


def test_without_an_interval_the_prediction_decides() -> None:
    assert misfit_probability(81.0, 80.0, 1.0) == 1.0
    assert misfit_probability(79.0, 80.0, 1.0) == 0.0


@pytest.mark.parametrize("factor", [1.02, 1.17, 1.3])
@pytest.mark.parametrize("risk", [0.05, 0.25, 0.4])
def test_a_plan_that_leaves_the_margin_has_the_risk(risk: float, factor: float) -> None:
    margin = margin_at_risk(risk, factor)
    assert misfit_probability(1.0 - margin, 1.0, factor) == pytest.approx(risk)


def test_worked_margin() -> None:
    """A quarter is 0.674 of the 1.645 deviations to the end: 1.3^-0.41 = 0.898."""
    assert margin_at_risk(0.25, 1.3) == pytest.approx(0.102, abs=5e-4)


@pytest.mark.parametrize(
    ("probability", "word"), [(0.01, "fits"), (0.3, "edge"), (0.7, "edge"), (0.99, "does not fit")]
)
def test_verdict(probability: float, word: str) -> None:
    assert verdict(probability) == word
