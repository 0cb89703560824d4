"""Outages of a trace, done to real ranks: the same trace that a campaign is simulated with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from runtime.blows import Blow, blow_of
from runtime.run_dir import AGENT_EVENT, RunDir, append_event, event_lines
from simulator.spec.reliability import Outage


@dataclass(slots=True)
class _Fault:
    """An outage that has begun."""

    outage: Outage
    blow: Blow
    struck_pids: set[int] = field(default_factory=set)
    is_over: bool = False


class FaultInjector:
    """Does to the ranks of a node what its outages say, and knows which nodes are down.

    To be called again and again while ranks run. Time counts from the start of the first attempt.
    """

    def __init__(
        self, outages: Sequence[Outage], run_dir: RunDir, clock: Callable[[], float]
    ) -> None:
        self._outages = sorted(outages, key=lambda outage: (outage.start_s, outage.node))
        self._faults: list[_Fault] = []
        self._run_dir = run_dir
        self._clock = clock
        self._events = event_lines(run_dir)
        self._events.new()  # those of runs before
        self._node_of_rank: tuple[int, ...] = ()
        self._pids: dict[tuple[int | None, str], int] = {}
        """Process by rank (None: the agent) and by an event that it has had."""
        self._has_struck = False

    @property
    def has_struck(self) -> bool:
        """Whether a node of the present attempt was struck."""
        return self._has_struck

    def begin(self, node_of_rank: Sequence[int]) -> None:
        """Start to watch an attempt whose ranks stand on these nodes."""
        self._node_of_rank = tuple(node_of_rank)
        self._has_struck = False
        for fault in self._faults:  # what a restart mends is mended
            fault.is_over |= fault.blow.relieve is None
        self._events.new()
        self._pids = {}

    def down(self) -> frozenset[int]:
        """Return the nodes that an outage has taken away and not given back."""
        return frozenset(outage.node for outage in self._away())

    def next_return_s(self) -> float:
        """Return the seconds until the first of the nodes that are down is back; 0 when none is."""
        now_s = self._clock()
        return min((outage.end_s - now_s for outage in self._away()), default=0.0)

    def _away(self) -> list[Outage]:
        self._start()
        now_s = self._clock()
        begun = [fault.outage for fault in self._faults if fault.blow.takes_node]
        return [outage for outage in begun if now_s < outage.end_s]

    def __call__(self) -> None:
        """Begin the outages that are due, go on with those that last, and end the others."""
        self._start()
        self._learn_pids()
        now_s = self._clock()
        for fault in self._faults:
            if fault.is_over:
                continue
            pids = set(self._targets(fault))
            # One that ends as it begins is felt once.
            if fault.blow.relieve is not None and fault.struck_pids and now_s >= fault.outage.end_s:
                fault.is_over = True
                self._each(fault.blow.leave, fault.struck_pids & pids)
            elif fault.blow.pulses and fault.struck_pids:
                self._each(fault.blow.leave, fault.struck_pids & pids)
                fault.struck_pids.clear()
            else:
                self._each(fault.blow.hit, pids - fault.struck_pids)
                fault.struck_pids |= pids

    def _start(self) -> None:
        now_s = self._clock()
        while (
            len(self._faults) < len(self._outages)
            and (outage := self._outages[len(self._faults)]).start_s <= now_s
        ):
            fault = _Fault(outage, blow_of(outage.cause))
            self._faults.append(fault)
            ranks = self._ranks_on(outage.node)
            append_event(
                self._run_dir,
                "fault",
                node=outage.node,
                ranks=ranks,
                cause=outage.cause,
                until_s=outage.end_s,
            )
            is_felt = fault.blow.on_agent or bool(ranks)
            self._has_struck |= is_felt
            fault.is_over = not is_felt

    def _ranks_on(self, node: int) -> list[int]:
        return [rank for rank, place in enumerate(self._node_of_rank) if place == node]

    def _learn_pids(self) -> None:
        for event in self._events.new():
            if event.event == AGENT_EVENT or (event.rank is not None and event.event != "end"):
                self._pids[event.rank, event.event] = event.pid
            elif event.rank is not None:  # another process may get its number
                self._pids = {at: pid for at, pid in self._pids.items() if at[0] != event.rank}
                for fault in self._faults:  # it may have been stopped after its last word
                    if event.pid in fault.struck_pids:
                        fault.blow.leave(event.pid)

    def _targets(self, fault: _Fault) -> Iterator[int]:
        """Yield the processes that a fault strikes, as far as they have come far enough."""
        ranks = self._ranks_on(fault.outage.node)
        wanted = (
            [(None, AGENT_EVENT)] if fault.blow.on_agent else [(r, fault.blow.at) for r in ranks]
        )
        yield from (self._pids[at] for at in wanted if at in self._pids)

    @staticmethod
    def _each(act: Callable[[int], None], pids: set[int]) -> None:
        for pid in pids:
            act(pid)
