"""Pipeline schedules as data: who runs which action on which microbatch, in what order."""

from simulator.schedule.action import Action, Kind
from simulator.schedule.registry import actions_of, make_schedule
from simulator.schedule.schedule import Schedule, read_schedule
from simulator.schedule.timeline import bubble_fraction

__all__ = [
    "Action",
    "Kind",
    "Schedule",
    "actions_of",
    "bubble_fraction",
    "make_schedule",
    "read_schedule",
]
