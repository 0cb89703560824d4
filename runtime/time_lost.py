"""Where the time of a run went, in the classes of the simulated campaign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from runtime.blows import blow_of
from runtime.result import StepMetrics
from runtime.run_dir import Event
from simulator.campaign.losses import Loss

OTHER = "other"
"""Between steps, and after the last one; no class of the campaign.

A step takes as long as on the slowest rank. Where one rank is the slowest of a step and another of
the next, the two overlap, and what is left for this class may be negative.
"""


@dataclass(slots=True)
class _Attempt:
    """From one launch of the ranks to the next."""

    launch_s: float
    last_s: float
    """Its last sign of life."""
    training_s: float | None = None
    """None: it never came to train."""
    stop_s: float | None = None
    """What it was stopped by; None: nothing that was noted."""
    saves_s: list[tuple[float, float]] = field(default_factory=list)
    """End and duration of checkpoints."""
    wait_s: float | None = None
    """When it was found that nodes are missing for the next attempt."""


def time_lost(lines: Sequence[StepMetrics], events: Sequence[Event]) -> dict[str, float]:
    """Return the share of a run's time per class of loss; exactly the rest is goodput.

    Only `other` can be negative. `lines` are all steps in the order in which they were measured,
    those done twice among them.
    """
    attempts = _attempts(events)
    end_s = max((event.time_s for event in events if event.event == "end"), default=None)
    if not attempts or end_s is None or end_s < attempts[-1].launch_s:
        return {}
    lost = dict.fromkeys((*(loss.value for loss in Loss), OTHER), 0.0)
    counted = {line.step: line for line in lines}
    for number, attempt in enumerate(attempts):
        is_last = number == len(attempts) - 1
        stopped_s = attempt.last_s if attempt.stop_s is None else attempt.stop_s
        stop_s = end_s if is_last else stopped_s
        next_s = end_s if is_last else attempts[number + 1].launch_s
        began_s = min(stop_s, stop_s if attempt.training_s is None else attempt.training_s)
        start = Loss.INITIALISATION if number == 0 else Loss.RESTART
        lost[start] += began_s - attempt.launch_s
        own = [line for line in lines if attempt.launch_s < line.end_s <= next_s]
        redone_s = sum(line.step_s for line in own if counted[line.step] is not line)
        saved_s = sum(duration_s for _, duration_s in attempt.saves_s)
        last_s = max((began_s, *(line.end_s for line in own), *(s for s, _ in attempt.saves_s)))
        cut_s = 0.0 if is_last else max(0.0, stop_s - last_s)
        lost[Loss.LOST_WORK] += redone_s + cut_s
        lost[Loss.CHECKPOINT_STALL] += saved_s
        trained_s = stop_s - began_s
        lost[OTHER] += trained_s - sum(line.step_s for line in own) - saved_s - cut_s
        if not is_last:
            waits_from_s = next_s if attempt.wait_s is None else attempt.wait_s
            lost[Loss.RESTART] += waits_from_s - stop_s
            lost[Loss.WAITING_FOR_SPARES] += next_s - waits_from_s
    total_s = end_s - attempts[0].launch_s
    return {name: seconds / total_s for name, seconds in lost.items()}


def _attempts(events: Sequence[Event]) -> list[_Attempt]:
    attempts: list[_Attempt] = []
    for event in sorted(events, key=lambda event: event.time_s):
        if event.event == "launch":
            attempts.append(_Attempt(launch_s=event.time_s, last_s=event.time_s))
        if not attempts:
            continue
        present = attempts[-1]
        present.last_s = event.time_s
        if event.event == "training":  # every rank says so; steps count from the first on
            present.training_s = present.training_s or event.time_s
        elif event.event == "checkpoint":
            present.saves_s.append((event.time_s, event.duration_s))
        elif event.event == "wait":
            present.wait_s = event.time_s
        elif present.stop_s is None and _stops(event):
            present.stop_s = event.time_s
    return attempts


def _stops(event: Event) -> bool:
    """Return whether a run stands still from here on: a fault is felt before it is noticed."""
    if event.event != "fault":
        return event.event == "failure"
    blow = blow_of(event.cause)
    return blow.stops and (blow.on_agent or bool(event.ranks))
