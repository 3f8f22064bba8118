"""Files of somebody's own data: which can be read, and which files they are."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.data import images, npz, tables
from pipeline.data.dataset import Dataset


@dataclass(frozen=True)
class Reader:
    """How data of a kind are read; each function is given the path."""

    load: Callable[[Path], Dataset]
    files: Callable[[Path], list[Path]] = lambda path: [path]
    """every file that they are made from, whether it is there or not"""


READERS = {
    ".npz": Reader(npz.load_npz),
    ".csv": Reader(tables.load_csv),
    ".parquet": Reader(tables.load_parquet),
}
"""by the end of a file's name, in small letters"""
FOLDER = Reader(images.load_folder, images.files_in)


def own_path(dataset: str) -> Path:
    """Where the data are, with ~ spelt out."""
    return Path(os.path.expanduser(dataset))


def own_reader(dataset: str) -> Reader | None:
    """What reads a data set that is no known name; None where nothing can."""
    path = own_path(dataset)
    if os.path.isdir(path):
        return FOLDER
    return READERS.get(path.suffix.lower())
