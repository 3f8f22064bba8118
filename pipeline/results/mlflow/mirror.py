"""The mirror of a run's records in MLflow: every event sent once and in order, now or when the server is there again.

``mlflow-sent.json`` says how far each tracking server has got. A process that dies between the server and that file sends
its last events again, and MLflow still ends up with each once: runs are found by their tags; parameters, tags, data sets
and files are the same when set twice; a metric of the same time, step and value is stored once.

MLflow is imported on first use (it takes seconds), and its global state is left alone.
"""

import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.addresses import shown_address
from pipeline.results.mlflow import client
from pipeline.results.mlflow.address import artifact_location, checked, database_of, given, local_uri
from pipeline.results.mlflow.database import holds_experiment, make_database, set_aside_if_moved
from pipeline.results.mlflow.events import digest, groups
from pipeline.results.mlflow.ledger import Ledger, belongs, is_place, lock
from pipeline.results.mlflow.sender import Sender
from pipeline.results.records import Event, Records

AGAIN = 30.0
"""seconds between attempts to reach a server that did not answer"""


class Mirror:
    """Sends the records of ``folder`` to MLflow.

    Args:
        folder: the output folder.
        tracking_uri: a server or a database; None is that of the environment's MLFLOW_TRACKING_URI, and without one a SQLite
            database in the folder, its artifacts beside it.
        experiment: the name of the MLflow experiment.
        warn: is given one sentence, at most once, when MLflow cannot be used. The work goes on without it.

    Raises:
        UserError: the tracking URI is of no kind that MLflow can use.
    """

    def __init__(
        self, folder: Path, tracking_uri: str | None, experiment: str, warn: Callable[[str], None] = logging.warning
    ) -> None:
        self.folder = Path(folder).resolve()
        self.uri = checked(given(tracking_uri) or local_uri(self.folder))
        self.experiment = experiment
        self.reachable = True
        self._warn = warn
        self._client: Any = None
        self._experiment: dict[str, Any] = {}
        self._sender: Sender | None = None
        self._ledger = Ledger(self.folder, self.uri)
        self._deadline = math.inf
        self._again_at = -math.inf
        self._warned = self._repeats = False
        self._next = 0
        """the event after the last one that was sent from here"""

    def prepare(self) -> None:
        """Import MLflow and make the database and the experiment (seconds): a thread may do so while Ray starts."""
        self._guarded(self._connect)

    def send(self, records: Records, last: bool = False) -> None:
        """Send every event that this server has not got yet. Without the server: one warning, and an attempt every
        ``AGAIN`` seconds and at the ``last`` call, in case it came back."""
        if last:
            self._again_at = -math.inf
        if records.folder_id is not None:
            self._guarded(lambda: self._deliver(records))

    def has(self, records: Records) -> bool:
        """Whether this server has been sent all of the records, by what is noted in the folder. No server is asked; a database
        in a file is, read only, since it may have been deleted or moved."""
        progress, events = self._ledger.read(), records.events
        noted = {name: progress.get(name) for name in ("folder", "name", "next")}
        if noted != {"folder": records.folder_id, "name": self.experiment, "next": len(events)} or not belongs(
            progress, events
        ):
            return False
        database = database_of(self.uri)
        if database is None:
            return True
        number, created, location = str(progress.get("experiment")), progress.get("created"), artifact_location(self.uri)
        return holds_experiment(database, number, self.experiment, created, location, self._in_folder)

    @property
    def _in_folder(self) -> bool:
        """Whether it is the folder's own database, which may come from somebody else."""
        return database_of(self.uri) == database_of(local_uri(self.folder))

    def interrupted(self, records: Records, seconds: float = 2.0) -> None:
        """After Ctrl-C: the ends of runs first, so that MLflow says KILLED, then what can be sent within ``seconds``.

        The next command in this folder sends the rest.
        """
        sent_before = self._ledger.read().get("next", 0) > 0
        if records.folder_id is not None and (sent_before or self._client is not None):
            self._deadline = time.monotonic() + seconds
            self._sender = None  # the send that was interrupted may have made a run that it did not come to note
            os.environ.update(MLFLOW_HTTP_REQUEST_MAX_RETRIES="0", MLFLOW_HTTP_REQUEST_TIMEOUT="1")
            self._guarded(lambda: self._deliver(records, ends_first=True))

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do ``work`` while no other process sends from this folder; MLflow's failures become the one warning."""
        if not self.reachable and time.monotonic() < self._again_at:
            return
        try:
            with lock(self.folder, self._deadline) as held:
                if held:
                    work()
                    self.reachable = True
        except Exception as error:
            if not client.is_failure(error):
                raise
            self.reachable, self._again_at = False, time.monotonic() + AGAIN
            self._client = self._sender = None  # the call that failed may have made a run
            if self._warned:
                return
            self._warned = True
            self._warn(
                f"MLflow at {shown_address(self.uri)} cannot be used ({client.reason(error)}); the work goes on and keeps "
                f"its records in {self.folder}: what it has missed is sent when it is back, or later by `grad-instructor sync`."
            )

    def _connect(self) -> None:
        if self._client is not None:
            return
        client.probe(self.uri)
        location = artifact_location(self.uri)
        set_aside_if_moved(self.uri, location, self.experiment if self._in_folder else None)
        make_database(self.uri)
        own = client.new_client(self.uri)
        experiment = own.get_experiment_by_name(self.experiment)
        if experiment is None:
            experiment = own.get_experiment(own.create_experiment(self.experiment, location))
        self._experiment = {"experiment": experiment.experiment_id, "created": experiment.creation_time}
        self._client = own

    def _deliver(self, records: Records, ends_first: bool = False) -> None:
        self._connect()
        progress = self._progress(records)
        unsent = records.events[progress["next"] :]
        if progress["next"] != self._next:  # another process has sent since then, and may have made runs
            self._sender = None
        if unsent and self._sender is None:
            self._sender = Sender(self._client, self._experiment["experiment"], self.folder, progress["folder"])
        if self._sender is not None:
            self._sender.repeats = self._repeats or (progress["next"] == 0 and self._sender.knows_any)
            self._send(self._sender, unsent, progress, records, ends_first)
        elif progress.get("name") != self.experiment:  # an earlier version did not note it
            self._ledger.write(progress | {"name": self.experiment})

    def _send(self, sender: Sender, unsent: list[Event], progress: dict[str, Any], records: Records, ends_first: bool) -> None:
        if ends_first:
            for event in unsent:
                if event["kind"] == "end":
                    sender.send([event], records)
        for events in groups(unsent):
            if time.monotonic() > self._deadline:
                return
            sender.send(events, records)
            progress |= {"name": self.experiment, "next": events[-1]["n"] + 1, "last": digest(events[-1])}
            self._ledger.write(progress)
            self._next = progress["next"]

    def _progress(self, records: Records) -> dict[str, Any]:
        """How far this server has got with these records: from the start if it has forgotten them (a database deleted), or if
        the records were cut since then and have gone on otherwise (a disk's fault, a copy restored)."""
        same = {"folder": records.folder_id, **self._experiment}
        progress = self._ledger.read()
        if not same.items() <= progress.items() or not is_place(progress.get("next")):
            return {**same, "next": 0}
        if not belongs(progress, records.events):
            self._repeats = True
            return {**same, "next": 0}
        return progress
