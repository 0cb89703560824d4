"""What if: the best plan of a scenario for every combination of some changed fields."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from planner.result import PredictionSummary
from planner.search import search
from simulator.spec.base import Spec
from simulator.spec.errors import InputError, NoFeasiblePlan
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import Scenario

if TYPE_CHECKING:
    import pandas as pd

MAX_CASES = 500

Load = Callable[[tuple[str, ...]], Scenario]
"""Returns the scenario with `key=value` changes over it."""


class WhatIfCase(Spec):
    """One combination of values and its best plan."""

    values: tuple[str, ...]
    """In the order of the keys."""
    plan: PlanSpec | None
    """None where there is no answer."""
    prediction: PredictionSummary | None
    no_answer: str = ""
    """Why there is none."""


class WhatIf(Spec):
    """What `armillary whatif --json` prints."""

    version: Literal[1] = 1
    keys: tuple[str, ...]
    cases: tuple[WhatIfCase, ...]

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


@dataclass(frozen=True, slots=True)
class Grid:
    """Keys and the values that each of them takes."""

    keys: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, changes: Iterable[str]) -> Grid:
        """Read `key=a,b,c` texts. Raises InputError for one without values and for too many."""
        keys: list[str] = []
        values: list[tuple[str, ...]] = []
        for change in changes:
            key, separator, listed = change.partition("=")
            found = tuple(value.strip() for value in listed.split(",") if value.strip())
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
        grid = cls(tuple(keys), tuple(values))
        n_cases = len(grid.cases())
        if not keys or n_cases > MAX_CASES:
            raise InputError(
                f"{n_cases} combinations" if keys else "nothing is changed",
                where="--set",
                fix=f"give one to {MAX_CASES} combinations, as --set key=a,b,c",
            )
        return grid

    @property
    def settled(self) -> tuple[str, ...]:
        """The changes that all combinations share, as `key=value`."""
        pairs = zip(self.keys, self.values, strict=True)
        return tuple(f"{key}={values[0]}" for key, values in pairs if len(values) == 1)

    def cases(self) -> list[tuple[str, ...]]:
        """Return all combinations; the last key runs fastest."""
        return list(itertools.product(*self.values))


def whatif(load: Load, grid: Grid) -> WhatIf:
    """Plan the scenario anew for every combination of a grid.

    A combination without a feasible plan stays in the table with its reason; one that is bad
    input raises InputError.
    """
    scenarios = [
        load(tuple(f"{key}={value}" for key, value in zip(grid.keys, values, strict=True)))
        for values in grid.cases()
    ]
    cases = [
        _case(values, scenario) for values, scenario in zip(grid.cases(), scenarios, strict=True)
    ]
    return WhatIf(keys=grid.keys, cases=tuple(cases))


def _case(values: tuple[str, ...], scenario: Scenario) -> WhatIfCase:
    try:
        best = search(scenario, top=1).best
    except NoFeasiblePlan as error:
        return WhatIfCase(values=values, plan=None, prediction=None, no_answer=error.message)
    return WhatIfCase(
        values=values, plan=best.plan, prediction=PredictionSummary.of(best.prediction)
    )
