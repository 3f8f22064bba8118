"""MLflow's own server: its UI on a folder's runs, and whether one answers."""

import sys
from pathlib import Path

from pipeline.errors import UserError, without_secrets
from pipeline.results.mlflow import client
from pipeline.results.mlflow.address import checked, database_of, local_uri


def ui_command(folder: Path, port: int = 5000, tracking_uri: str | None = None, host: str = "127.0.0.1") -> list[str]:
    """The command that shows the folder's runs in a browser: MLflow's server, for this machine only, as one process.

    MLflow answers requests that name localhost or a private address and refuses others, which is what is wanted here;
    its job runners, which nothing here uses, stay off.

    Raises:
        UserError: the runs are on a server, which has a UI already, or there are none.
    """
    folder = Path(folder).resolve()
    uri = checked(tracking_uri or local_uri(folder))
    if uri.startswith(("http", "databricks")):
        raise UserError(f"the runs are on a server that has its own UI; open {without_secrets(uri)} in a browser.")
    database = database_of(uri)
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
    uri = checked(tracking_uri)
    try:
        client.probe(uri)
    except OSError as error:
        why = f"cannot be reached ({client.reason(error)})"
        return f"{without_secrets(uri)}: {why}; a run goes on without it, `grad-instructor sync` sends later"
    return f"{without_secrets(uri)}: " + ("answers" if uri.startswith("http") else "a database, not tried")
