"""What a record is in MLflow's words: points of metrics, names and texts that it allows, requests of a size that it takes."""

import json
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from pipeline.digests import digest_of_json
from pipeline.results.measures import short
from pipeline.results.records import Event

NAME_LENGTH = 250
"""characters of a parameter's, a metric's or a tag's name"""
Point = tuple[str, float | int | None, int, int]
"""metric, value, time in ms, step"""


def digest(event: Event) -> str:
    """What tells an event from any other."""
    return digest_of_json(event)


def when(event: Event) -> int:
    """When what an event tells of happened, in ms since epoch."""
    return event.get("at", event["time"])


def _metrics_points(event: Event) -> list[Point]:
    return [(name, value, when(event), event["step"]) for name, value in event["values"].items()]


def _series_points(event: Event) -> list[Point]:
    times = event.get("times", [event["time"]] * len(event["steps"]))
    points = zip(event["values"], times, event["steps"], strict=True)
    return [(event["name"], value, at, step) for value, at, step in points]


POINTS: dict[str, Callable[[Event], list[Point]]] = {"metrics": _metrics_points, "series": _series_points}


def groups(events: list[Event]) -> Iterator[list[Event]]:
    """The events in order, neighbours of one run whose points can share a request together."""
    for _, group in groupby(events, lambda e: (e["kind"], e["run"]) if e["kind"] in POINTS else e["n"]):
        yield list(group)


def batches(items: list, size: int) -> Iterator[list]:
    """The items in requests of at most ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def flatten(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested names joined by dots."""
    flat = {}
    for key, value in row.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def name_of(key: str) -> str:
    """The key in the characters that MLflow allows, and as many of them."""
    return re.sub(r"[^\w.\- :/]", "_", key)[:NAME_LENGTH]


def image_key(key: str) -> str:
    """An image's name, as MLflow's image grid writes it."""
    return re.sub(r"[^a-zA-Z0-9_\-. ~]", "_", key.replace("/", "~"))


def link_to_run(words: str, run: str) -> str:
    """A link, in a description, to another run of the same folder: which page that is, the sender knows (:func:`linked`)."""
    return f"[{words}](run:{run})"


def linked(description: str, page_of: Callable[[str], str | None]) -> str:
    """A description whose links lead to the pages of runs; one to a run that has none is only its words."""

    def page(found: re.Match[str]) -> str:
        place = page_of(found["run"])
        return f"[{found['words']}]({place})" if place else found["words"]

    return re.sub(r"\[(?P<words>[^\[\]]*)\]\(run:(?P<run>[^()\s]*)\)", page, description)


def text(value: Any) -> str:
    """A value as MLflow, which knows texts alone, is to hold it."""
    return value if isinstance(value, str) else json.dumps(short(value), ensure_ascii=False)
