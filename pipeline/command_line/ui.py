"""``grad-instructor ui``: MLflow's UI on a run's folder."""

import ipaddress
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline import children, interrupts
from pipeline.command_line.folders import check_is_run, locked, newest_folder
from pipeline.command_line.options import UiCommand
from pipeline.errors import UserError
from pipeline.progress import console, warn
from pipeline.results.mlflow import Mirror, given, ui_command, ui_environment
from pipeline.results.mlflow.ledger import Ledger
from pipeline.results.mlflow.server import Said, check_port, own_address, wait_for
from pipeline.results.mlflow.view import pages
from pipeline.results.records import Records


def command(look: UiCommand, _line: str) -> int:
    """Show a run's folder in MLflow's UI until it is interrupted."""
    folder = (look.output or newest_folder()).absolute()
    check_is_run(folder)
    mirror = Mirror(folder, look.tracking_uri, look.experiment, warn)
    if given(look.tracking_uri) is None:
        _bring_up_to_date(folder, mirror)
    server, variables = ui_command(folder, look.port, look.tracking_uri, look.host), ui_environment(folder, look.tracking_uri)
    check_port(look.host, look.port)
    if not _is_private(look.host):
        console.print(f"warning: {look.host} can be reached from other machines, and MLflow asks nobody who they are.")
    console.print("starting MLflow's server, which takes some seconds")
    # a group of its own: Ctrl-C comes to this process alone, and the server ends by SIGTERM, which it takes without a traceback
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = children.start(server, env=os.environ | variables, process_group=0, **pipes)
    said = Said(process)
    try:
        address = own_address(look.host, look.port)
        if not wait_for(address, lambda: process.poll() is not None):
            said.all()
            raise UserError(f"MLflow's server ended before it answered (exit code {process.returncode}); see what it printed.")
        said.from_now_on()
        shown, *answer = _pages(address, folder, mirror)
        console.print(f"MLflow UI of {folder}: {shown}  (Ctrl-C ends it)", soft_wrap=True)
        for own in answer:
            console.print(f"the results as a table: {own}", soft_wrap=True)
        if look.open:
            _open(shown)
        return process.wait()
    except KeyboardInterrupt:
        interrupts.hear()
        return 0
    finally:
        _end(process)


def _bring_up_to_date(folder: Path, mirror: Mirror) -> None:
    """A folder that was moved, or whose records are not all sent: its database is made to say what they say.

    Where another command is at work in the folder, that is its business; where nothing can be written, what is there is shown.
    """
    with suppress(UserError), locked(folder):
        records = Records(folder)
        if not mirror.has(records):
            console.print(f"sending the records of {folder} to its database", soft_wrap=True)
            mirror.send(records)


def _pages(address: str, folder: Path, mirror: Mirror) -> list[str]:
    """The addresses of the pages of the folder's runs; of the server where that cannot be made."""
    experiment, folder_id = Ledger(mirror.folder, mirror.uri).read().get("experiment"), Records(folder).folder_id
    with suppress(OSError, ValueError, LookupError, TypeError):  # nothing was sent there, or by another version of MLflow
        if experiment and folder_id:
            return pages(address, str(experiment), folder_id)
    return [address]


def _open(address: str) -> None:
    import webbrowser

    if not webbrowser.open(address):
        console.print("no browser was found; open the address in one of yours")


def _end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _is_private(host: str) -> bool:
    """Whether only this machine can reach an address that is listened on."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
