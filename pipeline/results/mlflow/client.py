"""MLflow's client, which is imported on first use (it takes seconds), and what its failures are in words."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.errors import reason_of
from pipeline.results.mlflow.address import database_of

# A server that stops answering costs at most (1 + 1 retry) × 4 s. What the user has set is kept.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
}
POOL = "MLFLOW_SQLALCHEMYSTORE_POOLCLASS"
_ENVIRONMENT_IS_ONES = threading.Lock()
ANSWER = 8.0
"""seconds in which a server or a database must have said that it is there"""
CALL, UPLOAD = 30.0, 600.0
"""seconds that one request may take, and one with files, however slowly the answer drips in"""
WITHIN = (2.0, 4.0)
"""seconds for a server to take the connection, and to begin its answer"""


def new_client(uri: str) -> Any:
    """A client of one server; MLflow's global state is left alone."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # it would print the address with its password
    from mlflow import MlflowClient

    with _closing_files(uri):
        own = MlflowClient(tracking_uri=uri, registry_uri=uri)
    return Bounded(own) if uri.startswith(("http:", "https:")) else own


@contextmanager
def _closing_files(uri: str) -> Iterator[None]:
    """MLflow keeps the connections to a database for as long as the process lives, by its address. To one in a file there is no
    other way than to open it each time: a file that was deleted, and made again, would be written to no more."""
    if database_of(uri) is None:
        yield
        return
    with _ENVIRONMENT_IS_ONES:  # or one thread would take away what another has set
        if POOL in os.environ:
            yield
            return
        os.environ[POOL] = "NullPool"
        try:
            yield
        finally:
            os.environ.pop(POOL, None)  # who calls main() may have put the environment back meanwhile


class Bounded:
    """A client whose every call ends: each read of an answer may have its time, but so may the next one."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method, seconds = getattr(self._client, name), UPLOAD if name.startswith("log_artifact") else CALL
        return lambda *args, **keywords: bounded(lambda: method(*args, **keywords), seconds)


def bounded(work: Callable[[], Any], seconds: float) -> Any:
    """What ``work`` gives, or raises. It is given up, in a thread that nobody waits for, when it takes too long.

    Raises:
        OSError: it did.
    """
    found: list[tuple[Any, BaseException | None]] = []

    def do() -> None:
        try:
            found.append((work(), None))
        except BaseException as error:
            found.append((None, error))

    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    result, error = found[0]
    if error is not None:
        raise error
    return result


def probe(uri: str) -> None:
    """Ask a server or a database whether it is there, before MLflow is imported and retries, for minutes in the end.

    Raises:
        OSError: it is not (requests' exceptions are OSErrors).
    """
    if uri.startswith(("http:", "https:")):
        bounded(lambda: _probe_server(uri), ANSWER)
    elif not uri.startswith("databricks"):
        bounded(lambda: _probe_database(uri), ANSWER)


def _probe_server(uri: str) -> None:
    import requests

    with suppress(requests.exceptions.SSLError):  # there, and MLflow has its own settings for certificates
        answer = requests.get(uri.rstrip("/") + "/health", timeout=WITHIN)
        if answer.status_code >= 500:
            raise OSError(f"it answers with HTTP status {answer.status_code}")


def _probe_database(uri: str) -> None:
    """One connection; a SQLite database that is not there yet is made later, if its folder can be."""
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    database = database_of(uri)
    if database is not None:
        if not os.path.lexists(database):
            _check_place(database.parent)
            return
        if not database.is_file() or not os.access(database, os.W_OK):
            raise PermissionError(f"{database} is no file that can be written to")
    try:
        inspect(create_engine(uri, poolclass=NullPool)).get_table_names()
    except SQLAlchemyError as error:
        raise OSError(reason_of(getattr(error, "orig", None) or error)) from error


def _check_place(folder: Path) -> None:
    """Raises OSError where no database can be made in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} is not writable")


def is_failure(error: Exception) -> bool:
    """Whether it is MLflow that failed, or the way to it."""
    packages = {kind.__module__.split(".")[0] for kind in type(error).__mro__}
    return isinstance(error, OSError) or bool(packages & {"mlflow", "sqlalchemy", "alembic"})


def reason(error: Exception) -> str:
    """In a few words."""
    import requests

    if isinstance(error, requests.exceptions.InvalidURL):  # its words quote what they take for the host
        return "its address cannot be read; what is no letter or digit in a user or password is written as %2F, %40 and so on"
    if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.ReadTimeout):
        return "no answer"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "no connection"
    return reason_of(error)
