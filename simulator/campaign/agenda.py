"""The clock of one replica, and what is due later."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any, TypeVar

_Subject = TypeVar("_Subject")


class Agenda:
    """Calls in the order of their time: a heap of numbers instead of a process for each."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.next_s = inf
        """When something is due."""
        self._due: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._numbers = count()

    def after(self, delay_s: float, call: Callable[[_Subject], None], subject: _Subject) -> None:
        """Call with a subject after some time; calls of one time come in the order of asking."""
        due_s = self.now_s + delay_s
        heappush(self._due, (due_s, next(self._numbers), call, subject))
        if due_s < self.next_s:  # noqa: PLR1730  # min() is slower, and this is the inner loop
            self.next_s = due_s

    def run_next(self) -> None:
        """Let time pass until something is due, and do it."""
        due = self._due
        self.now_s, _, call, subject = heappop(due)
        self.next_s = due[0][0] if due else inf
        call(subject)
