"""Cells of published rows that cannot be as printed, and what the measurements say instead."""

from __future__ import annotations

from dataclasses import dataclass, replace

from simulator.validate.rows import RunRow


@dataclass(frozen=True, slots=True)
class Correction:
    """A column, its value for some rows, and why."""

    ids: tuple[str, ...]
    column: str
    value: object
    reason: str


CORRECTIONS = (
    Correction(
        ("aleph-alpha-0384", "aleph-alpha-0385"),
        "sequence_parallel",
        True,
        "without it they would hold about 90 GiB of 80",
    ),
    Correction(
        ("torchtitan-0033", "torchtitan-0034", "torchtitan-0035", "torchtitan-0036"),
        "recompute",
        "full",
        "33-34 GB cannot hold half of the activations",
    ),
)

OUTLIERS = (
    "nvidia-nemo-dgxc-0166",  # DeepSeek-V3, release 25.05: 35-60 % slower than later releases
    "nvidia-nemo-dgxc-0167",
    "nvidia-nemo-dgxc-0168",
    "nvidia-nemo-dgxc-0169",
)
"""Rows that no constant is fitted to. They are predicted and scored like all others."""


def corrected(row: RunRow) -> RunRow:
    """Return the row with its corrections."""
    changes = {each.column: each.value for each in CORRECTIONS if row.id in each.ids}
    return replace(row, **changes) if changes else row  # type: ignore[arg-type]


def corrections_of(row: RunRow) -> list[str]:
    """Return the columns of the row that were corrected."""
    return [each.column for each in CORRECTIONS if row.id in each.ids]
