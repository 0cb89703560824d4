"""Windows of torch's profiler around the passes of some steps; every rank notes its own split."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import torch
import torch.distributed as dist
from torch.profiler import ProfilerActivity, profile

from runtime.json_lines import append_line
from runtime.mesh import Mesh
from runtime.run_dir import RunDir, append_event
from runtime.step_split import Span, StepSplit, split_passes

STRAGGLES = 1.3
"""Computing longer than the others of the same stage by this factor."""
FIRST_STEP = 3
"""Earlier steps fill caches."""


class StepProfiler:
    """Splits the passes of every so many steps, on a CPU; every rank has one."""

    def __init__(self, run_dir: RunDir, mesh: Mesh, *, every: int) -> None:
        """`every`: steps from one window to the next; 0 for none."""
        self._run_dir = run_dir
        self._mesh = mesh
        self._every = every if mesh.device_type == "cpu" else 0
        self._passes: dict[str, float] | None = None

    def _is_due(self, step: int) -> bool:
        return self._every > 0 and step >= FIRST_STEP and (step - FIRST_STEP) % self._every == 0

    @contextmanager
    def window(self, step: int) -> Iterator[None]:
        """Watch what is done inside where the step is due."""
        self._passes = None
        if not self._is_due(step):
            yield
            return
        with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler:
            yield
        self._passes = self._split(profiler)

    def _split(self, profiler: profile) -> dict[str, float]:
        assert profiler.profiler is not None
        results = profiler.profiler.kineto_results
        assert results is not None
        events = results.events()
        began_ns = min(event.start_ns() for event in events)
        main = next(event.start_thread_id() for event in events if event.name().startswith("aten"))
        spans = [
            Span(
                name=event.name(),
                start_s=(event.start_ns() - began_ns) * 1e-9,
                end_s=(event.start_ns() + event.duration_ns() - began_ns) * 1e-9,
                on_main_thread=event.start_thread_id() == main == event.end_thread_id(),
            )
            for event in events
        ]
        end_s = max(span.end_s for span in spans if span.on_main_thread)
        return split_passes(spans, self._mesh.plan, end_s=end_s)

    def write(self, step: int, *, data_s: float, optimizer_s: float) -> None:
        """Note the split of a step that was watched, and who straggles; every rank calls it."""
        if self._passes is None:
            return
        split = StepSplit(
            step=step,
            rank=dist.get_rank(),
            data_s=data_s,
            optimizer_s=optimizer_s,
            **self._passes,
        )
        append_line(self._run_dir.splits, asdict(split))
        mine = torch.tensor([float(self._mesh.place("pp")), split.compute_s], dtype=torch.float64)
        everyone = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
        dist.all_gather(everyone, mine)
        if dist.get_rank() == 0:
            self._name_stragglers(step, [(int(pair[0]), float(pair[1])) for pair in everyone])

    def _name_stragglers(self, step: int, computed: list[tuple[int, float]]) -> None:
        for rank, (stage, compute_s) in enumerate(computed):
            peers = [
                seconds
                for other, (at, seconds) in enumerate(computed)
                if at == stage and other != rank
            ]
            if peers and compute_s > STRAGGLES * statistics.median(peers):
                append_event(
                    self._run_dir,
                    "straggler",
                    rank=0,
                    step=step,
                    straggler=rank,
                    factor=compute_s / statistics.median(peers),
                )
