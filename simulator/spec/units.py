"""Human units at the edge: text to SI numbers when reading, SI numbers to text when printing.

Inside the product every number is SI and carries its unit in its name. This closed table is the
only place where `GiB`, `Gb/s` or `30d` mean anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import BeforeValidator, Field

DAY_S = 86400.0
_DECIMAL = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60}
_PREFIX = _DECIMAL | _BINARY

SECONDS = {
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "ns": 1e-9,
    "min": 60.0,
    "m": 60.0,
    "h": 3600.0,
    "d": DAY_S,
    "w": 7 * DAY_S,
    "y": 365.25 * DAY_S,
}
BYTES = {f"{prefix}B": factor for prefix, factor in _PREFIX.items()}
BYTES_PER_S = {f"{prefix}B/s": factor for prefix, factor in _PREFIX.items()} | {
    f"{prefix}{bit}": factor / 8
    for prefix, factor in _DECIMAL.items()
    for bit in ("b/s", "bit/s", "bps")
}
FLOPS_PER_S = {
    f"{prefix}{unit}": factor
    for prefix, factor in _DECIMAL.items()
    for unit in ("FLOPS", "FLOP/s", "flop/s")
}
WATTS = {f"{prefix}W": factor for prefix, factor in _DECIMAL.items()}
COUNT = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12, "Q": 1e15}
USD = {"USD": 1.0, "$": 1.0, **COUNT}

_DATE = re.compile(r"\d{4}-\d{2}(-\d{2}.*)?")
_QUANTITY = re.compile(r"\s*([-+]?(?:\d[\d_]*)?(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*([^\d\s]\S*)?\s*")


def parse_quantity(value: object, units: dict[str, float], kind: str) -> float:
    """Return the SI value of a number or of text such as '400 Gb/s'.

    A bare number is taken as SI already. Raises ValueError with the accepted units.
    """
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is not a {kind}")
    if isinstance(value, (int, float)):
        return float(value)
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) and len(value) < 64 else None
    if match is None or not match[1] or match[1] in "+-":
        raise ValueError(f"not a {kind}; write a number with one of {_unit_list(units)}")
    unit = match[2] or ""
    if _DATE.fullmatch(str(value)):
        raise ValueError(f"a date is not a {kind}; write a number with one of {_unit_list(units)}")
    if unit and unit not in units:
        raise ValueError(f"unknown unit {unit!r} for a {kind}; use one of {_unit_list(units)}")
    return float(match[1]) * units.get(unit, 1.0)


def _unit_list(units: dict[str, float]) -> str:
    return ", ".join(unit for unit in list(units)[:14] if unit)


def _reader(units: dict[str, float], kind: str) -> Callable[[object], float]:
    def read(value: object) -> float:
        return parse_quantity(value, units, kind)

    return read


def _read_usd(value: object) -> float:
    """Return dollars; the sign may stand before or behind the number, as in `$2M`."""
    if isinstance(value, str):
        value = value.strip().removeprefix("$")
    return parse_quantity(value, USD, "sum of money")


def _read_count(value: object) -> object:
    if isinstance(value, str):
        value = parse_quantity(value, COUNT, "count")
        whole = round(value) if abs(value) < 2**63 else value
        value = whole if abs(value - whole) <= 1e-12 * abs(value) else value  # 65.6B, in floats
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _quantity(units: dict[str, float], kind: str) -> BeforeValidator:
    """Return the reader of a quantity; its JSON Schema tells editors that text is welcome too."""
    return BeforeValidator(_reader(units, kind), json_schema_input_type=float | str)


Seconds = Annotated[float, _quantity(SECONDS, "duration")]
Bytes = Annotated[float, _quantity(BYTES, "size")]
BytesPerSecond = Annotated[float, _quantity(BYTES_PER_S, "bandwidth")]
FlopsPerSecond = Annotated[float, _quantity(FLOPS_PER_S, "compute rate")]
Watts = Annotated[float, _quantity(WATTS, "power")]
Usd = Annotated[float, BeforeValidator(_read_usd, json_schema_input_type=float | str)]
Count = Annotated[
    int, BeforeValidator(_read_count, json_schema_input_type=float | str), Field(le=10**18)
]
"""A whole number up to 1e18 that may be written 15.6e12, 64k or 1T."""


def _scaled(value: float, unit: str, digits: int) -> str:
    for prefix, factor in reversed(_DECIMAL.items()):
        if abs(value) >= factor:
            return f"{value / factor:.{digits}g} {prefix}{unit}"
    return f"{value:.{digits}g} {unit}"


@dataclass(frozen=True, slots=True)
class _Scale:
    """The units in which people read a quantity, each with its SI value, largest first."""

    units: tuple[tuple[str, float], ...]
    smallest: tuple[str, float] = ("", 1.0)
    """The unit of what is less than all of them."""

    def rung(self, like: float) -> tuple[str, float]:
        """Return the unit in which a value is written."""
        for unit, factor in self.units:
            if abs(like) >= factor * (2 if unit in _FROM_TWO else 1):
                return unit, factor
        return self.smallest


_FROM_TWO = {"d", "h", "min"}
"""90 min say more than 1.5 h."""
_BYTES = _Scale(
    tuple((unit, BYTES[unit]) for unit in ("EiB", "PiB", "TiB", "GiB", "MiB", "KiB")), ("B", 1.0)
)
_TIME = _Scale(
    tuple((unit, SECONDS[unit]) for unit in ("d", "h", "min", "s", "ms", "us")), ("s", 1.0)
)
_USD = _Scale((("B", 1e9), ("M", 1e6), ("k", 1e3)))
_ENERGY = _Scale((("TWh", 3.6e15), ("GWh", 3.6e12), ("MWh", 3.6e9), ("kWh", 3.6e6)), ("Wh", 3.6e3))
_COUNTS = _Scale((("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)))


class Format(Protocol):
    """Writes a quantity for people, in the unit that suits `like` where that is given."""

    def __call__(self, value: float, /, *, like: float | None = None) -> str: ...


def format_bytes(value: float, *, like: float | None = None) -> str:
    """Return a size for people, in binary units: '79.6 GiB'."""
    unit, factor = _BYTES.rung(value if like is None else like)
    return f"{value / factor:.{0 if unit == 'B' else 1}f} {unit}"


def format_seconds(value: float, *, like: float | None = None, digits: int = 3) -> str:
    """Return a duration for people: '4.12 s', '53.4 d'."""
    if value == float("inf"):
        return "never"
    unit, factor = _TIME.rung(value if like is None else like)
    return f"{value / factor:.{digits}g} {unit}"


def format_bandwidth(value: float) -> str:
    """Return a bandwidth for people, in bits as networks are sold: '400 Gb/s'."""
    return _scaled(value * 8, "b/s", 3)


def format_flops(value: float) -> str:
    """Return a compute rate for people: '989 TFLOP/s'."""
    return _scaled(value, "FLOP/s", 3)


def format_power(value_w: float) -> str:
    """Return a power for people: '12.3 MW'."""
    return _scaled(value_w, "W", 3)


def format_count(value: float, *, like: float | None = None) -> str:
    """Return a count for people: '15.6 T', '405 B', '8,192'."""
    shown = value if like is None else like
    if abs(shown) < 100_000:
        return f"{value:,.0f}"
    unit, factor = _COUNTS.rung(shown)
    return f"{value / factor:.3g} {unit}"


def format_usd(value: float, *, like: float | None = None, digits: int = 3) -> str:
    """Return money for people: '$1.23 M'."""
    unit, factor = _USD.rung(value if like is None else like)
    return f"${value / factor:.{digits}g} {unit}".rstrip()


def format_energy(value_j: float, *, like: float | None = None) -> str:
    """Return energy for people: '12.3 GWh'."""
    unit, factor = _ENERGY.rung(value_j if like is None else like)
    return f"{value_j / factor:.3g} {unit}"


def format_probability(value: float) -> str:
    """Return a probability for people, who know none to better than a percent: 'over 99 %'."""
    percent = 100 * value
    shown = "under 1" if percent < 0.5 else "over 99" if percent > 99.5 else f"{percent:.0f}"
    return f"{shown} %"


def format_share(value: float) -> str:
    """Return a share for people, with a decimal where it is not whole: '10 %', '10.2 %'."""
    return f"{100 * value:.3g} %"


class PreciseFormat(Format, Protocol):
    """Writes a quantity with as many digits as one wants."""

    def __call__(self, value: float, /, *, like: float | None = None, digits: int = 3) -> str: ...


def format_apart(first: float, second: float, form: PreciseFormat) -> tuple[str, str]:
    """Return two amounts, with so many digits that different ones look different."""
    pairs = ((form(first, digits=n), form(second, digits=n)) for n in range(3, 10))
    return next((pair for pair in pairs if pair[0] != pair[1]), (form(first), form(second)))


def format_range(low: float, high: float, form: Format) -> str:
    """Return a range for people, in one unit: '52.5 to 91.4 d', '$83.1 to $145 M'."""
    first, last = form(low, like=high if math.isfinite(high) else low), form(high)
    number, _, unit = first.rpartition(" ")
    return f"{number if number and last.endswith(' ' + unit) else first} to {last}"
