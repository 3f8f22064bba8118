"""The mirror of a run's records in MLflow: every event sent once and in order, now or when the server is there again.

``mlflow-sent.json`` says how far each tracking server has got. A process that dies between the server and that file sends
its last events again, and MLflow still ends up with each once: runs are found by their tags; parameters, tags, data sets
and files are the same when set twice; a metric of the same time, step and value is stored once.

MLflow is imported on first use (it takes seconds), and its global state is left alone.
"""

import fcntl
import json
import logging
import math
import os
import re
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid5

from pipeline.digests import digest_of_json
from pipeline.errors import UserError, reason_of, without_secrets
from pipeline.files import no_link, read_json, write_json
from pipeline.results.records import Event, Records

Point = tuple[str, float | int | None, int, int]
"""metric, value, time in ms, step"""
PROGRESS = "mlflow-sent.json"
FOLDER_TAG, RUN_TAG = "grad_instructor.folder", "grad_instructor.run"
SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
METRICS_PER_BATCH, PARAMETERS_PER_BATCH = 1000, 100
PARAMETER_LENGTH, TAG_LENGTH, DIGEST_LENGTH = 6000, 8000, 36
AGAIN = 30.0
"""seconds between attempts to reach a server that did not answer"""
THUMBNAIL = 256
"""largest side, in pixels, of the small copies that the UI's image grid shows"""
# A server that stops answering costs at most (1 + 1 retry) × 4 s. What the user has set is kept.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
}


