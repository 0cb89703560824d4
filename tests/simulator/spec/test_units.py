"""Human units become SI numbers, and bits never become bytes."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from simulator.spec import units


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (units.BytesPerSecond, "400 Gb/s", 50e9),
        (units.BytesPerSecond, "400Gbps", 50e9),
        (units.BytesPerSecond, "50 GB/s", 50e9),
        (units.BytesPerSecond, "1 GiB/s", 2**30),
        (units.Bytes, "80 GiB", 80 * 2**30),
        (units.Bytes, "80 GB", 80e9),
        (units.Bytes, 17, 17),
        (units.Seconds, "60d", 60 * 86400),
        (units.Seconds, "2 us", 2e-6),
        (units.Seconds, "1.5 h", 5400),
        (units.FlopsPerSecond, "989 TFLOPS", 989e12),
        (units.Watts, "1.2 kW", 1200),
        (units.Usd, "5M", 5e6),
        (units.Usd, "3.99 USD", 3.99),
        (units.Count, "65.6B", 65_600_000_000),
        (units.Count, "1T", 10**12),
        (units.Count, "15.6e12", 15_600_000_000_000),
        (units.Count, "64k", 64_000),
        (units.Count, 16e6, 16_000_000),
    ],
)
def test_text_to_si(kind: Any, text: object, value: float) -> None:
    assert TypeAdapter(kind).validate_python(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (units.BytesPerSecond, "400 GB"),
        (units.Bytes, "80 Gb/s"),
        (units.Bytes, "eighty"),
        (units.Bytes, ""),
        (units.Bytes, "-"),
        (units.Bytes, True),
        (units.Bytes, None),
        (units.Bytes, [1]),
        (units.Seconds, "3 fortnights"),
        (units.Count, "1.5"),
        (units.Count, "1e19"),
        (units.Count, math.inf),
        (units.Count, "9" * 100),
    ],
)
def test_what_is_no_quantity(kind: Any, text: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(text)


@given(st.text(max_size=70))
def test_any_text_is_a_quantity_or_an_error(text: str) -> None:
    try:
        assert isinstance(units.parse_quantity(text, units.BYTES, "size"), float)
    except ValueError as error:
        assert "size" in str(error)  # noqa: PT017 - either outcome is fine, a crash is not


@given(st.floats(min_value=1e-9, max_value=1e18))
def test_formats_name_a_unit(value: float) -> None:
    assert units.format_bytes(value).endswith("B")
    assert units.format_bandwidth(value).endswith("b/s")
    assert units.format_flops(value).endswith("FLOP/s")
    assert units.format_energy(value).endswith("Wh")
    assert units.format_usd(value).startswith("$")
    assert units.format_seconds(value).split()[1] in {"d", "h", "min", "s", "ms", "us"}


def test_formats_by_example() -> None:
    assert units.format_bytes(79.6 * 2**30) == "79.6 GiB"
    assert units.format_bytes(2e18) == "1.7 EiB"
    assert units.format_bandwidth(50e9) == "400 Gb/s"
    assert units.format_seconds(53.4 * 86400) == "53.4 d"
    assert units.format_seconds(0.004) == "4 ms"
    assert units.format_count(8192) == "8,192"
    assert units.format_count(15.6e12) == "15.6 T"
    assert units.format_usd(1.234e6) == "$1.23 M"
    assert units.format_energy(3.6e12) == "1 GWh"
    assert units.format_energy(360) == "0.1 Wh"


def test_a_range_has_one_unit() -> None:
    assert units.format_range(92.8, 155.4, units.format_seconds) == "1.55 to 2.59 min"
    assert units.format_range(0.9, 1.1, units.format_seconds) == "0.9 to 1.1 s"
    assert units.format_range(83.1e6, 145e6, units.format_usd) == "$83.1 to $145 M"
    assert units.format_range(2, 3, units.format_count) == "2 to 3"
    assert units.format_range(90e3, 2e6, units.format_count) == "0.09 to 2 M"
    assert units.format_range(1.0, float("inf"), units.format_seconds) == "1 s to never"


@pytest.mark.parametrize("text", ["$2M", "2M", "2 M", "$ 2M", "2000000", "2e6 USD", "2000000$"])
def test_dollars_are_written_as_one_likes(text: str) -> None:
    assert TypeAdapter(units.Usd).validate_python(text) == 2e6


def test_different_amounts_look_different() -> None:
    assert units.format_apart(750_400.0, 750_000.0, units.format_usd) == ("$750.4 k", "$750 k")
    assert units.format_apart(722_000.0, 730_000.0, units.format_usd) == ("$722 k", "$730 k")
    assert units.format_apart(5.0, 5.0, units.format_usd) == ("$5", "$5")


def test_a_share_has_a_decimal_where_it_is_not_whole() -> None:
    assert [units.format_share(share) for share in (0.1, 0.1023, 0.0)] == ["10 %", "10.2 %", "0 %"]
