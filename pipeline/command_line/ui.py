"""``grad-instructor ui``: MLflow's UI on a run's folder."""

import ipaddress
import os
import signal
import subprocess

from pipeline import interrupts
from pipeline.command_line.folders import check_is_run, newest_folder
from pipeline.command_line.options import UiCommand
from pipeline.progress import console
from pipeline.results.mlflow import ui_command, ui_environment


def command(look: UiCommand, _line: str) -> int:
    """Open the MLflow UI on a run's folder."""
    folder = (look.output or newest_folder()).absolute()
    check_is_run(folder)
    server, variables = ui_command(folder, look.port, look.tracking_uri, look.host), ui_environment(folder, look.tracking_uri)
    if not _is_private(look.host):
        console.print(f"warning: {look.host} can be reached from other machines, and MLflow asks nobody who they are.")
    console.print(f"MLflow UI of {folder}: http://{look.host}:{look.port}  (Ctrl-C ends it)")
    # a group of its own: Ctrl-C comes to this process alone, and the server ends by SIGTERM, which it takes without a traceback
    process = subprocess.Popen(server, env=os.environ | variables, process_group=0)
    try:
        return process.wait()
    except KeyboardInterrupt:
        interrupts.hear()
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        return 0


def _is_private(host: str) -> bool:
    """Whether only this machine can reach an address that is listened on."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
