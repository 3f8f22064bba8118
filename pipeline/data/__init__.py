"""Data sets by name or from files, with fixed training, validation and test examples. First on the arrow."""

import os
from pathlib import Path

from pipeline.data.dataset import Dataset
from pipeline.data.own import own_path, own_reader
from pipeline.data.sets import DATA_SETS
from pipeline.data.sources import sources_digest
from pipeline.errors import UserError, nearest

__all__ = ["DATA_SETS", "Dataset", "data_folder", "found", "load", "sources_digest"]


def load(dataset: "str | os.PathLike[str]", folder: str | None = None, download: bool = False) -> Dataset:
    """The data set of that name (``DATA_SETS``), or the one in a file (.npz, .csv, .parquet) or in a folder of images.

    ``folder`` is where the named ones are kept (see :func:`data_folder`); ``download`` fetches one that is not there.
    ``cifar10`` is the first 10,000 images, named ``cifar10-10k``, where only ``cifar10_10k.npz`` is there.

    Raises:
        UserError: unknown name; files that are missing, truncated, corrupt or not as :mod:`pipeline.data.arrays` wants them.
    """
    name = os.fspath(dataset)
    if name in DATA_SETS:
        return DATA_SETS[name].load(data_folder(folder), download)
    if (own := own_reader(name)) is not None:
        return own.load(own_path(name))
    near, names = nearest(name, DATA_SETS), ", ".join(DATA_SETS)
    kinds = "an .npz, .csv or .parquet file, or a folder of images"
    if os.path.sep in name or os.path.exists(own_path(name)):
        raise UserError(f"{name!r} is no data set that can be read; give one of {names}, or {kinds}.")
    raise UserError(f"unknown data set {name!r}; give one of {names}, or {kinds} (did you mean {near!r}?).")


def found(folder: str | None = None) -> dict[str, str]:
    """For each known data set one line: ``ready`` (and which, for cifar10), or what is missing and where. Reads no data."""
    place = data_folder(folder)
    return {name: own.problem(place) or own.ready(place) for name, own in DATA_SETS.items()}


def data_folder(folder: str | None) -> Path:
    """``folder`` if given, else the environment's GRAD_INSTRUCTOR_DATA, else ~/.cache/grad-instructor."""
    return Path(os.path.expanduser(folder or os.environ.get("GRAD_INSTRUCTOR_DATA") or "~/.cache/grad-instructor"))
