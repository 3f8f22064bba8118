"""MLflow's own server: its UI on a folder's runs, and whether one answers."""

import errno
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

from pipeline.addresses import shown_address
from pipeline.errors import UserError
from pipeline.results.mlflow import client
from pipeline.results.mlflow.address import SERVERS, checked, database_of, given, local_uri

GRACE = 3
"""seconds that a server that is ended waits for requests"""


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
    # each page is a hundred requests; one that does not end keeps nothing alive
    server += ["--uvicorn-opts", f"--log-level warning --no-access-log --timeout-graceful-shutdown {GRACE}"]
    return [*server, "--artifacts-destination", str(folder / "mlartifacts")]


def ui_environment(folder: Path, tracking_uri: str | None = None) -> dict[str, str]:
    """Variables for :func:`ui_command`: the database, and no telemetry; its job runners, which nothing here uses, stay off."""
    own = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_LOGGING_LEVEL": "WARNING"}
    return own | {"MLFLOW_BACKEND_STORE_URI": _uri(folder, tracking_uri)}


def _uri(folder: Path, tracking_uri: str | None) -> str:
    return checked(given(tracking_uri) or local_uri(Path(folder).resolve()))


def check_port(host: str, port: int) -> None:
    """Raises UserError where nothing can listen at a port: another server does already, or there is no such address."""
    if not 0 < port < 2**16:
        raise UserError(f"--port is {port}; give one from 1 to {2**16 - 1}.")
    try:
        _listen(host, port)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise UserError(f"--host {host} cannot be listened on ({error.strerror}); give 127.0.0.1.") from error
        why = "is taken by another program" if error.errno == errno.EADDRINUSE else "may not be listened on"
        raise UserError(f"port {port} {why}; give a free one, such as --port {_free(host, port)}.") from error


def _listen(host: str, port: int) -> None:
    """Raises OSError where that cannot be done."""
    for family, kind, _, _, address in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[:1]:
        with socket.socket(family, kind) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            tried.bind(address)
            tried.listen()


def _free(host: str, port: int) -> int:
    """The next port that is free, or any."""
    for other in range(max(port, 1024) + 1, min(max(port, 1024) + 50, 2**16)):
        with suppress(OSError):
            _listen(host, other)
            return other
    with socket.socket() as any_one:
        any_one.bind(("", 0))
        return any_one.getsockname()[1]


def own_address(host: str, port: int) -> str:
    """Where this machine reaches what listens on a host, which may be all of its addresses."""
    host = host.strip("[]")
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def wait_for(address: str, ended: Callable[[], bool]) -> bool:
    """Whether a server answers in the end; it does not where its process has ended before."""
    while not ended():
        with suppress(OSError), urlopen(f"{address}/health", timeout=client.ANSWER) as answer:
            if answer.status == 200:
                return True
        time.sleep(0.1)
    return False


class Said:
    """What a server prints, on its way to where errors go. What it says while it starts (which database it has taken, what is
    deprecated in its own libraries) is kept, unless an error is among it.

    Args:
        process: whose output is a pipe.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._output, self._kept, self._starts = process.stdout, [], True
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def _pass_on(self) -> None:
        for line in self._output or ():
            with self._lock:
                self._kept.append(line)
                if not self._starts or re.search(rb"\b(ERROR|CRITICAL|Traceback)\b", line):
                    self._print()

    def _print(self) -> None:
        self._starts = False
        with suppress(OSError):  # a terminal that is gone
            os.write(2, b"".join(self._kept))
        self._kept = []

    def from_now_on(self) -> None:
        """It has started: what it says from now on is printed as it comes."""
        with self._lock:
            self._starts, self._kept = False, []

    def all(self) -> None:
        """It has ended: print what was kept."""
        self._thread.join(client.ANSWER)
        with self._lock:
            self._print()


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