class Mirror:
    """Sends the records of ``folder`` to MLflow.

    Args:
        folder: the output folder.
        tracking_uri: a server or a database; None is a SQLite database in the folder, its artifacts beside it.
        experiment: the name of the MLflow experiment.
        warn: is given one sentence, at most once, when MLflow cannot be used. The work goes on without it.

    Raises:
        UserError: the tracking URI is of no kind that MLflow can use.
    """

    def __init__(
        self, folder: Path, tracking_uri: str | None, experiment: str, warn: Callable[[str], None] = logging.warning
    ) -> None:
        self.folder = Path(folder).resolve()
        self.uri = _checked(tracking_uri or _local_uri(self.folder))
        self.experiment = experiment
        self.reachable = True
        self._warn = warn
        self._client: Any = None
        self._experiment: dict[str, Any] = {}
        self._run_ids: dict[str, str] | None = None
        self._deadline = math.inf
        self._again_at = -math.inf
        self._warned = self._repeats = False

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

    def interrupted(self, records: Records, seconds: float = 2.0) -> None:
        """After Ctrl-C: the ends of runs first, so that MLflow says KILLED, then what can be sent within ``seconds``.

        The next command in this folder sends the rest.
        """
        sent_before = self._read_progress().get("next", 0) > 0
        if records.folder_id is not None and (sent_before or self._client is not None):
            self._deadline = time.monotonic() + seconds
            self._run_ids = None  # the send that was interrupted may have made a run that it did not come to note
            os.environ.update(MLFLOW_HTTP_REQUEST_MAX_RETRIES="0", MLFLOW_HTTP_REQUEST_TIMEOUT="1")
            self._guarded(lambda: self._deliver(records, ends_first=True))

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do ``work`` while no other process sends from this folder; MLflow's failures become the one warning."""
        if not self.reachable and time.monotonic() < self._again_at:
            return
        try:
            with _lock(self.folder, self._deadline) as held:
                if held:
                    work()
                    self.reachable = True
        except Exception as error:
            if not _is_failure(error):
                raise
            self.reachable, self._again_at = False, time.monotonic() + AGAIN
            self._client = self._run_ids = None  # the call that failed may have made a run
            if self._warned:
                return
            self._warned = True
            self._warn(
                f"MLflow at {without_secrets(self.uri)} cannot be used ({_reason(error)}); the work goes on and keeps its "
                f"records in {self.folder}: what it has missed is sent when it is back, or later by `grad-instructor sync`."
            )

    def _connect(self) -> None:
        if self._client is not None:
            return
        _probe(self.uri)
        location = _artifact_location(self.uri)
        _set_aside_if_moved(self.uri, location)
        _make_database(self.uri)
        client = _new_client(self.uri)
        experiment = client.get_experiment_by_name(self.experiment)
        if experiment is None:
            experiment = client.get_experiment(client.create_experiment(self.experiment, location))
        self._experiment = {"experiment": experiment.experiment_id, "created": experiment.creation_time}
        self._client = client

    def _deliver(self, records: Records, ends_first: bool = False) -> None:
        self._connect()
        progress = self._progress(records)
        unsent = records.events[progress["next"] :]
        if unsent and self._run_ids is None:
            self._run_ids = self._find_runs(progress["folder"])
        if ends_first:
            for event in unsent:
                if event["kind"] == "end":
                    self._send([event], records)
        for events in _groups(unsent):
            if time.monotonic() > self._deadline:
                return
            self._send(events, records)
            progress |= {"next": events[-1]["n"] + 1, "last": _digest(events[-1])}
            self._write_progress(progress)

    def _progress(self, records: Records) -> dict[str, Any]:
        """How far this server has got with these records: from the start if it has forgotten them (a database deleted), or if
        the records were cut since then and have gone on otherwise (a disk's fault, a copy restored)."""
        same = {"folder": records.folder_id, **self._experiment}
        progress = self._read_progress()
        sent = progress.get("next")
        if not same.items() <= progress.items() or not isinstance(sent, int):
            return {**same, "next": 0}
        if sent > len(records.events) or (sent and progress.get("last") not in (None, _digest(records.events[sent - 1]))):
            self._repeats = True
            return {**same, "next": 0}
        return progress

    def _read_progress(self) -> dict[str, Any]:
        path = self.folder / PROGRESS
        return read_json(path).get(without_secrets(self.uri), {}) if path.exists() else {}

    def _write_progress(self, progress: dict[str, Any]) -> None:
        path = self.folder / PROGRESS
        servers = read_json(path) if path.exists() else {}
        write_json(path, {**servers, without_secrets(self.uri): progress})

    def _find_runs(self, folder_id: str) -> dict[str, str]:
        """MLflow's ids of the runs of this folder. Runs that a user has deleted there are absent: their events are skipped."""
        found, token = {}, None
        while token != "":
            query = f"tags.`{FOLDER_TAG}` = '{folder_id}'"
            page = self._client.search_runs([self._experiment["experiment"]], query, max_results=1000, page_token=token)
            found |= {run.data.tags[RUN_TAG]: run.info.run_id for run in page}
            token = page.token or ""
        return found

    def _send(self, events: list[Event], records: Records) -> None:
        """Send events of one kind and run."""
        assert self._run_ids is not None
        event = events[0]
        kind, run_id = event["kind"], self._run_ids.get(event.get("run", ""))
        if kind == "start":
            self._start(event, run_id, records)
        elif run_id is None:
            return
        elif kind in _POINTS:
            self._metrics(run_id, [point for item in events for point in _POINTS[kind](item)])
        elif kind == "result":
            self._result(run_id, event)
        elif kind == "image":
            self._image(run_id, event, records)
        elif kind == "artifact":
            self._artifact(run_id, self.folder / event["path"], event["folder"])
        elif kind == "dataset":
            self._dataset(run_id, event)
        elif kind == "anew":  # MLflow can drop a run, and no points of one
            self._client.delete_run(run_id)
            del self._run_ids[event["run"]]
        elif kind == "end":
            self._client.set_terminated(run_id, event["status"], end_time=event["time"])

    def _start(self, event: Event, run_id: str | None, records: Records) -> None:
        assert self._run_ids is not None
        known_params: dict[str, str] = {}
        if run_id is None and any(e["kind"] == "start" and e["run"] == event["run"] for e in records.events[: event["n"]]):
            return  # started and sent before, and since then deleted in MLflow
        if run_id is None:
            run_id = self._create(event, records)
            self._run_ids[event["run"]] = run_id
        else:
            self._client.update_run(run_id, status="RUNNING")
            known_params = self._client.get_run(run_id).data.params
        params = {_name(key): _text(value)[:PARAMETER_LENGTH] for key, value in event["params"].items()}
        new = {key: value for key, value in params.items() if key not in known_params}
        changed = {key: value for key, value in params.items() if known_params.get(key, value) != value}
        self._params_and_tags(run_id, new, {**event["tags"], **changed})

    def _create(self, event: Event, records: Records) -> str:
        tags = {
            FOLDER_TAG: records.folder_id,
            RUN_TAG: event["run"],
            "mlflow.source.name": "grad-instructor",
            "mlflow.source.type": "LOCAL",
        }
        parent = (self._run_ids or {}).get(event["parent"] or "")
        if parent is not None:
            tags["mlflow.parentRunId"] = parent
        if "commit" in event["tags"]:
            tags["mlflow.source.git.commit"] = _text(event["tags"]["commit"])
        run = self._client.create_run(self._experiment["experiment"], event["time"], tags, event["name"])
        return run.info.run_id

    def _params_and_tags(self, run_id: str, params: dict[str, str], tags: dict[str, Any]) -> None:
        """Parameters cannot be changed in MLflow; one that a resumed run was given anew is a tag of the same name."""
        from mlflow.entities import Param, RunTag

        for batch in _batches(list(params.items()), PARAMETERS_PER_BATCH):
            self._client.log_batch(run_id, params=[Param(key, value) for key, value in batch])
        for batch in _batches(list(tags.items()), PARAMETERS_PER_BATCH):
            self._client.log_batch(run_id, tags=[RunTag(_name(key), _text(value)[:TAG_LENGTH]) for key, value in batch])

    def _metrics(self, run_id: str, points: list[Point]) -> None:
        from mlflow.entities import Metric

        if self._repeats:  # points told again, after the records were cut, have another time
            known = {name: self._client.get_metric_history(run_id, name) for name in {_name(point[0]) for point in points}}
            steps = {name: {metric.step for metric in history} for name, history in known.items()}
            points = [point for point in points if point[3] not in steps[_name(point[0])]]
        for batch in _batches(points, METRICS_PER_BATCH):
            metrics = [Metric(_name(key), math.nan if value is None else value, at, step) for key, value, at, step in batch]
            self._client.log_batch(run_id, metrics=metrics)

    def _result(self, run_id: str, event: Event) -> None:
        """Numbers become metrics of step 0, words become tags."""
        flat = _flatten(event["row"])
        numbers = {key: value for key, value in flat.items() if isinstance(value, int | float) and not isinstance(value, bool)}
        self._metrics(run_id, [(key, value, event["time"], 0) for key, value in numbers.items()])
        words = {f"result.{key}": value for key, value in flat.items() if isinstance(value, str | bool)}
        self._params_and_tags(run_id, {}, words)

    def _image(self, run_id: str, event: Event, records: Records) -> None:
        """What MlflowClient.log_image does, but under a name that is the same when sent again."""
        source = self.folder / event["path"]
        if not self._is_ours(source):
            return
        from PIL import Image

        same = {name: event[name] for name in ("kind", "run", "key", "step")}
        first = next(other for other in records.events if same.items() <= other.items())
        key, unique = _image_key(event["key"]), uuid5(UUID(records.folder_id), json.dumps(list(same.values())))
        name = f"{key}+step+{event['step']}+timestamp+{first['time']}+{unique}"
        there = [Path(file.path).name for file in self._client.list_artifacts(run_id, "images")] if self._repeats else []
        if any(other.startswith(name.partition("+timestamp+")[0] + "+") for other in there):
            return
        with TemporaryDirectory() as folder, Image.open(source) as image:
            image.save(Path(folder, f"{name}.png"))
            image.thumbnail((THUMBNAIL, THUMBNAIL))
            image.save(Path(folder, f"{name}+compressed.webp"))
            self._client.log_artifacts(run_id, folder, "images")
        self._client.set_tag(run_id, "mlflow.loggedImages", "True")

    def _artifact(self, run_id: str, path: Path, folder: str) -> None:
        if self._is_ours(path):
            self._client.log_artifact(run_id, str(path), folder or None)

    def _is_ours(self, path: Path) -> bool:
        """Whether a file is there and in the folder: a link in somebody else's folder may lead anywhere."""
        return path.exists() and path.resolve().is_relative_to(self.folder)

    def _dataset(self, run_id: str, event: Event) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        digest, sizes = event["digest"][:DIGEST_LENGTH], json.dumps(event["sizes"])
        dataset = Dataset(event["name"], digest, "local", json.dumps({"uri": event["name"]}), profile=sizes)
        self._client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _digest(event: Event) -> str:
    return digest_of_json(event)


