"""Silent corruption of a rank's weights, done on purpose when the injector signals it."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

SIGNAL = signal.SIGUSR1


class Corruption:
    """Waits for the signal, and spoils a weight before the next step."""

    def __init__(self) -> None:
        self._is_due = False
        signal.signal(SIGNAL, self._note)

    def _note(self, _number: int, _frame: object) -> None:
        self._is_due = True

    def strike(self, weights: Iterable[nn.Parameter]) -> None:
        """Fill the largest of this rank's weights with NaN where the signal has come."""
        if not self._is_due:
            return
        import torch
        from torch.distributed.tensor import DTensor

        self._is_due = False
        local = [w.to_local() if isinstance(w, DTensor) else w for w in weights]
        with torch.no_grad():
            max(local, key=torch.Tensor.numel).fill_(float("nan"))
