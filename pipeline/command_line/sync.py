"""``grad-instructor sync``: what could not be sent to MLflow before."""

from pipeline.addresses import shown_address
from pipeline.command_line.folders import check_is_run, newest_folder
from pipeline.command_line.options import SyncCommand
from pipeline.errors import UserError
from pipeline.progress import console
from pipeline.results.mlflow import Mirror
from pipeline.results.records import Records


def command(look: SyncCommand, _line: str) -> int:
    """Send what could not be sent, each record once."""
    folder = (look.output or newest_folder()).absolute()
    check_is_run(folder)
    problems: list[str] = []
    mirror = Mirror(folder, look.tracking_uri, look.experiment, problems.append)
    mirror.send(Records(folder))
    if problems:
        raise UserError(problems[0])
    console.print(f"all records of {folder} are in MLflow at {shown_address(mirror.uri)}", soft_wrap=True)
    return 0
