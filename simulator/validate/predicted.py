"""Step time and memory of many cases at once: cases that share all but the plan form one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from simulator.catalog import find_software
from simulator.cost.memory import memory_held
from simulator.cost.plan_table import FloatArray, PlanTable
from simulator.cost.stages import StageLayers
from simulator.cost.step import price_step
from simulator.spec.cluster import ClusterSpec
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec
from simulator.spec.profiles import SoftwareProfile
from simulator.step.closed_form import step_times
from simulator.validate.express import Case
from simulator.validate.software import MemoryMeasure, software_rule

EDGE = 1.1
"""Prediction over capacity up to which a blank recompute cell is taken to mean a lighter kind."""

HEAVIEST_FIRST = ("full", "selective", "none")
"""Kinds of recompute that a blank cell may mean."""

SoftwareFinder = Callable[[str], SoftwareProfile]


class PeakMemory(NamedTuple):
    """What the fullest rank holds, by how it is measured."""

    allocated_bytes: float
    reserved_bytes: float
    used_bytes: float
    interval_factor: float
    """Half-width of the 90 % interval of all of them."""

    def measured_as(self, measure: MemoryMeasure) -> float:
        """Return the bytes of tensors, of the allocator, or of the device."""
        held: float = getattr(self, f"{measure}_bytes")
        return held


def step_seconds(cases: Sequence[Case], find: SoftwareFinder = find_software) -> FloatArray:
    """Step time of every case by the closed form, in s."""
    result = np.empty(len(cases))
    for rows, case, table, division in _tables(cases):
        software = find(case.job.software)
        costs = price_step(case.model, case.cluster, case.job, software, table)
        result[rows] = step_times(costs, table, case.model, division).step_s
    return result


def peak_memory(cases: Sequence[Case], find: SoftwareFinder = find_software) -> list[PeakMemory]:
    """Peak memory of every case."""
    result = np.empty((len(cases), 4))
    for rows, case, table, division in _tables(cases):
        software = find(case.job.software)
        stages = StageLayers.of_division(case.model, table, division) if division else None
        held = memory_held(case.model, case.cluster, case.job, software, table, stages)
        result[rows, :3] = np.stack([held.allocated_bytes, held.reserved_bytes, held.peak_bytes], 1)
        result[rows, 3] = software.memory.interval_factor
    return [PeakMemory(*row) for row in result.tolist()]


def with_recompute(cases: Sequence[Case], find: SoftwareFinder = find_software) -> list[Case]:
    """Fill blank recompute cells that no rule has filled with the lightest kind that fits."""
    blank = [
        case
        for case in cases
        if "recompute" in case.assumed and not software_rule(case.row).blank_recompute
    ]
    chosen: dict[int, Case] = {}
    for kind in HEAVIEST_FIRST:
        lighter = [
            replace(case, plan=case.plan.model_copy(update={"recompute": kind})) for case in blank
        ]
        for case, option, held in zip(blank, lighter, peak_memory(lighter, find), strict=True):
            if held.used_bytes <= EDGE * case.cluster.device.memory_bytes or id(case) not in chosen:
                chosen[id(case)] = option
    return [chosen.get(id(case), case) for case in cases]


def _tables(
    cases: Sequence[Case],
) -> Iterable[tuple[list[int], Case, PlanTable, tuple[int, ...] | None]]:
    """Rows, one of the cases, and the table of plans of all cases that differ in nothing else; and
    how they divide the layers unless evenly.

    A plan with its own division of the layers stands alone.
    """
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, case in enumerate(cases):
        own = case.plan.layers_per_chunk
        key = (id(case.model), id(case.cluster), id(case.job), index if own else -1)
        groups.setdefault(key, []).append(index)
    for rows in groups.values():
        first = cases[rows[0]]
        table = PlanTable.of([cases[row].plan for row in rows])
        yield rows, first, table, first.plan.layers_per_chunk or None


def share_equal_parts(cases: Sequence[Case]) -> list[Case]:
    """Return the cases with one object for equal models, clusters and jobs."""
    models: dict[str, ModelSpec] = {}
    clusters: dict[str, ClusterSpec] = {}
    jobs: dict[str, JobSpec] = {}
    return [
        replace(
            case,
            model=models.setdefault(repr(case.model), case.model),
            cluster=clusters.setdefault(repr(case.cluster), case.cluster),
            job=jobs.setdefault(repr(case.job), case.job),
        )
        for case in cases
    ]
