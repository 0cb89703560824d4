"""Every plan trains like one process: same losses, same gradient norms, in fp32.

`python -m tests.runtime.test_equality` prints the table.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from runtime.rank_job import RankJob
from runtime.ranks import run_ranks
from runtime.result import StepMetrics, read_metrics
from runtime.run_dir import RunDir
from simulator.spec.scenario import RunSpec
from tests.runtime.plans import plan_file
from tests.runtime.plans_drawn import drawn
from tests.runtime.plans_equal import (
    BATCH,
    EIGHT_RANKS,
    FOUR_RANKS,
    MORE_OF_FOUR_RANKS,
    MORE_OF_TWO_RANKS,
    ONE_RANK,
    REFERENCES,
    TWO_RANKS,
    Case,
)

N_DRAWN = 4
DRAWN = drawn(28)
"""The first `N_DRAWN` are tried by every run of the tests, all of them by slow ones."""
ALL_CASES = (
    REFERENCES + ONE_RANK,
    TWO_RANKS + MORE_OF_TWO_RANKS,
    FOUR_RANKS + MORE_OF_FOUR_RANKS + DRAWN,
    EIGHT_RANKS,
)
STEPS = 10
TOLERANCE = 1e-4
"""Relative, of losses and gradient norms."""

pytestmark = pytest.mark.ranks

Runs = Mapping[str, tuple[StepMetrics, ...]]


def train_all(cases: tuple[Case, ...], folder: Path) -> Runs:
    """Train every case in one launch."""
    places = {}
    for case in cases:
        place = RunDir(folder / re.sub(r"\W+", "-", case.name))
        place.root.mkdir()
        run = RunSpec(steps=STEPS, learning_rate=3e-3, warmup_steps=2)
        file = plan_file(case.plan, model=case.model, run=run)
        assert file.scenario.job.batch_sequences == BATCH
        place.plan.write_text(file.model_dump_json())
        places[case.name] = place
    job = RankJob(
        module="runtime.worker",
        arguments=tuple(str(place.plan) for place in places.values()),
        n_ranks=cases[0].plan.n_ranks,
        folder=str(folder),
        timeout_s=120,
    )
    run_ranks(job)
    return {name: read_metrics(place.metrics) for name, place in places.items()}


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest relative differences to one process, over all steps."""

    loss: float
    grad_norm: float


def difference(steps: tuple[StepMetrics, ...], reference: tuple[StepMetrics, ...]) -> Difference:
    assert len(steps) == len(reference) == STEPS
    pairs = list(zip(steps, reference, strict=True))
    return Difference(
        max(abs(step.loss / right.loss - 1) for step, right in pairs),
        max(abs(step.grad_norm / right.grad_norm - 1) for step, right in pairs),
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return train_all(REFERENCES + ONE_RANK, tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return train_all(TWO_RANKS, tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return train_all(FOUR_RANKS + DRAWN[:N_DRAWN], tmp_path_factory.mktemp("four"))


@pytest.fixture(scope="module")
def more_of_two(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return train_all(MORE_OF_TWO_RANKS, tmp_path_factory.mktemp("more-of-two"))


@pytest.fixture(scope="module")
def more_of_four(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return train_all(MORE_OF_FOUR_RANKS + DRAWN[N_DRAWN:], tmp_path_factory.mktemp("more-of-four"))


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return train_all(EIGHT_RANKS, tmp_path_factory.mktemp("eight"))


def check(case: Case, runs: Runs, alone: Runs) -> None:
    found = difference(runs[case.name], alone[f"one process, {case.model.name}"])
    assert found.loss < TOLERANCE
    assert found.grad_norm < TOLERANCE


def named(cases: tuple[Case, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


@named(ONE_RANK)
def test_one_rank(case: Case, alone: Runs) -> None:
    check(case, alone, alone)


@named(TWO_RANKS)
def test_two_ranks(case: Case, two: Runs, alone: Runs) -> None:
    check(case, two, alone)


@named(FOUR_RANKS + DRAWN[:N_DRAWN])
def test_four_ranks(case: Case, four: Runs, alone: Runs) -> None:
    check(case, four, alone)


@pytest.mark.slow
@named(MORE_OF_TWO_RANKS)
def test_more_of_two_ranks(case: Case, more_of_two: Runs, alone: Runs) -> None:
    check(case, more_of_two, alone)


@pytest.mark.slow
@named(MORE_OF_FOUR_RANKS + DRAWN[N_DRAWN:])
def test_more_of_four_ranks(case: Case, more_of_four: Runs, alone: Runs) -> None:
    check(case, more_of_four, alone)


@pytest.mark.slow
@named(EIGHT_RANKS)
def test_eight_ranks(case: Case, eight: Runs, alone: Runs) -> None:
    check(case, eight, alone)


def test_the_runs_learn(alone: Runs) -> None:
    steps = alone["one process, tiny"]
    assert steps[-1].loss < steps[0].loss - 0.5


def table() -> Iterator[str]:
    """Yield the loss-equality table, line by line."""
    yield f"{'plan':34} {'ranks':>5} {'loss':>9} {'grad norm':>9}   largest relative difference"
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, tuple[StepMetrics, ...]] = {}
        for number, cases in enumerate(ALL_CASES):
            place = Path(folder) / str(number)
            place.mkdir()
            runs |= train_all(cases, place)
            for case in cases:
                found = difference(runs[case.name], runs[f"one process, {case.model.name}"])
                yield (
                    f"{case.name:34} {case.plan.n_ranks:5} {found.loss:9.1e} {found.grad_norm:9.1e}"
                )


if __name__ == "__main__":
    for row in table():
        sys.stdout.write(row + "\n")
        sys.stdout.flush()