def _metrics_points(event: Event) -> list[Point]:
    return [(name, value, event["time"], event["step"]) for name, value in event["values"].items()]


def _series_points(event: Event) -> list[Point]:
    return [(event["name"], value, event["time"], step) for step, value in zip(event["steps"], event["values"], strict=True)]


_POINTS: dict[str, Callable[[Event], list[Point]]] = {"metrics": _metrics_points, "series": _series_points}


def _groups(events: list[Event]) -> Iterator[list[Event]]:
    """The events in order, neighbours of one run whose points can share a request together."""
    for _, group in groupby(events, lambda e: (e["kind"], e["run"]) if e["kind"] in _POINTS else e["n"]):
        yield list(group)


def _batches(items: list, size: int) -> Iterator[list]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _flatten(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in row.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _name(key: str) -> str:
    """The key in the characters that MLflow allows."""
    return re.sub(r"[^\w.\- :/]", "_", key)


def _image_key(key: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_\-. ~]", "_", key.replace("/", "~"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _new_client(uri: str) -> Any:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _probe(uri: str) -> None:
    """Ask a server whether it is there, before MLflow is imported and retries.

    Raises:
        OSError: it is not (requests' exceptions are OSErrors).
    """
    if not uri.startswith(("http:", "https:")):
        return
    import requests

    with suppress(requests.exceptions.SSLError):  # there, and MLflow has its own settings for certificates
        answer = requests.get(uri.rstrip("/") + "/health", timeout=(2, 4))
        if answer.status_code >= 500:
            raise OSError(f"it answers with HTTP status {answer.status_code}")


def _is_failure(error: Exception) -> bool:
    packages = {kind.__module__.split(".")[0] for kind in type(error).__mro__}
    return isinstance(error, OSError) or bool(packages & {"mlflow", "sqlalchemy", "alembic"})


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.ReadTimeout):
        return "no answer"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "no connection"
    return reason_of(error)


