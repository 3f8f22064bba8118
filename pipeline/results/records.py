"""The records of a folder's work: a log of events, one JSON object per line, synced before anything else hears of them.

They are the source of truth: tables, figures and MLflow (``mirror``) are made from them and can be made again. Every kind
of event may be given twice (a resumed stage replays what it did): the second time nothing is written. Where work is done
again, because its result was lost, what was recorded of it is replaced: the log is written anew as a whole, or not at all.

An event's ``time`` says when it was written. Where what it tells of happened at another time (a population that a worker has
trained), ``at`` says when that was, and the ``times`` of a curve when each point was reached.

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
from pipeline.files import NO_JSON, PARSED, check_size, parse_json, strict, write_atomic, write_error
from pipeline.received import no_link
from pipeline.results.event_form import HEAD, KEYS, STATUSES, Event, is_event, key_of


class Records:
    """The event log ``folder/records.jsonl``. Reading changes no file: a run may be read while it is written.

    Raises:
        UserError: a line other than a truncated last one is corrupt, or the file cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / "records.jsonl"
        self._waiting: dict[str, Any] | None = None
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
        self._reopen()
        with self._up_to_date() as file:
            if not self._events:
                self._write(file, HEAD, {"id": uuid.uuid4().hex})
            return self._write(file, kind, payload)

    def start(
        self,
        run: str,
        name: str,
        parent: str | None,
        params: dict[str, Any],
        tags: dict[str, Any],
        at: int | None = None,
        lazily: bool = False,
    ) -> None:
        """A run begins, or one that had ended goes on. ``run`` is its name for good, for example "run/train-enn".

        Args:
            at: when, in ms since epoch, unless it is now.
            lazily: a run that has finished goes on only where something is recorded afterwards.
        """
        if parent is not None and parent not in self._status:
            raise ValueError(f"the parent {parent!r} of the run {run!r} was never started")
        payload = {"run": run, "name": name, "parent": parent, "params": params, "tags": tags} | _at(at)
        if lazily and self._status.get(run) == "FINISHED":
            self._waiting = payload
        elif self._status.get(run) != "RUNNING" or not self._same(("start", run), payload):
            self.append("start", **payload)

    def metrics(self, run: str, step: int, values: Mapping[str, SupportsFloat], at: int | None = None) -> None:
        """Several metrics of one step."""
        if ("metrics", run, step, *sorted(values)) not in self._known:
            self.append("metrics", run=run, step=step, values=values, **_at(at))

    def series(
        self, run: str, name: str, steps: Sequence[int], values: Sequence[SupportsFloat], times: Sequence[int] | None = None
    ) -> None:
        """A whole curve of one metric, and when each of its points was reached (in ms since epoch; by default, now)."""
        if len(steps) != len(values) or len(steps) != len(values if times is None else times):
            raise ValueError(f"the series {name!r} has {len(steps)} steps and {len(values)} values")
        if ("series", run, name) not in self._known:
            known = {} if times is None else {"times": list(times)}
            self.append("series", run=run, name=name, steps=steps, values=values, **known)

    def image(self, run: str, path: str, key: str, step: int) -> None:
        """An image file (``path`` relative to the folder) of one step; MLflow's image grid shows a key's images by step."""
        payload = {"run": run, "path": path, "key": key, "step": step, "sha256": self._digest(path)}
        if not self._same(("image", run, key, step), payload):
            self.append("image", **payload)

    def artifact(self, run: str, path: str, folder: str) -> None:
        """A file (``path`` relative to the folder) that belongs to a run, in ``folder`` of its artifacts ("" is the top)."""
        self._settle("artifact", run, path=path, folder=folder, sha256=self._digest(path))

    def model(self, run: str, name: str, path: str, facts: dict[str, Any]) -> None:
        """An ENN that a run has made: its file (``path`` relative to the folder), its card beside it, and facts to show."""
        self._settle("model", run, name=name, path=path, facts=facts, sha256=self._digest(path))

    def dataset(self, run: str, name: str, digest: str, sizes: dict[str, int]) -> None:
        """The data a run is trained on: its name, a digest of its contents and the sizes of its splits."""
        payload = {"run": run, "name": name, "digest": digest, "sizes": sizes}
        if not self._same(("dataset", run, name), payload):
            self.append("dataset", **payload)

    def tags(self, run: str, tags: dict[str, str]) -> None:
        """What is known of a run later than its start, such as its description."""
        self._settle("tags", run, tags=tags)

    def result(self, run: str, row: dict[str, Any]) -> None:
        """What a run has come to: numbers and words by name."""
        self._settle("result", run, row=row)

    def end(self, run: str, status: str, at: int | None = None) -> None:
        """A run ends: FINISHED, FAILED or KILLED; ``at``, unless it is now."""
        if status not in STATUSES:
            raise ValueError(f"status {status!r} is none of {STATUSES}")
        if self._waiting is not None and self._waiting["run"] == run and status == "FINISHED":
            self._waiting = None  # nothing was new
        elif self._status.get(run) != status:
            self.append("end", run=run, status=status, **_at(at))

    def differs(self, kind: str, run: str, **payload: Any) -> bool:
        """Whether something else is recorded where this would be: a series, a file, a result."""
        key = (kind, run, *(payload[name] for name in KEYS[kind]))
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

    def _reopen(self) -> None:
        """A run that was started lazily goes on."""
        if self._waiting is not None:
            payload, self._waiting = self._waiting, None
            self.append("start", **payload)

    def _settle(self, kind: str, run: str, **payload: Any) -> None:
        """Something that there is once: recorded before and different, it is replaced."""
        key = (kind, run, *(payload[name] for name in KEYS[kind]))
        if self.differs(kind, run, **payload):
            self._replace([self._known[key]], kind, {"run": run, **payload})
        elif key not in self._known:
            self.append(kind, run=run, **payload)

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
        check_size(self.path, there.st_size - self._read_bytes, PARSED)
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
            if is_event(event, len(self._events)):
                return event
        except (*NO_JSON, KeyError, TypeError):
            pass
        raise UserError(
            f"line {len(self._events) + 1} of {self.path} is corrupt; restore the file from a copy, or move the folder "
            "aside and give the same command again."
        )

    def _replace(self, dropped: Sequence[Event], kind: str, payload: dict[str, Any]) -> None:
        """Write the log without some events, with a new one at the end: after a kill it is the old log or the new one."""
        self._reopen()
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
        if (key := key_of(event)) is not None:
            self._known[key] = event
        kind = event["kind"]
        if kind == "start":
            self._status[event["run"]] = "RUNNING"
        elif kind == "end":
            self._status[event["run"]] = event["status"]


def _at(at: int | None) -> dict[str, int]:
    return {} if at is None else {"at": at}


def _event(kind: str, payload: dict[str, Any]) -> Event:
    """An event of now; its number is still to be given."""
    return strict({"n": 0, "time": time.time_ns() // 1_000_000, "kind": kind, **payload})


def _line(event: Event) -> bytes:
    return (json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _put(file: IO[bytes], line: bytes) -> None:
    while line:
        line = line[os.write(file.fileno(), line) :]
    os.fsync(file.fileno())
