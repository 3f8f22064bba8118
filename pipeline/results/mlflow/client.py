"""MLflow's client, which is imported on first use (it takes seconds), and what its failures are in words."""

import os
from contextlib import suppress
from typing import Any

from pipeline.errors import reason_of

# A server that stops answering costs at most (1 + 1 retry) × 4 s. What the user has set is kept.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
}


def new_client(uri: str) -> Any:
    """A client of one server; MLflow's global state is left alone."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def probe(uri: str) -> None:
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


def is_failure(error: Exception) -> bool:
    """Whether it is MLflow that failed, or the way to it."""
    packages = {kind.__module__.split(".")[0] for kind in type(error).__mro__}
    return isinstance(error, OSError) or bool(packages & {"mlflow", "sqlalchemy", "alembic"})


def reason(error: Exception) -> str:
    """In a few words."""
    import requests

    if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.ReadTimeout):
        return "no answer"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "no connection"
    return reason_of(error)
