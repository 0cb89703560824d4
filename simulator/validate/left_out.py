"""Predictions for published runs by constants that had no part of their source in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.cost.plan_table import FloatArray
from simulator.validate.constants import FITTED, stored_constants
from simulator.validate.express import Case
from simulator.validate.predicted import step_seconds


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
