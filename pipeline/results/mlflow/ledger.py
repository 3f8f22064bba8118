"""How far each tracking server has got with a folder's records: ``mlflow-sent.json``, and one sender at a time."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.addresses import shown_address
from pipeline.files import read_json, write_json
from pipeline.received import no_link
from pipeline.results.mlflow.events import digest
from pipeline.results.records import Event

PROGRESS = "mlflow-sent.json"


class Ledger:
    """One server's page: the experiment (id, name, time of creation), the next event to send, the digest of the last."""

    def __init__(self, folder: Path, uri: str) -> None:
        self._path, self._server = folder / PROGRESS, shown_address(uri)

    def read(self) -> dict[str, Any]:
        """What is noted; empty where nothing is."""
        noted = self._all().get(self._server)
        return noted if isinstance(noted, dict) else {}

    def write(self, progress: dict[str, Any]) -> None:
        """Note it, beside what is noted of other servers."""
        write_json(self._path, {**self._all(), self._server: progress})

    def _all(self) -> dict[str, Any]:
        """By server; a file that holds something else is made anew."""
        servers = read_json(self._path) if self._path.exists() else {}
        return servers if isinstance(servers, dict) else {}


def is_place(number: Any) -> bool:
    """Whether it is the number of an event."""
    return isinstance(number, int) and number >= 0


def belongs(progress: dict[str, Any], events: list[Event]) -> bool:
    """Whether what was sent is the beginning of these events: they may have been cut and have gone on otherwise."""
    sent = progress["next"]
    return sent <= len(events) and (not sent or progress.get("last") in (None, digest(events[sent - 1])))


@contextmanager
def lock(folder: Path, deadline: float) -> Iterator[bool]:
    """Held by one process at a time; False when the deadline (of time.monotonic) passes first."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".mlflow.lock", "a", opener=no_link) as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    yield False
                    return
                time.sleep(0.05)
            else:
                yield True
                return
