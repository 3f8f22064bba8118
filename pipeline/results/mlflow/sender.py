"""What is done in MLflow for each kind of event. Doing it twice is the same as once."""

import json
import math
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from pipeline.errors import UserError
from pipeline.results.mlflow.events import POINTS, Point, batches, flatten, image_key, linked, name_of, text, when
from pipeline.results.mlflow.files import may_be_sent
from pipeline.results.mlflow.models import Models
from pipeline.results.records import Event, Records

if TYPE_CHECKING:
    from PIL import Image

FOLDER_TAG, RUN_TAG = "grad_instructor.folder", "grad_instructor.run"
TOLD_TAG = "mlflow.gradInstructor.told"
"""when a run's first event was written, by which one that was told anew is known; the UI hides what begins with mlflow"""
DESCRIPTION = "mlflow.note.content"
METRICS_PER_BATCH, PARAMETERS_PER_BATCH = 1000, 100
PARAMETER_LENGTH, TAG_LENGTH, DIGEST_LENGTH, DATASET_LENGTH = 6000, 8000, 36, 500
THUMBNAIL = 256
"""largest side, in pixels, of the small copies that the UI's image grid shows"""


class Sender:
    """Sends events of one folder to one experiment.

    Args:
        client: MLflow's.
        experiment: the experiment's id.
        folder: where the files are that events name.
        folder_id: the tag by which this folder's runs are found.
    """

    def __init__(self, client: Any, experiment: str, folder: Path, folder_id: str) -> None:
        self._client, self._experiment, self.folder = client, experiment, folder
        self.repeats = False
        """events are sent again that may have been sent before, maybe with another time"""
        self._ends: dict[str, tuple[str, int | None]] = {}
        """how runs that were there had ended: status, and when"""
        self._told: dict[str, str | None] = {}
        """when the first event of a run was written that is there"""
        self._runs = self._find_runs(folder_id)
        self._models = Models(client, experiment, folder)

    @property
    def knows_any(self) -> bool:
        """Whether runs of this folder are there."""
        return bool(self._runs)

    def _find_runs(self, folder_id: str) -> dict[str, str]:
        """MLflow's ids of the runs of this folder. Runs that a user has deleted there are absent: their events are skipped."""
        found, token = {}, None
        while token != "":
            query = f"tags.`{FOLDER_TAG}` = '{folder_id}'"
            page = self._client.search_runs([self._experiment], query, max_results=1000, page_token=token)
            for run in page:
                name = run.data.tags[RUN_TAG]
                found[name] = run.info.run_id
                self._ends[name] = run.info.status, run.info.end_time
                self._told[name] = run.data.tags.get(TOLD_TAG)
            token = page.token or ""
        return found

    def send(self, events: list[Event], records: Records) -> None:
        """Send events of one kind and run."""
        event = events[0]
        kind, run_id = event["kind"], self._runs.get(event.get("run", ""))
        if kind == "start":
            self._start(event, run_id, records)
        elif run_id is None:
            return
        elif kind in POINTS:
            self._metrics(run_id, [point for item in events for point in POINTS[kind](item)])
        elif kind == "result":
            self._result(run_id, event)
        elif kind == "image":
            self._image(run_id, event, records)
        elif kind == "artifact":
            self._artifact(run_id, self.folder / event["path"], event["folder"])
        elif kind == "dataset":
            self._dataset(run_id, event)
        elif kind == "model":
            self._models.send(run_id, event)
        elif kind == "tags":
            self._params_and_tags(run_id, {}, {key: self._linked(key, value) for key, value in event["tags"].items()})
        elif kind == "anew":
            self._anew(run_id, event, records)
        elif kind == "end" and is_last(event, records):
            self._end(run_id, event)

    def _start(self, event: Event, run_id: str | None, records: Records) -> None:
        """A run that was ended since then is not opened once more."""
        known_params: dict[str, str] = {}
        if run_id is None and first_start(event["run"], records) is not event:
            return  # started and sent before, and since then deleted in MLflow
        if run_id is None:
            run_id = self._create(event, records)
            self._runs[event["run"]] = run_id
        else:
            if is_last(event, records):
                self._client.update_run(run_id, status="RUNNING")
            known_params = self._client.get_run(run_id).data.params
        params = {name_of(key): text(value)[:PARAMETER_LENGTH] for key, value in event["params"].items()}
        new = {key: value for key, value in params.items() if key not in known_params}
        changed = {key: value for key, value in params.items() if known_params.get(key, value) != value}
        self._params_and_tags(run_id, new, {**event["tags"], **changed})

    def _create(self, event: Event, records: Records) -> str:
        tags = {
            FOLDER_TAG: records.folder_id,
            RUN_TAG: event["run"],
            TOLD_TAG: str(event["time"]),
            "mlflow.source.name": "grad-instructor",
            "mlflow.source.type": "LOCAL",
        }
        parent = self._runs.get(event["parent"] or "")
        if parent is not None:
            tags["mlflow.parentRunId"] = parent
        if "commit" in event["tags"]:
            tags["mlflow.source.git.commit"] = text(event["tags"]["commit"])
        run = self._client.create_run(self._experiment, when(event), tags, event["name"])
        self._told[event["run"]] = tags[TOLD_TAG]
        return run.info.run_id

    def _anew(self, run_id: str, event: Event, records: Records) -> None:
        """MLflow can drop a run, and no points of one. Sent again, what has been dropped already and told anew stays."""
        run, start = event["run"], first_start(event["run"], records)
        if start is not None and self._told.get(run) == str(start["time"]):
            return
        self._client.delete_run(run_id)
        del self._runs[run]

    def _end(self, run_id: str, event: Event) -> None:
        if not self.repeats or self._ends.get(event["run"]) != (event["status"], when(event)):
            self._client.set_terminated(run_id, event["status"], end_time=when(event))

    def _params_and_tags(self, run_id: str, params: dict[str, str], tags: dict[str, Any]) -> None:
        """Parameters cannot be changed in MLflow; one that a resumed run was given anew is a tag of the same name."""
        from mlflow.entities import Param, RunTag

        for batch in batches(list(params.items()), PARAMETERS_PER_BATCH):
            self._client.log_batch(run_id, params=[Param(key, value) for key, value in batch])
        for batch in batches(list(tags.items()), PARAMETERS_PER_BATCH):
            self._client.log_batch(run_id, tags=[RunTag(name_of(key), text(value)[:TAG_LENGTH]) for key, value in batch])

    def _linked(self, key: str, value: Any) -> Any:
        return linked(value, self._page_of) if key == DESCRIPTION and isinstance(value, str) else value

    def _page_of(self, run: str) -> str | None:
        """Where MLflow's UI shows a run; None where there is none."""
        return f"#/experiments/{self._experiment}/runs/{self._runs[run]}" if run in self._runs else None

    def _metrics(self, run_id: str, points: list[Point]) -> None:
        from mlflow.entities import Metric

        if self.repeats:  # points told again, after the records were cut, have another time
            known = {name: self._client.get_metric_history(run_id, name) for name in {name_of(point[0]) for point in points}}
            told = {(name, metric.step, repr(metric.value)) for name, history in known.items() for metric in history}
            points = [point for point in points if (name_of(point[0]), point[3], repr(_number(point[1]))) not in told]
        for batch in batches(points, METRICS_PER_BATCH):
            metrics = [Metric(name_of(key), _number(value), at, step) for key, value, at, step in batch]
            self._client.log_batch(run_id, metrics=metrics)

    def _result(self, run_id: str, event: Event) -> None:
        """Numbers become metrics of step 0, words become tags."""
        flat = flatten(event["row"])
        numbers = {key: value for key, value in flat.items() if _is_metric(value)}
        self._metrics(run_id, [(key, value, when(event), 0) for key, value in numbers.items()])
        words = {f"result.{key}": flat[key] for key in flat.keys() - numbers.keys() if isinstance(flat[key], str | int)}
        self._params_and_tags(run_id, {}, words)

    def _image(self, run_id: str, event: Event, records: Records) -> None:
        """What MlflowClient.log_image does, but under a name that is the same when sent again."""
        source = self.folder / event["path"]
        if not may_be_sent(self.folder, source):
            return
        same = {name: event[name] for name in ("kind", "run", "key", "step")}
        first = next(other for other in records.events if same.items() <= other.items())
        key, unique = image_key(event["key"]), uuid5(UUID(records.folder_id), json.dumps(list(same.values())))
        name = f"{key}+step+{event['step']}+timestamp+{first['time']}+{unique}"
        there = [Path(file.path).name for file in self._client.list_artifacts(run_id, "images")] if self.repeats else []
        if any(other.startswith(name.partition("+timestamp+")[0] + "+") for other in there):
            return
        with TemporaryDirectory() as folder, _png(source) as image:
            image.save(Path(folder, f"{name}.png"))
            image.thumbnail((THUMBNAIL, THUMBNAIL))
            image.save(Path(folder, f"{name}+compressed.webp"))
            self._client.log_artifacts(run_id, folder, "images")
        self._client.set_tag(run_id, "mlflow.loggedImages", "True")

    def _artifact(self, run_id: str, path: Path, folder: str) -> None:
        if may_be_sent(self.folder, path) and not (self.repeats and self._has(run_id, path, folder)):
            self._client.log_artifact(run_id, str(path), folder or None)

    def _has(self, run_id: str, path: Path, folder: str) -> bool:
        """Whether MLflow has this very file."""
        there = [file for file in self._client.list_artifacts(run_id, folder or None) if Path(file.path).name == path.name]
        if not there or there[0].file_size != path.stat().st_size:
            return False
        with TemporaryDirectory() as place:
            return Path(self._client.download_artifacts(run_id, there[0].path, place)).read_bytes() == path.read_bytes()

    def _dataset(self, run_id: str, event: Event) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        digest, sizes = event["digest"][:DIGEST_LENGTH], json.dumps(event["sizes"])
        dataset = Dataset(event["name"][:DATASET_LENGTH], digest, "local", json.dumps({"uri": event["name"]}), profile=sizes)
        self._client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def is_last(event: Event, records: Records) -> bool:
    """Whether a start or an end is the last one of its run: what came before it is history by now."""
    own = (other for other in reversed(records.events) if other["kind"] in ("start", "end") and other["run"] == event["run"])
    return next(own)["n"] == event["n"]


def first_start(run: str, records: Records) -> Event | None:
    """The event with which a run began, or began anew."""
    return next((event for event in records.events if event["kind"] == "start" and event["run"] == run), None)


def _number(value: float | int | None) -> float:
    return math.nan if value is None else float(value)


def _is_metric(value: Any) -> bool:
    """Whether it is a number that a database holds; a seed may be larger."""
    return isinstance(value, int | float) and not isinstance(value, bool) and (isinstance(value, float) or abs(value) < 2**63)


def _png(path: Path) -> "Image.Image":
    """Raises UserError where a file, which may be somebody else's, is no such image."""
    from PIL import Image

    too_large = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path, formats=["PNG"])
        image.load()
    except (OSError, SyntaxError, ValueError, MemoryError, *too_large) as error:
        raise UserError(f"{path} is no PNG image that can be read; delete it, and give the same command again.") from error
    return image
