"""Recorded prices of one device-hour from a file with the columns date, price and currency.

`provider` and `commitment` (on-demand, reserved, spot) may stand beside them, and choose the rows
where a file holds prices of several. The campaign begins on the first date.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from simulator.catalog.rows import Row, read_rows
from simulator.spec.economics import PriceStep
from simulator.spec.errors import InputError

CURRENCY = "USD"


def read_prices(
    path: Path, provider: str | None = None, commitment: str | None = None
) -> tuple[PriceStep, ...]:
    """Return the prices of a file as steps in time: those of a provider and commitment, or all.

    Raises InputError with the line.
    """
    every = read_rows(path, needed=("date", "price", "currency"))
    if not every:
        raise InputError("there is no price in it", where=str(path))
    wanted = (provider, commitment)
    rows = [
        row
        for row in every
        if all(w in (None, o) for w, o in zip(wanted, _offer(row), strict=True))
    ]
    if not rows:
        asked = " ".join(word for word in wanted if word)
        known = ", ".join(sorted({" ".join(_offer(row)) for row in every}))
        raise InputError(
            f"there is no price of {asked} in it", where=str(path), fix=f"it has those of {known}"
        )
    dates = [_date(row) for row in rows]
    _require_one_offer(rows)
    for (where, _), before, date in zip(rows[1:], dates, dates[1:], strict=False):
        if date <= before:
            raise InputError(
                f"{date:%Y-%m-%d} comes after {before:%Y-%m-%d}",
                where=where,
                fix="sort the prices by date, one a date",
            )
    return tuple(
        _step(row, (date - dates[0]).total_seconds()) for row, date in zip(rows, dates, strict=True)
    )


def _date(row: Row) -> datetime:
    where, given = row
    try:
        date = datetime.fromisoformat(str(given["date"]))
    except ValueError:
        raise InputError(
            f"{given['date']!r:.40} is not a date", where=where, fix="write it as 2026-11-25"
        ) from None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def _require_one_offer(rows: list[Row]) -> None:
    first = _offer(rows[0])
    for where, given in rows:
        if given["currency"] != CURRENCY:
            raise InputError(
                f"the price is in {given['currency']!r:.20}, and costs are added up in {CURRENCY}",
                where=where,
                fix="convert the prices",
            )
        if _offer((where, given)) != first:
            raise InputError(
                f"a price of {' '.join(_offer((where, given)))} among those of {' '.join(first)}",
                where=where,
                fix="set economics.provider and economics.commitment",
            )


def _offer(row: Row) -> tuple[str, str]:
    _, given = row
    return str(given.get("provider", "any provider")), str(given.get("commitment", "on-demand"))


def _step(row: Row, from_s: float) -> PriceStep:
    where, given = row
    try:
        return PriceStep.model_validate({"from_s": from_s, "usd_per_device_hour": given["price"]})
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        message = message.replace("Input should", "should", 1)
        raise InputError(f"price: {message}, not {given['price']!r:.40}", where=where) from error
