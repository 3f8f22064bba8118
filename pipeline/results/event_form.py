"""What an event of the records looks like, so that a file, which may be somebody else's, holds nothing else."""

import re
from typing import Any

from pipeline.received import is_inside

Event = dict[str, Any]
HEAD = "folder"
STATUSES = ("FINISHED", "FAILED", "KILLED")

KEYS: dict[str, tuple[str, ...]] = {
    "start": (),
    "series": ("name",),
    "image": ("key", "step"),
    "artifact": ("path", "folder"),
    "dataset": ("name",),
    "model": ("name",),
    "tags": (),
    "result": (),
}
"""what, beside the run, tells an event from others of its kind"""
_NUMBER = int | float | None
_FIELDS: dict[str, dict[str, Any]] = {
    HEAD: {"id": str},
    "start": {"run": str, "name": str, "parent": str | None, "params": dict, "tags": dict},
    "metrics": {"run": str, "step": int, "values": dict},
    "series": {"run": str, "name": str, "steps": list, "values": list},
    "image": {"run": str, "path": str, "key": str, "step": int},
    "artifact": {"run": str, "path": str, "folder": str},
    "dataset": {"run": str, "name": str, "digest": str, "sizes": dict},
    "model": {"run": str, "name": str, "path": str, "facts": dict, "sha256": str},
    "tags": {"run": str, "tags": dict},
    "result": {"run": str, "row": dict},
    "anew": {"run": str},
    "end": {"run": str, "status": str},
}


def key_of(event: Event) -> tuple | None:
    """By what the same thing told again is known; None for what may be told any number of times."""
    kind, run = event["kind"], event.get("run")
    if kind == "metrics":
        return (kind, run, event["step"], *sorted(event["values"]))
    return (kind, run, *(event[name] for name in KEYS[kind])) if kind in KEYS else None


def is_event(event: Event, number: int) -> bool:
    """Whether an event is one, of this number: its fields, and no path out of the folder."""
    kind, fields = event["kind"], _FIELDS.get(event["kind"], {})
    if event["n"] != number or not isinstance(event["time"], int):
        return False
    if not all(isinstance(event[name], hint) for name, hint in fields.items()):
        return False
    if (kind == HEAD) != (number == 0) or (kind == HEAD and not re.fullmatch("[0-9a-f]{32}", event["id"])):
        return False
    if kind == "end" and event["status"] not in STATUSES:
        return False
    return _are_numbers(event) and all(is_inside(event[name]) for name in ("path", "folder") if name in fields)


def _are_numbers(event: Event) -> bool:
    """Whether all that is to be a number is one, and every list of a curve as long as the others."""
    kind, values = event["kind"], event.get("values", [])
    numbers = [event["time"], event.get("step", 0), event.get("at", 0)]
    whole = [event["time"], event.get("at", 0)]
    if kind == "metrics":
        numbers += values.values()
    elif kind == "series":
        times = event.get("times", event["steps"])
        if not isinstance(times, list) or not len(times) == len(values) == len(event["steps"]):
            return False
        numbers, whole = [*numbers, *values, *event["steps"], *times], [*whole, *times]
    return all(isinstance(number, int) and number >= 0 for number in whole) and all(
        isinstance(number, _NUMBER) and _is_held(number) for number in numbers
    )


def _is_held(number: float | int | None) -> bool:
    """Whether it is one of 64 bits, as databases have them."""
    return not isinstance(number, int) or abs(number) < 2**63
