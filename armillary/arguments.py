"""What the Python functions accept; anything else is answered in one line.

The command line cannot get these wrong: there, words are read by their options.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.spec.errors import InputError

if TYPE_CHECKING:
    from simulator.spec.scenario import Scenario

SCENARIO = "a scenario, what `plan` returned, or the path of a scenario file"
PLAN = "a plan file or a scenario (its path or the value), or what `plan` returned"


def not_accepted(value: object, accepted: str) -> InputError:
    """Return the error for an argument of another kind."""
    return InputError(f"{_shown(value)} is not {accepted}")


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"this {type(value).__name__}"


def some_scenario(value: object, overrides: object = ()) -> Scenario:
    """Return the scenario that an argument is or names, with `key=value` changes over it."""
    from planner.result import SearchResult
    from simulator.catalog.scenario_file import load_scenario, with_overrides
    from simulator.spec.plan_file import PlanFile
    from simulator.spec.scenario import Scenario

    changes = some_texts(overrides, "key=value texts")
    if isinstance(value, SearchResult | PlanFile):
        value = value.scenario
    if isinstance(value, Scenario):
        return with_overrides(value, changes)
    if isinstance(value, str | Path):
        return load_scenario(value, overrides=changes)
    raise not_accepted(value, SCENARIO)


def some_texts(value: object, what: str) -> tuple[str, ...]:
    """Return one text or several as several."""
    if isinstance(value, str):
        return (value,)
    texts = tuple(value) if isinstance(value, Iterable) else (None,)
    if not all(isinstance(text, str) for text in texts):
        raise not_accepted(value, what)
    return texts


def some_path(value: object, name: str) -> Path:
    """Return the path that an argument is."""
    if isinstance(value, str | Path):
        return Path(value)
    raise InputError(f"{name}: {_shown(value)} is not a path")


def some_text(value: object, name: str) -> str | None:
    """Return a text; None is none."""
    if value is None or isinstance(value, str):
        return value
    raise InputError(f"{name}: {_shown(value)} is not a text")


def some_rank(value: object, name: str = "rank") -> int | None:
    """Return the rank of a plan; None is none."""
    return None if value is None else some_count(value, name)


def some_counts(value: object, name: str) -> tuple[int, ...]:
    """Return one whole number or several as several."""
    values = tuple(value) if isinstance(value, Iterable) else (value,)
    return tuple(some_count(each, name) for each in values)


def some_share(value: object, name: str) -> float | None:
    """Return a number between 0 and 1; None is none."""
    if value is None or (isinstance(value, float | int) and 0 < value <= 1):
        return value
    raise InputError(f"{name}: {_shown(value)} is not a number above 0, at most 1")


def some_count(value: object, name: str, least: int = 1) -> int:
    """Return a whole number."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    raise InputError(f"{name}: {_shown(value)} is not a whole number from {least} on")
