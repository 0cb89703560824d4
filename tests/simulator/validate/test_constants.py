import pytest

from simulator.catalog import find_device
from simulator.validate.constants import (
    FITTED,
    Constants,
    catalog_value,
    stored_constants,
    stored_values,
)
from simulator.validate.free_constants import PARAMETERS, Parameter
from simulator.validate.judge import PUBLISHED
from simulator.validate.rows import read_rows

GEMM = Parameter("device", ("h100-sxm-80gb",), "gemm_fraction", 0.7, 0.1)


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda each: each.label)
def test_the_catalog_holds_what_was_fitted(parameter: Parameter) -> None:
    fitted = stored_values()[FITTED][parameter.label]
    for name in parameter.names:
        assert catalog_value(parameter, name) == pytest.approx(fitted, rel=1e-6), name


def test_every_source_was_left_out_once() -> None:
    columns = set(stored_values()) - {FITTED}
    timed = {row.source_group for row in read_rows(PUBLISHED[0]) if row.step_s}
    assert columns == timed


def test_constants_stay_near_what_was_expected() -> None:
    """A fit that runs off says that the structure is wrong, not the constant."""
    for label, value in stored_values()[FITTED].items():
        (parameter,) = (each for each in PARAMETERS if each.label == label)
        assert parameter.prior / 5 < value < parameter.prior * 5, label


def test_changed_constants_are_seen_by_clusters_and_software() -> None:
    software = Parameter("software", ("internevo",), "overlap.dp", 0.6, 0.8, "logit")
    constants = Constants.of([GEMM, software], [0.5, 0.25])
    assert constants.find_software("internevo").overlap.dp == 0.25
    assert constants.find_software("nanotron").overlap.dp == 0.5
    assert find_device("h100-sxm-80gb").efficiency.gemm_fraction != 0.5


def test_stored_constants_cover_all_parameters() -> None:
    assert {FITTED, "aleph-alpha", "torchtitan"} <= set(stored_constants())
