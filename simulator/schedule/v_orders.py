"""Schedules whose chunks lie in a V: rank r holds chunk r and, on the way back, 2 pp - 1 - r."""

from __future__ import annotations

from collections import Counter, deque
from typing import cast

from simulator.schedule.action import Action, Kind
from simulator.schedule.orders import Shape
from simulator.spec.errors import InputError


class _Row:
    """The row of one rank while it is written: passes by kind, microbatches in order."""

    def __init__(self, shape: Shape, rank: int) -> None:
        self.chunks = (rank, 2 * shape.pp - 1 - rank)
        self.actions: list[Action] = []
        self.count: Counter[tuple[int, str]] = Counter()
        self.put_off: deque[Action] = deque()
        """Gradients of weights that are not computed yet, oldest first."""

    def add(self, *passes: str) -> None:
        """Append passes: F0 is the first chunk's next forward, B1 the second one's next backward.

        I puts off its gradients of weights; W stands for the oldest of those, if there is one.
        """
        for each in passes:
            if each == "W":
                self.actions += [self.put_off.popleft()] if self.put_off else []
                continue
            kind, which = each[0], int(each[1])
            direction = "F" if kind == "F" else "B"
            microbatch = self.count[which, direction]
            self.count[which, direction] += 1
            self.actions.append(Action(self.chunks[which], cast("Kind", kind), microbatch))
            if kind == "I":
                self.put_off.append(Action(self.chunks[which], "W", microbatch))


def zero_bubble_v(shape: Shape, rank: int) -> list[Action]:
    """No idle time where forward, input and weight gradients take equally long (ZB-V).

    References
    ----------
    Qi et al. 2023, "Zero bubble pipeline parallelism", section 6;
    pytorch/pytorch:torch/distributed/pipelining/schedules.py `ScheduleZBVZeroBubble`.
    """
    pp = shape.pp
    n_microbatches = max(2 * pp - 1, shape.n_microbatches)  # the rest is taken out at the end
    row = _Row(shape, rank)
    row.add(*["F0"] * (2 * (pp - rank) - 1))
    row.add(*["F1", "F0"] * rank)
    row.add(*["F1", "I1", "W"] * (pp - rank))
    while row.count[1, "F"] < n_microbatches:
        if row.count[0, "F"] < n_microbatches:
            row.add("F0")
        row.add("I0", "W", "F1", "I1", "W")
    row.add(*["I0", "I1"] * rank)
    # Gradients of weights that are put off from here on: those of the first chunk come first.
    second = [each for each in row.put_off if each.chunk == row.chunks[1]]
    row.put_off = deque(each for each in row.put_off if each.chunk == row.chunks[0])
    row.add(*["I0", "W"] * (pp - rank))
    order = [*row.actions, *second, *row.put_off]
    return [action for action in order if action.microbatch < shape.n_microbatches]


def dualpipe_v(shape: Shape, rank: int) -> list[Action]:
    """A forward and a backward of opposite directions side by side; here one after the other.

    References
    ----------
    DeepSeek-AI 2024, "DeepSeek-V3 technical report", section 3.2.1; deepseek-ai/DualPipe;
    pytorch/pytorch:torch/distributed/pipelining/schedules.py `ScheduleDualPipeV`, whose pairs
    (OVERLAP_F_B) torch too runs one after the other unless told how to overlap them.
    """
    pp = shape.pp
    if shape.n_microbatches < 2 * pp:
        raise InputError(
            f"dualpipe-v needs at least 2 x pp = {2 * pp} microbatches, and "
            f"n_microbatches={shape.n_microbatches}",
            fix="take more microbatches or fewer stages",
        )
    ahead, back = pp - rank - 1, rank + 1
    row = _Row(shape, rank)
    row.add(*["F0"] * (2 * ahead))
    row.add(*["F0", "F1"] * back)
    row.add(*["I1", "W", "F1"] * ahead)
    row.add(*["F0", "B1", "F1", "B0"] * (shape.n_microbatches - 2 * pp + back))
    row.add(*["B1", "F1", "B0"] * ahead)
    last = ["1", "0"] * back
    row.add(*("B" + which for which in last[:back]), *("I" + which for which in last[back:]))
    row.add(*["W", "I0"] * ahead)
    row.add(*["W"] * back)
    return row.actions
