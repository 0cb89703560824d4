import numpy as np
import pytest

from simulator.campaign.agenda import Agenda
from simulator.campaign.repair import RepairShop, RepairTerms


def terms(**values: float | int | None) -> RepairTerms:
    usual: dict[str, float | int | None] = {
        "mean_s": 100.0,
        "spread": 0.0,
        "success": 1.0,
        "n_crews": None,
    }
    return RepairTerms(**(usual | values))  # type: ignore[arg-type]


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.5])
@pytest.mark.parametrize("success", [1.0, 0.5])
def test_spread_keeps_the_mean_and_failed_repairs_lengthen_it(
    spread: float, success: float
) -> None:
    mean_s = np.full(200_000, 100.0)
    drawn = terms(spread=spread, success=success).draw_many_s(mean_s, np.random.default_rng(2))
    assert drawn.mean() == pytest.approx(100 / success, rel=0.05)
    if spread == 0 and success == 1:
        assert set(drawn) == {100.0}


def test_a_heavy_tail() -> None:
    generator = np.random.default_rng(2)
    mean_s = np.full(100_000, 100.0)
    light, heavy = (terms(spread=s).draw_many_s(mean_s, generator) for s in (0.2, 1.5))
    assert np.quantile(heavy, 0.99) > 4 * np.quantile(light, 0.99)


def returns(shop_terms: RepairTerms, n: int) -> list[tuple[float, int]]:
    agenda = Agenda()
    back: list[tuple[float, int]] = []
    shop = RepairShop(
        agenda,
        shop_terms,
        np.random.SeedSequence(1),
        lambda node: back.append((agenda.now_s, node)),
    )
    for node in range(n):
        shop.take(node, None)
    while len(back) < n:
        agenda.run_next()
    return back


def test_all_nodes_are_repaired_at_once_unless_crews_are_few() -> None:
    assert returns(terms(), 3) == [(100, 0), (100, 1), (100, 2)]
    assert returns(terms(n_crews=2), 5) == [(100, 0), (100, 1), (200, 2), (200, 3), (300, 4)]
