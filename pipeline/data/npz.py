"""Anyone's own data in an .npz, as numpy.savez writes it; nothing is unpickled. MedMNIST's files are read as they are.

What the arrays must be: :mod:`pipeline.data.arrays`.
"""

import math
import os
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from pipeline.data.arrays import Arrays, dataset_of
from pipeline.data.dataset import Dataset
from pipeline.data.room import check_room
from pipeline.data.splits import Indices
from pipeline.errors import UserError, shown

UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, MemoryError)
UNREADABLE += (tokenize.TokenError, LookupError, TypeError, AttributeError, ArithmeticError, SyntaxError, struct.error)
"""what zipfile and NumPy raise on damaged, encrypted or absurdly sized members (OSError is told apart)"""
MEDMNIST = {
    f"{theirs}_{kind}": f"{letter}_{ours}"
    for theirs, ours in (("train", "train"), ("val", "validation"), ("test", "test"))
    for kind, letter in (("images", "x"), ("labels", "y"))
}
"""its keys, and ours (Yang et al., MedMNIST v2, Scientific Data 10:41, 2023)"""


def load_npz(path: Path, name: str | None = None, split: Indices | None = None) -> Dataset:
    """The data set in ``path`` (see :func:`pipeline.data.arrays.dataset_of`).

    Raises:
        UserError: names the file, the key and what is wrong with it.
    """
    return dataset_of(path, _renamed(read(path)), name, split)


def _renamed(arrays: Arrays) -> Arrays:
    return {MEDMNIST[key]: array for key, array in arrays.items()} if arrays.keys() == MEDMNIST.keys() else arrays


def read(path: Path) -> Arrays:
    """Every array in ``path``, as it is; nothing is unpickled."""
    if not os.path.isfile(path):
        raise UserError(f"the data file {path} does not exist; check the path.")
    try:
        if not zipfile.is_zipfile(path):
            raise UserError(f"{path} is truncated or no .npz file; write it again with numpy.savez.")
        _check_headers(path)
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}); check the file and its permissions.") from error
    except UNREADABLE as error:
        raise UserError(f"{path} is truncated or corrupt; write it again with numpy.savez.") from error
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray):  # numpy returns the bytes of a member that is no .npy file
            raise UserError(f"{shown(key)} in {path} is no array; write the file with numpy.savez.")
    return arrays


def _check_headers(path: Path) -> None:
    """Raises UserError where the arrays would not fit into memory, one claims to be larger than what is there of it, or one is
    of Python objects.

    A few bytes may unpack to terabytes, and NumPy makes room for what a header claims before it reads on.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        check_room(path, sum(member.file_size for member in members))
        for member in members:
            with archive.open(member) as file:
                if file.read(6) != np.lib.format.MAGIC_PREFIX:
                    continue
                file.seek(0)
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
            if dtype.hasobject:
                raise UserError(f"{path} holds Python objects, which are not loaded; save plain arrays of numbers.")
            if math.prod(shape) * dtype.itemsize > member.file_size:
                raise ValueError("a header claims more than there is")
