"""MLflow's own server: its UI on a folder's runs, and whether one answers."""

import sys
from pathlib import Path

from pipeline.addresses import shown_address
from pipeline.errors import UserError
from pipeline.results.mlflow import client
from pipeline.results.mlflow.address import SERVERS, checked, database_of, given, local_uri


def ui_command(folder: Path, port: int = 5000, tracking_uri: str | None = None, host: str = "127.0.0.1") -> list[str]:
    """The command that shows the folder's runs in a browser: MLflow's server, for this machine only, as one process.

    MLflow answers requests that name localhost or a private address and refuses others, which is what is wanted here. Which
    database it is to show stands in its environment (:func:`ui_environment`): everyone can read a process's arguments.

    Raises:
        UserError: the runs are on a server, which has a UI already, or there are none.
    """
    folder, uri = Path(folder).resolve(), _uri(folder, tracking_uri)
    if uri.split(":")[0] in SERVERS:
        raise UserError(f"the runs are on a server that has its own UI; open {shown_address(uri)} in a browser.")
    database = database_of(uri)
    if database is not None and not database.exists():
        raise UserError(f"there is no MLflow database at {database}; give the folder of a run, or start one first.")
    server = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    return [*server, "--artifacts-destination", str(folder / "mlartifacts")]


def ui_environment(folder: Path, tracking_uri: str | None = None) -> dict[str, str]:
    """Variables for :func:`ui_command`: the database, and no telemetry; its job runners, which nothing here uses, stay off."""
    own = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return own | {"MLFLOW_BACKEND_STORE_URI": _uri(folder, tracking_uri)}


def _uri(folder: Path, tracking_uri: str | None) -> str:
    return checked(given(tracking_uri) or local_uri(Path(folder).resolve()))


def health(tracking_uri: str | None, folder: Path | None) -> str:
    """One line on the tracking server, for ``doctor``."""
    tracking_uri = given(tracking_uri)
    if tracking_uri is None:
        where = "in the output folder" if folder is None else f"{Path(folder).resolve() / 'mlflow.db'}"
        there = folder is not None and (Path(folder) / "mlflow.db").exists()
        return f"SQLite {where}" + ("" if there or folder is None else " (made by the first run)")
    uri = checked(tracking_uri)
    try:
        client.probe(uri)
    except OSError as error:
        why = f"cannot be reached ({client.reason(error)})"
        return f"{shown_address(uri)}: {why}; a run goes on without it, `grad-instructor sync` sends later"
    return f"{shown_address(uri)}: answers"
