"""Schedules: the factor on the learning rate at t / T, one file each. A new one is a file with a ``SCHEDULE``, and its line in
:data:`pipeline.names.Schedule`."""

from collections.abc import Callable

from pipeline import names

SCHEDULES: dict[str, Callable[[float], float]] = names.registered(names.Schedule, __name__, "SCHEDULE")

__all__ = ["SCHEDULES"]
