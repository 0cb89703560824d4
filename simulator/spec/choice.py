"""What one decision of a plan may be: a value, one of several, or all that a rule leaves.

One form for every field: `tp: 8`, `tp: [4, 8]`, `tp: {min: 2, max: 8, exclude: [4]}`.
"""

from __future__ import annotations

from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from simulator.spec.base import Spec
from simulator.spec.recompute import RecomputeName
from simulator.spec.schedules import ScheduleName
from simulator.spec.units import Count

T = TypeVar("T")
R = TypeVar("R", bound=Spec)


class Within(Spec):
    """Numbers between bounds, both included, without some."""

    min: Count | None = None
    max: Count | None = None
    exclude: tuple[Count, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min={self.min} is more than max={self.max}")
        return self


class Except(Spec):
    """All names but some."""

    exclude: tuple[str, ...]


class ExceptSchedules(Except):
    """All schedules but some."""

    exclude: tuple[ScheduleName, ...]


class ExceptRecomputes(Except):
    """All kinds of recompute but some."""

    exclude: tuple[RecomputeName, ...]


def _some(values: tuple[T, ...]) -> tuple[T, ...]:
    if not values:
        raise ValueError("allows nothing")
    return values


def _form(value: Any) -> str:
    if isinstance(value, dict | Spec):
        return "rule"
    return "several" if isinstance(value, list | tuple) else "one"


_AtLeastOne = Annotated[Count, Field(ge=1)]
_Stage = Annotated[int, Field(ge=0, le=3)]
_One, _Several, _Rule = Tag("one"), Tag("several"), Tag("rule")
_SOME = AfterValidator(_some)
_BY_FORM = Discriminator(_form)

_Choice = Annotated[
    Annotated[T, _One] | Annotated[tuple[T, ...], _SOME, _Several] | Annotated[R, _Rule], _BY_FORM
]
"""One value of type T, several of them, or a rule R over them."""

Numbers = _Choice[_AtLeastOne, Within]
Stages = _Choice[_Stage, Within]
ScheduleNames = _Choice[ScheduleName, ExceptSchedules]
RecomputeNames = _Choice[RecomputeName, ExceptRecomputes]


def listed(choice: object) -> tuple[Any, ...]:
    """Return the values that a choice names; none where it is a rule or unset."""
    if choice is None or isinstance(choice, Spec):
        return ()
    return choice if isinstance(choice, tuple) else (choice,)


def choice_text(choice: object) -> str:
    """Return a choice as one writes it in a file."""
    if isinstance(choice, Spec):
        parts = choice.model_dump(exclude_defaults=True).items()
        return "{" + ", ".join(f"{name}: {choice_text(value)}" for name, value in parts) + "}"
    if isinstance(choice, tuple):
        return "[" + ", ".join(map(str, choice)) + "]"
    return str(choice)
