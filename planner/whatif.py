"""What if: the best plan of a scenario for every combination of some changed fields."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from planner.parallel import Workers
from planner.result import PredictionSummary
from planner.search import search
from simulator.catalog import find_failure_profile, find_grid, software_of
from simulator.catalog.offers import chosen_offer
from simulator.spec.base import Spec
from simulator.spec.errors import InputError, NoFeasiblePlan
from simulator.spec.files import write_atomic
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import Scenario
from simulator.spec.version import __version__

if TYPE_CHECKING:
    import pandas as pd

MAX_CASES = 10_000

Load = Callable[[tuple[str, ...]], Scenario]
"""Returns the scenario with `key=value` changes over it."""


class Answered(Spec):
    """The best plan of one combination of values."""

    plan: PlanSpec | None
    """None where there is no answer."""
    prediction: PredictionSummary | None
    no_answer: str = ""
    """Why there is none."""


class WhatIfCase(Answered):
    """One combination of values and its best plan."""

    values: tuple[str, ...]
    """In the order of the keys; empty where the scenario's own holds."""


class WhatIf(Spec):
    """What `armillary whatif --json` prints."""

    version: Literal[1] = 1
    keys: tuple[str, ...]
    cases: tuple[WhatIfCase, ...]
    one_at_a_time: bool = False
    """Whether each case changes one key, and the first one none; otherwise all combinations."""

    def to_frame(self) -> pd.DataFrame:
        """Return one row per case: changed values, plan, predictions in SI units."""
        import pandas as pd

        rows = [
            dict(zip(self.keys, case.values, strict=True))
            | {"plan": None if case.plan is None else case.plan.label()}
            | ({} if case.prediction is None else case.prediction.row())
            | {"no_answer": case.no_answer}
            for case in self.cases
        ]
        return pd.DataFrame(rows)


_RANGE = re.compile(r"(-?[\d.]+)(\D*)\.\.(-?[\d.]+)(\D*)/(\d+)")


@dataclass(frozen=True, slots=True)
class Grid:
    """Keys and the values that each of them takes."""

    keys: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    one_at_a_time: bool = False

    @classmethod
    def of(cls, changes: Iterable[str], *, one_at_a_time: bool = False) -> Grid:
        """Read `key=a,b,c` texts; `1T..4T/4` are four values from one to the other.

        Raises InputError for one without values and for too many.
        """
        keys: list[str] = []
        values: list[tuple[str, ...]] = []
        for change in changes:
            key, separator, listed = change.partition("=")
            words = [word.strip() for word in _listed(listed) if word.strip()]
            found = tuple(itertools.chain.from_iterable(map(_spread, words)))
            if not separator or not key.strip() or not found:
                raise InputError(
                    f"{change!r:.60} changes nothing", where="--set", fix="write key=a,b,c"
                )
            if key.strip() in keys:
                raise InputError(
                    f"{key.strip()} is given twice", where="--set", fix="list all its values once"
                )
            keys.append(key.strip())
            values.append(found)
        grid = cls(tuple(keys), tuple(values), one_at_a_time)
        if not keys or grid.n_cases > MAX_CASES:
            raise InputError(
                f"{grid.n_cases:,} cases" if keys else "nothing is changed",
                where="--set",
                fix=f"give one to {MAX_CASES:,} of them, as --set key=a,b,c",
            )
        return grid

    @property
    def n_cases(self) -> int:
        """How many there are, without listing them."""
        sizes = [len(values) for values in self.values]
        return 1 + sum(sizes) if self.one_at_a_time else math.prod(sizes)

    @property
    def settled(self) -> tuple[str, ...]:
        """The changes that all cases share, as `key=value`."""
        if self.one_at_a_time:
            return ()
        pairs = zip(self.keys, self.values, strict=True)
        return tuple(f"{key}={values[0]}" for key, values in pairs if len(values) == 1)

    def cases(self) -> list[tuple[str, ...]]:
        """Return the values of every case.

        All combinations, of which the last key runs fastest; or the scenario as it is, with empty
        values, and then every change by itself.
        """
        if not self.one_at_a_time:
            return list(itertools.product(*self.values))
        none = ("",) * len(self.keys)
        return [none] + [
            (*none[:at], value, *none[at + 1 :])
            for at, values in enumerate(self.values)
            for value in values
        ]

    def changes(self, values: tuple[str, ...]) -> tuple[str, ...]:
        """Return a case as `key=value` texts."""
        pairs = zip(self.keys, values, strict=True)
        return tuple(f"{key}={value}" for key, value in pairs if value)


