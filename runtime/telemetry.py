"""Writes what a run does while it does it: metrics.jsonl, TensorBoard, events."""

from __future__ import annotations

import os
import resource
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Self

import torch

from runtime.result import StepMetrics
from runtime.run_dir import RunDir

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def peak_memory_bytes(device: torch.device) -> float:
    """Return this rank's peak: memory reserved on a GPU, or the process's resident memory."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_reserved(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


class MetricsLog:
    """The step log of a run, kept by rank 0; on other ranks it writes nothing."""

    def __init__(self, run_dir: RunDir, *, writes: bool) -> None:
        self._descriptor: int | None = None
        self._board: SummaryWriter | None = None
        if writes:
            from torch.utils.tensorboard import SummaryWriter

            self._descriptor = os.open(
                run_dir.metrics, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644
            )
            self._board = SummaryWriter(run_dir.tensorboard)

    def write(self, metrics: StepMetrics) -> None:
        """Append one step."""
        if self._descriptor is None or self._board is None:
            return
        os.write(self._descriptor, (metrics.to_json() + "\n").encode())
        for name, value in asdict(metrics).items():
            if name != "step":
                self._board.add_scalar(name, value, metrics.step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        if self._board is not None:
            self._board.close()
