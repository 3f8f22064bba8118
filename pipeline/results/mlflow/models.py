"""ENNs as MLflow's logged models: their own two files, no pickle, and what is said of them."""

from pathlib import Path
from typing import Any

from pipeline.results.mlflow.events import name_of, text
from pipeline.results.mlflow.files import may_be_sent
from pipeline.results.records import Event

DIGEST_TAG = "grad_instructor.sha256"
TYPE = "evaluation-neural-network"
LENGTH = 250
"""characters of a parameter's value that MLflow keeps of a model"""
LOADED_BY = "grad_instructor.load"


UNKNOWN = "ENDPOINT_NOT_FOUND"
"""what servers before MLflow 3 say to logged models"""


class Models:
    """Sends ENNs of one folder to one experiment, each once: a model is known by its run and its file's digest.

    A server that knows no logged models is sent the files as artifacts of the run, in ``enn``.
    """

    def __init__(self, client: Any, experiment: str, folder: Path) -> None:
        self._client, self._experiment, self._folder = client, experiment, folder

    def send(self, run_id: str, event: Event) -> None:
        """Make the model of an event, with its files, unless it is there. What a kill has left unfinished is finished."""
        path = self._folder / event["path"]
        files = [file for file in (path, path.with_suffix(".json")) if may_be_sent(self._folder, file)]
        if path not in files:
            return
        from mlflow.exceptions import MlflowException

        try:
            self._make(run_id, event, files)
        except MlflowException as error:
            if error.error_code != UNKNOWN:
                raise
            for file in files:
                self._client.log_artifact(run_id, str(file), "enn")

    def _make(self, run_id: str, event: Event, files: list[Path]) -> None:
        found = self._find(run_id, event["sha256"])
        model = found or self._client.create_logged_model(
            self._experiment,
            name=event["name"],
            source_run_id=run_id,
            tags={DIGEST_TAG: event["sha256"], "loaded_by": LOADED_BY},
            params={name_of(key): text(value)[:LENGTH] for key, value in event["facts"].items()},
            model_type=TYPE,
        )
        if model.status != "READY":
            for file in files:
                self._client.log_model_artifact(model.model_id, str(file))
            self._client.finalize_logged_model(model.model_id, "READY")
        self._link(run_id, model.model_id)

    def _find(self, run_id: str, digest: str) -> Any:
        """The model of this run that has these bytes, if it was made before."""
        models = self._client.search_logged_models([self._experiment], f"source_run_id = '{run_id}'")
        return next((model for model in models if model.tags.get(DIGEST_TAG) == digest), None)

    def _link(self, run_id: str, model_id: str) -> None:
        """Name the model among what the run has made."""
        from mlflow.entities import LoggedModelOutput

        outputs = self._client.get_run(run_id).outputs
        if model_id not in [output.model_id for output in (outputs.model_outputs if outputs else [])]:
            self._client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