def _listed(text: str) -> list[str]:
    """Return what stands between the commas that are in no brackets."""
    words, depth = [""], 0
    for letter in text:
        depth = max(depth + (letter in "[{") - (letter in "]}"), 0)
        if letter == "," and depth == 0:
            words.append("")
        else:
            words[-1] += letter
    return words


def _spread(word: str) -> list[str]:
    """Return a value, or the evenly spaced ones of `a..b/n`, in the unit that they have."""
    match = _RANGE.fullmatch(word)
    if match is None:
        return [word]
    no_range = InputError(
        f"{word!r:.60} is no range", where="--set", fix="write 1T..4T/4: both ends, and how many"
    )
    try:
        first, last, n_values = float(match[1]), float(match[3]), int(match[5])
    except ValueError:
        raise no_range from None
    unit = match[4].strip()
    if match[2].strip() not in ("", unit) or not 2 <= n_values <= MAX_CASES:
        raise no_range
    step = (last - first) / (n_values - 1)
    return [f"{first + at * step:.12g}{unit}" for at in range(n_values)]


def whatif(
    load: Load,
    grid: Grid,
    *,
    workers: Workers | None = None,
    cache: AnswerCache | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> WhatIf:
    """Plan the scenario anew for every case of a grid, and tell `progress` how many are done.

    A case without a feasible plan stays in the table with its reason; one that is bad input raises
    InputError. Answers that a cache holds are not computed again, and others are put there.
    """
    scenarios = [load(grid.changes(values)) for values in grid.cases()]
    known = [None if cache is None else cache.get(scenario) for scenario in scenarios]
    open_ = [one for one, found in zip(scenarios, known, strict=True) if found is None]
    answers = (workers or Workers()).run(_answer, open_)
    cases: list[WhatIfCase] = []
    for values, scenario, found in zip(grid.cases(), scenarios, known, strict=True):
        if found is None:
            found = next(answers)
            if cache is not None:
                cache.put(scenario, found)
        cases.append(WhatIfCase(values=values, **dict(found)))
        progress(len(cases), len(scenarios))
    return WhatIf(keys=grid.keys, cases=tuple(cases), one_at_a_time=grid.one_at_a_time)


def _answer(scenario: Scenario) -> Answered:
    try:
        best = search(scenario, top=1).best
    except NoFeasiblePlan as error:
        return Answered(plan=None, prediction=None, no_answer=error.message)
    return Answered(plan=best.plan, prediction=PredictionSummary.of(best.prediction))


@dataclass(frozen=True, slots=True)
class AnswerCache:
    """A folder of answers, each in a file named by the hash of its question."""

    folder: Path

    def get(self, scenario: Scenario) -> Answered | None:
        """Return the answer to a question that was asked before; None where there is none."""
        try:
            return Answered.model_validate_json(self._place(scenario).read_text())
        except (OSError, ValueError):  # not there, or of another version
            return None

    def put(self, scenario: Scenario, answer: Answered) -> None:
        """Keep an answer."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self._place(scenario), answer.model_dump_json() + "\n")

    def _place(self, scenario: Scenario) -> Path:
        asked = [scenario.model_dump_json(exclude={"name"}), *_named(scenario)]
        question = "\n".join([__version__, *asked])
        return self.folder / f"{hashlib.sha256(question.encode()).hexdigest()}.json"


def _named(scenario: Scenario) -> list[str]:
    """Return what the scenario takes from the catalog by name, or by default, as it is there."""
    economics = scenario.economics
    price = chosen_offer(economics, scenario.cluster.device.name)
    profiles: tuple[Spec | None, ...] = (
        software_of(scenario.job),
        find_failure_profile(scenario.reliability.profile),
        find_grid(economics.grid),
        price,
    )
    return ["" if one is None else one.model_dump_json() for one in profiles]
