"""Which files a data set is read from: whether it is the one of yesterday can be known without reading it into arrays."""

import hashlib
import os
from pathlib import Path

from pipeline.data.own import own_path, own_reader
from pipeline.data.sets import DATA_SETS
from pipeline.errors import UserError
from pipeline.files import sha256_of


def sources_digest(dataset: str, folder: Path) -> str | None:
    """The SHA-256 of all bytes that :func:`pipeline.data.load` would make a data set from; None where a file is not there.

    Equal bytes make an equal data set; bytes that differ may (a file written again), and only loading it tells.

    Args:
        folder: where the named data sets are kept.
    """
    try:
        found = [sha256_of(path) for path in _sources(dataset, folder)]
        found += _names(dataset)
    except (UserError, ValueError, OSError):  # to be said when it is loaded
        return None
    return hashlib.sha256("\n".join(found).encode("utf-8", "backslashreplace")).hexdigest()


def _sources(dataset: str, folder: Path) -> list[Path]:
    if dataset in DATA_SETS:
        return DATA_SETS[dataset].paths(folder)
    if (own := own_reader(dataset)) is not None:
        return own.files(own_path(dataset))
    raise UserError(f"unknown data set {dataset!r}.")


def _names(dataset: str) -> list[str]:
    """The names of the files, where they say what is in them."""
    own = None if dataset in DATA_SETS else own_reader(dataset)
    if own is None or not os.path.isdir(own_path(dataset)):
        return []
    return [os.path.relpath(path, own_path(dataset)) for path in own.files(own_path(dataset))]