@contextmanager
def _lock(folder: Path, deadline: float) -> Iterator[bool]:
    """Held by one process at a time; False when the deadline (of time.monotonic) passes first."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".mlflow.lock", "w", opener=no_link) as file:
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


def _checked(uri: str) -> str:
    scheme = uri.split(":")[0].split("+")[0]
    if scheme not in SCHEMES or (scheme in ("http", "https") and not _host(uri)):
        raise UserError(
            f"the tracking URI {without_secrets(uri)!r} is none that MLflow can use; give the address of a server, such as "
            "http://127.0.0.1:5000, or a database, such as sqlite:////absolute/path/mlflow.db."
        )
    if scheme == "sqlite" and (":memory:" in uri or "mode=memory" in uri or not uri.partition(":")[2].strip("/")):
        raise UserError(
            f"the tracking URI {uri!r} is a database in memory, which ends with the command; give one in a file, such as "
            "sqlite:////absolute/path/mlflow.db."
        )
    return uri


def _host(uri: str) -> str | None:
    try:
        return urlsplit(uri).hostname
    except ValueError:  # brackets that are not closed
        return None


def _local_uri(folder: Path) -> str:
    return _sqlite_uri(folder / "mlflow.db")


def _sqlite_uri(database: Path) -> str:
    """MLflow makes a folder of what it reads in an address that begins with "sqlite:///", before SQLAlchemy decodes it."""
    if not re.search("[?#%]", str(database)):
        return f"sqlite:///{database}"
    from sqlalchemy.engine import URL

    return URL.create("sqlite+pysqlite", database=str(database)).render_as_string()


def _database(uri: str) -> Path | None:
    if not re.match(r"sqlite(\+\w+)?:///", uri):
        return None
    if not re.search("[?#%]", uri):
        return Path(uri.partition(":///")[2]).resolve()
    from sqlalchemy.engine import make_url

    return Path((make_url(uri).database or "").removeprefix("file:")).resolve()


def _artifact_location(uri: str) -> str | None:
    """A folder beside a SQLite database, as an absolute URI; a server knows its own."""
    database = _database(uri)
    return None if database is None else (database.parent / "mlartifacts").as_uri()


def _set_aside_if_moved(uri: str, location: str | None) -> None:
    """A database that was moved or copied points to artifacts elsewhere: keep it aside, and make it anew from the records."""
    database = _database(uri)
    if database is None or not database.exists():
        return
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        query = "SELECT COUNT(*) FROM experiments WHERE artifact_location LIKE 'file:%/mlartifacts' AND artifact_location != ?"
        if connection.execute(query, (location,)).fetchone()[0]:
            database.rename(database.with_name("mlflow-before-move.db"))


def _make_database(uri: str) -> None:
    """MLflow's schema takes seconds to make, and what a kill or a full disk leaves of a half-made one it can neither use nor
    mend. So a new SQLite database is made under another name, and gets its own when it is whole."""
    database = _database(uri)
    if database is None or database.exists():
        return
    new = database.with_name(f".{database.name}-{os.getpid()}")
    database.parent.mkdir(parents=True, exist_ok=True)
    try:
        _new_client(_sqlite_uri(new)).search_experiments(max_results=1)
        with suppress(FileExistsError):  # another process was first
            os.link(new, database)
    finally:
        for left in database.parent.glob(f"{new.name}*"):
            left.unlink(missing_ok=True)


def ui_command(folder: Path, port: int = 5000, tracking_uri: str | None = None, host: str = "127.0.0.1") -> list[str]:
    """The command that shows the folder's runs in a browser: MLflow's server, for this machine only, as one process.

    MLflow answers requests that name localhost or a private address and refuses others, which is what is wanted here;
    its job runners, which nothing here uses, stay off.

    Raises:
        UserError: the runs are on a server, which has a UI already, or there are none.
    """
    folder = Path(folder).resolve()
    uri = _checked(tracking_uri or _local_uri(folder))
    if uri.startswith(("http", "databricks")):
        raise UserError(f"the runs are on a server that has its own UI; open {without_secrets(uri)} in a browser.")
    database = _database(uri)
    if database is not None and not database.exists():
        raise UserError(f"there is no MLflow database at {database}; give the folder of a run, or start one first.")
    environment = ["env", "MLFLOW_DISABLE_TELEMETRY=true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"]
    server = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    return [*environment, *server, "--backend-store-uri", uri, "--artifacts-destination", str(folder / "mlartifacts")]


def health(tracking_uri: str | None, folder: Path | None) -> str:
    """One line on the tracking server, for ``doctor``."""
    if tracking_uri is None:
        where = "in the output folder" if folder is None else f"{Path(folder).resolve() / 'mlflow.db'}"
        there = folder is not None and (Path(folder) / "mlflow.db").exists()
        return f"SQLite {where}" + ("" if there or folder is None else " (made by the first run)")
    uri = _checked(tracking_uri)
    try:
        _probe(uri)
    except OSError as error:
        why = f"cannot be reached ({_reason(error)})"
        return f"{without_secrets(uri)}: {why}; a run goes on without it, `grad-instructor sync` sends later"
    return f"{without_secrets(uri)}: " + ("answers" if uri.startswith("http") else "a database, not tried")
