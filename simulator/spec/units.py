"""Human units at the edge: text to SI numbers when reading, SI numbers to text when printing.

Inside the product every number is SI and carries its unit in its name. This closed table is the
only place where `GiB`, `Gb/s` or `30d` mean anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import BeforeValidator, Field

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
    "d": 86400.0,
    "w": 7 * 86400.0,
    "y": 365.25 * 86400.0,
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
    if unit and unit not in units:
        raise ValueError(f"unknown unit {unit!r} for a {kind}; use one of {_unit_list(units)}")
    return float(match[1]) * units.get(unit, 1.0)


def _unit_list(units: dict[str, float]) -> str:
    return ", ".join(unit for unit in list(units)[:14] if unit)


def _reader(units: dict[str, float], kind: str) -> Callable[[object], float]:
    def read(value: object) -> float:
        return parse_quantity(value, units, kind)

    return read


def _read_count(value: object) -> object:
    if isinstance(value, str):
        value = parse_quantity(value, COUNT, "count")
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
Usd = Annotated[float, _quantity(USD, "sum of money")]
Count = Annotated[
    int, BeforeValidator(_read_count, json_schema_input_type=float | str), Field(le=10**18)
]
"""A whole number up to 1e18 that may be written 15.6e12, 64k or 1T."""


def _scaled(value: float, unit: str, digits: int) -> str:
    for prefix, factor in reversed(_DECIMAL.items()):
        if abs(value) >= factor:
            return f"{value / factor:.{digits}g} {prefix}{unit}"
    return f"{value:.{digits}g} {unit}"


def format_bytes(value: float) -> str:
    """Return a size for people, in binary units: '79.6 GiB'."""
    for unit in ("EiB", "PiB", "TiB", "GiB", "MiB", "KiB"):
        factor = BYTES[unit]
        if abs(value) >= factor:
            return f"{value / factor:.1f} {unit}"
    return f"{value:.0f} B"


def format_seconds(value: float) -> str:
    """Return a duration for people: '4.12 s', '53.4 d'."""
    if value == float("inf"):
        return "never"
    for unit, factor in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if abs(value) >= 2 * factor:
            return f"{value / factor:.3g} {unit}"
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.3g} s"


def format_bandwidth(value: float) -> str:
    """Return a bandwidth for people, in bits as networks are sold: '400 Gb/s'."""
    return _scaled(value * 8, "b/s", 3)


def format_flops(value: float) -> str:
    """Return a compute rate for people: '989 TFLOP/s'."""
    return _scaled(value, "FLOP/s", 3)


def format_count(value: float) -> str:
    """Return a count for people: '15.6 T', '405 B', '8,192'."""
    if abs(value) < 100_000:
        return f"{value:,.0f}"
    for unit, factor in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {unit}"
    raise AssertionError("unreachable")


def format_usd(value: float) -> str:
    """Return money for people: '$1.23 M'."""
    for unit, factor in ((" B", 1e9), (" M", 1e6), (" k", 1e3)):
        if abs(value) >= factor:
            return f"${value / factor:.3g}{unit}"
    return f"${value:.3g}"


def format_energy(value_j: float) -> str:
    """Return energy for people: '12.3 GWh'."""
    watt_hours = value_j / 3600
    for unit, factor in (("TWh", 1e12), ("GWh", 1e9), ("MWh", 1e6), ("kWh", 1e3)):
        if watt_hours >= factor:
            return f"{watt_hours / factor:.3g} {unit}"
    return f"{watt_hours:.3g} Wh"
