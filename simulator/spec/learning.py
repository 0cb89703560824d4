"""How weights learn: the hyper-parameters of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, Self

from pydantic import Field

from simulator.spec.base import NonNegative, Positive, Spec
from simulator.spec.units import Count

Decay = Literal["constant", "linear", "cosine"]


class LearningSpec(Spec):
    """Hyper-parameters; what is unset is the choice of whatever executes the plan.

    `armillary run` takes the values of `Learning`. An export leaves the framework's own in place
    and lists them as what the user must set.
    """

    learning_rate: Positive | None = None
    """The largest one, reached at the end of the warm-up."""
    warmup_steps: Count | None = Field(default=None, ge=0)
    """Steps of linear growth from zero."""
    learning_rate_decay: Decay | None = None
    """From the end of the warm-up to the last step of the job."""
    final_learning_rate: NonNegative | None = None
    """The rate that the decay ends with."""
    adam_beta1: float | None = Field(default=None, ge=0, lt=1)
    adam_beta2: float | None = Field(default=None, ge=0, lt=1)
    adam_epsilon: Positive | None = None
    weight_decay: NonNegative | None = None
    max_gradient_norm: Positive | None = None
    """Gradients are scaled down to this norm of the whole model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """Hyper-parameters without gaps; the defaults are those of `armillary run`."""

    learning_rate: float = 1e-3
    warmup_steps: int = 5
    learning_rate_decay: Decay = "constant"
    final_learning_rate: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.95
    adam_epsilon: float = 1e-8
    weight_decay: float = 0.1
    max_gradient_norm: float = 1.0

    @classmethod
    def of(cls, spec: LearningSpec) -> Self:
        """Return what is given, and the default of `armillary run` for what is unset."""
        given = {each.name: getattr(spec, each.name) for each in fields(cls)}
        return cls(**{name: value for name, value in given.items() if value is not None})

    def rate(self, step: int, n_steps: int) -> float:
        """Return the learning rate of a step (from 0) of a job of n_steps."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.learning_rate_decay == "constant":
            return self.learning_rate
        progress = min(1.0, (step + 1 - self.warmup_steps) / max(1, n_steps - self.warmup_steps))
        left = 1 - progress
        if self.learning_rate_decay == "cosine":
            left = (1 + math.cos(math.pi * progress)) / 2
        return self.final_learning_rate + left * (self.learning_rate - self.final_learning_rate)
