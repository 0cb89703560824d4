"""Outages of a trace, done to real ranks: the same trace that a campaign is simulated with."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress

from runtime.run_dir import RunDir, append_event, event_lines
from simulator.spec.reliability import Outage


class FaultInjector:
    """Kills the ranks of a node when its outage begins, and knows which nodes are down.

    To be called again and again while ranks run. Time counts from the start of the first attempt.
    """

    def __init__(
        self, outages: Sequence[Outage], run_dir: RunDir, clock: Callable[[], float]
    ) -> None:
        self._outages = sorted(outages, key=lambda outage: (outage.start_s, outage.node))
        self._n_begun = 0
        self._run_dir = run_dir
        self._clock = clock
        self._events = event_lines(run_dir)
        self._events.new()  # those of runs before
        self._node_of_rank: tuple[int, ...] = ()
        self._pids: dict[int, int] = {}
        self._struck: set[int] = set()

    @property
    def has_struck(self) -> bool:
        """Whether a node of the present attempt was struck."""
        return bool(self._struck)

    def begin(self, node_of_rank: Sequence[int]) -> None:
        """Start to watch an attempt whose ranks stand on these nodes."""
        self._node_of_rank = tuple(node_of_rank)
        self._struck = set()
        self._events.new()
        self._pids = {}

    def down(self) -> frozenset[int]:
        """Return the nodes whose outage has begun and not ended."""
        self._strike()
        now_s = self._clock()
        begun = self._outages[: self._n_begun]
        return frozenset(outage.node for outage in begun if now_s < outage.end_s)

    def next_return_s(self) -> float:
        """Return the seconds until the first of the nodes that are down is back; 0 when none is."""
        now_s = self._clock()
        begun = self._outages[: self._n_begun]
        return min((o.end_s - now_s for o in begun if now_s < o.end_s), default=0.0)

    def __call__(self) -> None:
        """Begin the outages that are due, and kill the ranks of their nodes."""
        self._strike()
        for event in self._events.new():
            if event.rank is not None and event.event == "start":
                self._pids[event.rank] = event.pid
            elif event.rank is not None and event.event == "end":
                self._pids.pop(event.rank, None)  # another process may get it
        for rank, node in enumerate(self._node_of_rank):
            if node in self._struck and rank in self._pids:
                with suppress(ProcessLookupError):  # it has ended by itself
                    os.kill(self._pids.pop(rank), signal.SIGKILL)

    def _strike(self) -> None:
        now_s = self._clock()
        while self._n_begun < len(self._outages) and self._outages[self._n_begun].start_s <= now_s:
            outage = self._outages[self._n_begun]
            self._n_begun += 1
            append_event(
                self._run_dir, "fault", node=outage.node, cause=outage.cause, until_s=outage.end_s
            )
            if outage.node in self._node_of_rank:
                self._struck.add(outage.node)
