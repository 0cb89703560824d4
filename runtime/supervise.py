"""Keeps a run going: after a failure the ranks start again from the last whole checkpoint.

On the same mesh where enough nodes are there, at once or when they are back; or on what is left,
under a plan by whoever plans.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

from runtime.failure import AGENT, Cause, RankFailure, rank_name
from runtime.faults import FaultInjector
from runtime.run_dir import RunDir, append_event
from simulator.spec.errors import RunError
from simulator.spec.plan_file import PlanFile
from simulator.spec.reliability import Outage

POLL_S = 0.1

Replan = Callable[[PlanFile, int], PlanFile | None]
"""The plan with which the question of a plan file goes on on so many nodes; None for none."""
Attempt = Callable[[PlanFile, Callable[[], None]], None]
"""Trains under a plan until it is done, and calls the function now and then. Raises RunError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What is done to the ranks, and what is done about it."""

    outages: tuple[Outage, ...] = ()
    """To inject. Every one that stops the run is followed by a restart."""
    max_restarts: int = 0
    """Restarts after failures that were not injected."""
    n_spares: int | None = None
    """Nodes beyond those of the plan; None: a replacement is always at hand."""
    replan: Replan | None = None
    """None: wait until enough nodes are back."""
    clock: Callable[[], float] = time.monotonic


def supervise(
    plan_file: PlanFile, run_dir: RunDir, recovery: Recovery, attempt: Attempt
) -> PlanFile:
    """Attempt until the run is done, and return the plan under which it ended.

    Raises RunError for a failure after which nothing may start again.
    """
    began_s = recovery.clock()
    injector = FaultInjector(recovery.outages, run_dir, lambda: recovery.clock() - began_s)
    nodes = _Nodes(plan_file, recovery.n_spares, injector)
    n_restarts_left = recovery.max_restarts
    for number in itertools.count():
        present, places = _find_place(plan_file, run_dir, nodes, recovery.replan)
        if number > 0:
            append_event(run_dir, "restart", attempt=number, plan=present.plan.label())
        injector.begin(places)
        try:
            attempt(present, injector)
        except RunError as error:
            if not injector.has_struck:
                n_restarts_left -= 1
            goes_on = n_restarts_left >= 0
            _note_failure(run_dir, error, injected=injector.has_struck, goes_on=goes_on)
            if not goes_on:
                raise
        else:
            return present
    raise AssertionError


def _note_failure(run_dir: RunDir, error: RunError, *, injected: bool, goes_on: bool) -> None:
    """Leave an event: what failed, which rank, and where its log lies now."""
    logs = run_dir.logs
    if goes_on and logs.exists():
        logs = run_dir.keep_logs()
    cause: Cause = error.cause if isinstance(error, RankFailure) else "error"
    rank = error.rank if isinstance(error, RankFailure) else None
    append_event(
        run_dir,
        "failure",
        injected=injected,
        cause=cause,
        failed_rank=rank,
        log=f"{logs.name}/{AGENT if rank is None else rank_name(rank)}.log",
        message=error.message.split("\n")[0],
    )


class _Nodes:
    """The nodes of a run, its spares among them."""

    def __init__(self, plan_file: PlanFile, n_spares: int | None, injector: FaultInjector) -> None:
        self._per_node = min(plan_file.scenario.cluster.devices_per_node, plan_file.plan.n_ranks)
        self._n_nodes = None if n_spares is None else self.needed(plan_file) + n_spares
        self.injector = injector

    def needed(self, plan_file: PlanFile) -> int:
        """Return how many nodes the ranks of a plan fill."""
        return -(-plan_file.plan.n_ranks // self._per_node)

    def free(self, n_wanted: int) -> list[int]:
        """Return the first nodes that are up, at most as many as are wanted."""
        down = self.injector.down()
        numbers = itertools.count() if self._n_nodes is None else range(self._n_nodes)
        return list(itertools.islice((node for node in numbers if node not in down), n_wanted))

    def of_ranks(self, plan_file: PlanFile, nodes: list[int]) -> list[int]:
        """Return the node of every rank."""
        return [nodes[rank // self._per_node] for rank in range(plan_file.plan.n_ranks)]


def _find_place(
    plan_file: PlanFile, run_dir: RunDir, nodes: _Nodes, replan: Replan | None
) -> tuple[PlanFile, list[int]]:
    """Return the plan to go on with and the node of every rank, as soon as there are enough."""
    n_needed = nodes.needed(plan_file)
    n_asked: int | None = None
    while True:
        free = nodes.free(n_needed)
        if len(free) == n_needed:
            return plan_file, nodes.of_ranks(plan_file, free)
        if len(free) != n_asked:  # planning takes long, and its answer depends on nothing else
            smaller = replan(plan_file, len(free)) if replan is not None and free else None
            if smaller is not None:
                append_event(run_dir, "replan", n_nodes=len(free), plan=smaller.plan.label())
                return smaller, nodes.of_ranks(smaller, free)
            if n_asked is None:
                append_event(run_dir, "wait", n_nodes=n_needed, n_free=len(free))
            n_asked = len(free)
        time.sleep(min(POLL_S, max(0.0, nodes.injector.next_return_s())))
