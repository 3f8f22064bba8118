"""Which files of a run's folder may be sent: it may be somebody else's."""

import os
from pathlib import Path

from pipeline.errors import UserError
from pipeline.files import check_size

ROOM = 8
"""times the size of a file that is sent must be free: what a run has made is far smaller"""


def is_ours(folder: Path, path: Path) -> bool:
    """Whether a plain file is there and in the folder: a link in somebody else's folder may lead anywhere."""
    if not path.is_file() or path.stat().st_nlink > 1:
        return False
    return path.resolve() == folder.resolve() / path.relative_to(folder)


def may_be_sent(folder: Path, path: Path) -> bool:
    """Whether a file is there that records name.

    Raises:
        UserError: something else is: a link, or a folder, whatever may be in it; or it is huge.
    """
    if is_ours(folder, path):
        check_size(path, path.stat().st_size, ROOM)
        return True
    if os.path.lexists(path):
        raise UserError(
            f"{path} is a link or no file, and is not sent to MLflow; put the file itself there, or remove it, and give the "
            "same command again."
        )
    return False
