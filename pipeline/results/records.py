"""The records of a run: a log of events, one JSON object per line, synced before anything else hears of them.

They are the source of truth: tables, figures and MLflow (``mirror``) are made from them and can be made again. Every kind
of event may be given twice (a resumed stage replays what it did): the second time nothing is written. Where work is done
again, because its result was lost, what was recorded of it is replaced: the log is written anew as a whole, or not at all.

Numbers that are not finite are written as null, so that the file is JSON to every reader.
"""

import fcntl
import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, SupportsFloat

from pipeline.errors import UserError
from pipeline.files import NO_JSON, is_inside, no_link, parse_json, strict, write_atomic, write_error

Event = dict[str, Any]
_HEAD = "folder"
_STATUSES = ("FINISHED", "FAILED", "KILLED")


class Records:
    """The event log ``folder/records.jsonl``. Reading changes no file: a run may be read while it is written.

    Raises:
        UserError: a line other than a truncated last one is corrupt, or the file cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / "records.jsonl"
        self._forget()
        if self.path.exists():
            with self._open("rb") as file:
                self._read_on(file)

    @property
    def events(self) -> list[Event]:
        """All events, in order; each has "n" (its number from 0), "time" (ms since epoch) and "kind"."""
        return self._events

    @property
    def folder_id(self) -> str | None:
        """What tells this folder's runs from any other's; None before the first event."""
        return self._events[0]["id"] if self._events else None

    def append(self, kind: str, **payload: Any) -> Event:
        """Write one event, at once and for good. An event with a ``run`` is of one that has started."""
        if kind != "start" and "run" in payload and payload["run"] not in self._status:
            raise ValueError(f"the run {payload['run']!r} was never started")
        with self._up_to_date() as file:
            if not self._events:
                self._write(file, _HEAD, {"id": uuid.uuid4().hex})
            return self._write(file, kind, payload)

    def start(self, run: str, name: str, parent: str | None, params: dict[str, Any], tags: dict[str, Any]) -> None:
        """A run begins, or one that had ended goes on. ``run`` is its name for good, for example "run/train-enn"."""
        if parent is not None and parent not in self._status:
            raise ValueError(f"the parent {parent!r} of the run {run!r} was never started")
        payload = {"run": run, "name": name, "parent": parent, "params": params, "tags": tags}
        if self._status.get(run) != "RUNNING" or not self._same(("start", run), payload):
            self.append("start", **payload)

    def metrics(self, run: str, step: int, values: Mapping[str, SupportsFloat]) -> None:
        """Several metrics of one step."""
        if ("metrics", run, step, *sorted(values)) not in self._known:
            self.append("metrics", run=run, step=step, values=values)

    def series(self, run: str, name: str, steps: Sequence[int], values: Sequence[SupportsFloat]) -> None:
        """A whole curve of one metric."""
        if len(steps) != len(values):
            raise ValueError(f"the series {name!r} has {len(steps)} steps and {len(values)} values")
        if ("series", run, name) not in self._known:
            self.append("series", run=run, name=name, steps=steps, values=values)

    def image(self, run: str, path: str, key: str, step: int) -> None:
        """An image file (``path`` relative to the folder) of one step; MLflow's image grid shows a key's images by step."""
        payload = {"run": run, "path": path, "key": key, "step": step, "sha256": self._digest(path)}
        if not self._same(("image", run, key, step), payload):
            self.append("image", **payload)

    def artifact(self, run: str, path: str, folder: str) -> None:
        """A file (``path`` relative to the folder) that belongs to a run, in ``folder`` of its artifacts ("" is the top)."""
        payload = {"run": run, "path": path, "folder": folder, "sha256": self._digest(path)}
        if self.differs("artifact", **payload):
            self._replace([self._known["artifact", run, path, folder]], "artifact", payload)
        elif ("artifact", run, path, folder) not in self._known:
            self.append("artifact", **payload)

    def dataset(self, run: str, name: str, digest: str, sizes: dict[str, int]) -> None:
        """The data a run is trained on: its name, a digest of its contents and the sizes of its splits."""
        payload = {"run": run, "name": name, "digest": digest, "sizes": sizes}
        if not self._same(("dataset", run, name), payload):
            self.append("dataset", **payload)

    def result(self, run: str, row: dict[str, Any]) -> None:
        """A row of results with its provenance."""
        if not self._same(("result", run), {"run": run, "row": row}):
            self.append("result", run=run, row=row)

    def end(self, run: str, status: str) -> None:
        """A run ends: FINISHED, FAILED or KILLED."""
        if status not in _STATUSES:
            raise ValueError(f"status {status!r} is none of {_STATUSES}")
        if self._status.get(run) != status:
            self.append("end", run=run, status=status)

    def differs(self, kind: str, run: str, **payload: Any) -> bool:
        """Whether something else is recorded where this would be: a series, a file, a result."""
        key = (kind, run, *(payload[name] for name in _KEYS[kind]))
        return key in self._known and not self._same(key, payload)

    def anew(self, run: str) -> None:
        """Drop all that is recorded of a run, because its work was done again; it may then start as a new one."""
        self._replace([event for event in self._events if event.get("run") == run], "anew", {"run": run})

    def knows(self, run: str) -> bool:
        """Whether a run has ever started."""
        return run in self._status

    def status(self, run: str) -> str | None:
        """RUNNING, FINISHED, FAILED or KILLED; None where a run has never started."""
        return self._status.get(run)

    def running(self) -> list[str]:
        """The runs that have started and not ended, children before their parents."""
        return [run for run, status in reversed(self._status.items()) if status == "RUNNING"]

    def _forget(self) -> None:
        self._events: list[Event] = []
        self._read_bytes = self._inode = 0
        self._known: dict[tuple, Event] = {}
        self._status: dict[str, str] = {}

    def _same(self, key: tuple, payload: dict[str, Any]) -> bool:
        known = self._known.get(key)
        return known is not None and all(known.get(name) == value for name, value in strict(payload).items())

    def _digest(self, path: str) -> str:
        return hashlib.sha256((self.folder / path).read_bytes()).hexdigest()

    @contextmanager
    def _up_to_date(self) -> Iterator[IO[bytes]]:
        """The file, locked, after all that others have written."""
        with self._open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(self._read_bytes)
            self._read_on(file)
            yield file

    def _open(self, mode: str) -> IO[bytes]:
        try:
            if mode != "rb":
                self.folder.mkdir(parents=True, exist_ok=True)
            return open(self.path, mode, opener=no_link)
        except OSError as error:
            raise write_error(self.path, error) from error

    def _read_on(self, file: IO[bytes]) -> None:
        """Take in the lines from ``_read_bytes`` on. A last line without its end was cut short (a kill, a full disk): it is
        left out, and, where the file is open for writing (and locked), cut off."""
        there = os.stat(self.path)
        if there.st_size < self._read_bytes or (self._inode and there.st_ino != self._inode):
            raise UserError(f"{self.path} was cut or replaced while it was in use; give the same command again.")
        self._inode = there.st_ino
        for line in file.read().split(b"\n")[:-1]:
            self._remember(self._parse(line))
            self._read_bytes += len(line) + 1
        if file.writable():
            file.truncate(self._read_bytes)

    def _parse(self, line: bytes) -> Event:
        try:
            event = parse_json(line)
            if re.search(rb"\\u[dD][89a-fA-F]", line):  # half of a pair of surrogates is no text that a database holds
                _line(event)
            if event["n"] == len(self._events) and _is_event(event):
                return event
        except (*NO_JSON, KeyError, TypeError):
            pass
        raise UserError(
            f"line {len(self._events) + 1} of {self.path} is corrupt; restore the file from a copy, or move the folder "
            "aside and give the same command again."
        )

    def _replace(self, dropped: Sequence[Event], kind: str, payload: dict[str, Any]) -> None:
        """Write the log without some events, with a new one at the end: after a kill it is the old log or the new one."""
        numbers = {event["n"] for event in dropped}
        with self._up_to_date():
            kept = [event for event in self._events if event["n"] not in numbers]
            events = [event | {"n": number} for number, event in enumerate([*kept, _event(kind, payload)])]
            write_atomic(self.path, b"".join(map(_line, events)))
        self._forget()
        with self._open("rb") as file:
            self._read_on(file)

    def _write(self, file: IO[bytes], kind: str, payload: dict[str, Any]) -> Event:
        event = _event(kind, payload) | {"n": len(self._events)}
        line = _line(event)
        try:
            _put(file, line)
        except OSError as error:
            raise write_error(self.path, error) from error
        self._read_bytes += len(line)
        self._remember(event)
        return event

    def _remember(self, event: Event) -> None:
        self._events.append(event)
        kind, run = event["kind"], event.get("run")
        if kind in _KEYS:
            self._known[(kind, run, *(event[name] for name in _KEYS[kind]))] = event
        elif kind == "metrics":
            self._known[(kind, run, event["step"], *sorted(event["values"]))] = event
        if kind == "start":
            self._status[event["run"]] = "RUNNING"
        elif kind == "end":
            self._status[event["run"]] = event["status"]


_KEYS = {
    "start": (),
    "series": ("name",),
    "image": ("key", "step"),
    "artifact": ("path", "folder"),
    "dataset": ("name",),
    "result": (),
}


_NUMBER = int | float | None
_FIELDS: dict[str, dict[str, Any]] = {
    _HEAD: {"id": str},
    "start": {"run": str, "name": str, "parent": str | None, "params": dict, "tags": dict},
    "metrics": {"run": str, "step": int, "values": dict},
    "series": {"run": str, "name": str, "steps": list, "values": list},
    "image": {"run": str, "path": str, "key": str, "step": int},
    "artifact": {"run": str, "path": str, "folder": str},
    "dataset": {"run": str, "name": str, "digest": str, "sizes": dict},
    "result": {"run": str, "row": dict},
    "anew": {"run": str},
    "end": {"run": str, "status": str},
}


def _is_event(event: Event) -> bool:
    """Whether an event from a file, which may be somebody else's, is one: its fields, and no path out of the folder."""
    kind, fields = event["kind"], _FIELDS.get(event["kind"], {})
    if not isinstance(event["time"], int) or not all(isinstance(event[name], hint) for name, hint in fields.items()):
        return False
    if (kind == _HEAD) != (event["n"] == 0) or (kind == _HEAD and not re.fullmatch("[0-9a-f]{32}", event["id"])):
        return False
    numbers = event["values"] if kind in ("metrics", "series") else []
    numbers = numbers.values() if isinstance(numbers, dict) else [*numbers, *(event["steps"] if kind == "series" else [])]
    whole = [event["time"], event.get("step", 0)]
    if not all(isinstance(number, _NUMBER) and _is_held(number) for number in [*numbers, *whole]):
        return False
    if kind == "series" and len(event["steps"]) != len(event["values"]):
        return False
    if kind == "end" and event["status"] not in _STATUSES:
        return False
    return all(is_inside(event[name]) for name in ("path", "folder") if name in fields)


def _is_held(number: float | int | None) -> bool:
    """Whether it is one of 64 bits, as databases have them."""
    return not isinstance(number, int) or abs(number) < 2**63


def _event(kind: str, payload: dict[str, Any]) -> Event:
    """An event of now; its number is still to be given."""
    return strict({"n": 0, "time": time.time_ns() // 1_000_000, "kind": kind, **payload})


def _line(event: Event) -> bytes:
    return (json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _put(file: IO[bytes], line: bytes) -> None:
    while line:
        line = line[os.write(file.fileno(), line) :]
    os.fsync(file.fileno())
