"""What runs beside compute hides as far as there is compute."""

import numpy as np
import pytest

from simulator.cost.exchange import Exchange
from simulator.cost.layer import with_exchanges

NOTHING = Exchange.of(np.zeros(1), 0.0)


@pytest.mark.parametrize(
    ("compute_s", "tp_s", "cp_s", "shown_tp_s", "shown_cp_s"),
    [
        (10.0, 4.0, 8.0, 1.0, 4.0),  # 3 + 4 beside 10: only what stands alone shows
        (2.0, 4.0, 0.0, 2.0, 0.0),  # 3 beside 2: one of them late
        (3.5, 4.0, 8.0, 2.5, 6.0),  # 3 + 4 beside 3.5: half of both late
    ],
)
def test_late_is_what_is_longer_than_the_compute_beside_it(
    compute_s: float, tp_s: float, cp_s: float, shown_tp_s: float, shown_cp_s: float
) -> None:
    tp, cp = Exchange.of(np.array([tp_s]), 0.75), Exchange.of(np.array([cp_s]), 0.5)
    time = with_exchanges(np.array([compute_s]), tp, cp, NOTHING)
    assert time.tp_s == pytest.approx(shown_tp_s)
    assert time.cp_s == pytest.approx(shown_cp_s)
    assert time.total_s == pytest.approx(compute_s + shown_tp_s + shown_cp_s)
