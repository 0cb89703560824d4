"""Predictions against a table of published or own measurements."""

from simulator.validate.judge import PUBLISHED, Validation, validate
from simulator.validate.outcome import Outcome

__all__ = ["PUBLISHED", "Outcome", "Validation", "validate"]
