"""The clock of one replica, and what is due later."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
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
        self._n_put = 0

    def after(self, delay_s: float, call: Callable[[_Subject], None], subject: _Subject) -> None:
        """Call with a subject after some time; calls of one time come in the order of asking."""
        self._n_put += 1
        heappush(self._due, (self.now_s + delay_s, self._n_put, call, subject))
        self.next_s = self._due[0][0]

    def run_next(self) -> None:
        """Let time pass until something is due, and do it."""
        self.now_s, _, call, subject = heappop(self._due)
        self.next_s = self._due[0][0] if self._due else inf
        call(subject)
