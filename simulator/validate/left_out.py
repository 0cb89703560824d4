"""Predictions for published runs by constants that had no part of their source in them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from simulator.cost.plan_table import FloatArray
from simulator.validate.constants import FITTED, stored_constants
from simulator.validate.express import Case
from simulator.validate.memory_constants import software_without
from simulator.validate.predicted import PeakMemory, peak_memory, step_seconds


def left_out_step_seconds(cases: Sequence[Case]) -> FloatArray:
    """Step time of every case with the constants fitted without its source, in s.

    A source that has no part in the fits is predicted as the catalog does.
    """
    stored = stored_constants()
    sources = np.array([case.row.source_group for case in cases])
    result = np.empty(len(cases))
    for source in sorted(set(sources)):
        rows = np.flatnonzero(sources == source).tolist()
        constants = stored.get(str(source), stored[FITTED])
        own = constants.changed([cases[row] for row in rows])
        result[rows] = step_seconds(own, constants.find_software)
    return result


def left_out_peak_memory(cases: Sequence[Case]) -> list[PeakMemory]:
    """Peak memory of every case with what is known without its source's peaks."""
    sources = [case.row.source_group for case in cases]
    result: dict[int, PeakMemory] = {}
    for source in sorted(set(sources)):
        rows = [index for index, name in enumerate(sources) if name == source]
        found = peak_memory([cases[row] for row in rows], partial(software_without, source))
        result.update(zip(rows, found, strict=True))
    return [result[index] for index in range(len(cases))]
