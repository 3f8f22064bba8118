"""Which files a data set is read from: whether it is the one of yesterday can be known without reading it into arrays."""

import hashlib
import os
from pathlib import Path

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
    except (UserError, ValueError):  # to be said when it is loaded
        return None
    return hashlib.sha256("\n".join(found).encode()).hexdigest()


def _sources(dataset: str, folder: Path) -> list[Path]:
    if dataset.endswith(".npz"):
        return [Path(os.path.expanduser(dataset))]
    if dataset in DATA_SETS:
        return DATA_SETS[dataset].paths(folder)
    raise UserError(f"unknown data set {dataset!r}.")
