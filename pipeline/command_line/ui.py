"""``grad-instructor ui``: MLflow's UI on a run's folder."""

import os
import signal
import subprocess

from pipeline import interrupts
from pipeline.command_line.folders import check_is_run, newest_folder
from pipeline.command_line.options import Look
from pipeline.progress import console
from pipeline.results.mlflow import ui_command


def command(look: Look, _line: str) -> int:
    """Open the MLflow UI on a run's folder."""
    folder = (look.output or newest_folder()).absolute()
    check_is_run(folder)
    console.print(f"MLflow UI of {folder}: http://{look.host}:{look.port}  (Ctrl-C ends it)")
    # a group of its own: Ctrl-C comes to this process alone, and the server ends by SIGTERM, which it takes without a traceback
    process = subprocess.Popen(ui_command(folder, look.port, look.tracking_uri, look.host), process_group=0)
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
