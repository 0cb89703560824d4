"""Published peaks and runs out of memory against what the catalog's software holds."""

import pytest

from simulator.validate import PUBLISHED, Validation
from simulator.validate.judge import judge
from simulator.validate.rows import RunRow, read_rows


@pytest.fixture(scope="module")
def rows() -> list[RunRow]:
    """Those that say something about memory."""
    every = [row for table in PUBLISHED for row in read_rows(table)]
    return [row for row in every if row.measured_mem_gb or row.source_group == "aleph-alpha"]


@pytest.fixture(scope="module")
def published(rows: list[RunRow]) -> Validation:
    return judge(rows)


@pytest.mark.parametrize(
    ("source", "most"), [("simumax-b200", 0.005), ("torchtitan", 0.04), ("internevo", 0.065)]
)
def test_peaks_of_a_source(published: Validation, source: str, most: float) -> None:
    """Mean error of allocated, reserved and used memory."""
    assert published.memory_by_source()[source].mean < most


def test_runs_out_of_memory(published: Validation) -> None:
    """964 configurations of arXiv 2311.05610; what is wrong is at the edge."""
    fit = published.fit
    assert fit is not None
    assert fit.right + fit.false_oom + fit.missed_oom == 964
    assert fit.accuracy > 0.96
    assert fit.at_edge < 0.16 * 964
    assert fit.wrong_off_edge == 0


def test_a_source_left_out(rows: list[RunRow]) -> None:
    """By what the frameworks' code says alone, 93 % of answers are right, and intervals hold."""
    found = judge(rows, left_out=True)
    assert found.memory is not None
    assert found.memory.coverage > 0.95
    assert found.fit is not None
    assert found.fit.accuracy > 0.93
    means = found.memory_by_source()
    assert means["torchtitan"].mean < 0.05
    assert means["internevo"].mean < 0.095
