"""Anyone's own data: an .npz with x_train, y_train, x_test, y_test and, if wished, x_validation, y_validation.

x is (N, features), (N, H, W), (N, C, H, W) or, where the last axis and not the second is 1 or 3, (N, H, W, C). Floating-point
values are taken as they are; uint8 is divided by 255. y is (N,), whole numbers from 0; there are as many classes as the
largest training label says. Without validation rows, a tenth of the training rows (rounded down, at least one) is held out,
chosen by a shuffle that depends on their number alone.
"""

import difflib
import math
import os
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from pipeline.data.dataset import Dataset
from pipeline.data.splits import Indices, hold_out
from pipeline.errors import UserError, nearest, shown

REQUIRED = ("x_train", "y_train", "x_test", "y_test")
OPTIONAL = ("x_validation", "y_validation")
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, MemoryError)
UNREADABLE += (tokenize.TokenError, LookupError, TypeError, AttributeError, ArithmeticError, SyntaxError, struct.error)
"""what zipfile and NumPy raise on damaged, encrypted or absurdly sized members (OSError is told apart)"""

Arrays = dict[str, np.ndarray]


def load_npz(path: Path, name: str | None = None, split: Indices | None = None) -> Dataset:
    """The data set in ``path``, called by its stem unless ``name`` is given; ``split`` sets which training rows validate.

    Raises:
        UserError: names the file, the key and what is wrong with it.
    """
    arrays = read(path)
    _check_keys(path, arrays)
    _check_shapes(path, arrays)
    image_shape = arrays["x_train"].shape[1:]
    classes = _check_labels(path, arrays)
    if "x_validation" not in arrays:
        arrays = _with_validation(path, arrays, split)
    values = {key: _flat(path, key, array) if key[0] == "x" else array.astype(np.int64) for key, array in arrays.items()}
    return Dataset(name=name or path.stem, image_shape=_channels_first(image_shape), classes=classes, **values)


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
    import psutil

    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        needed, free = sum(member.file_size for member in members), psutil.virtual_memory().available
        if needed > free // 2:  # they are converted, so that they are there twice
            raise UserError(
                f"{path} unpacks to {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB of memory are free; give a smaller one."
            )
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


def _check_keys(path: Path, arrays: Arrays) -> None:
    wanted = REQUIRED + (OPTIONAL if any(key in arrays for key in OPTIONAL) else ())
    missing = [key for key in wanted if key not in arrays]
    unknown = [key for key in arrays if key not in REQUIRED + OPTIONAL]
    if missing:
        near = difflib.get_close_matches(missing[0], [key[:80] for key in unknown], n=1)
        hint = f"rename {near[0]!r}" if near else f"it has {', '.join(map(_name, sorted(arrays)[:6])) or 'no arrays'}"
        raise UserError(f"{path} has no {missing[0]!r}; {hint}.")
    if unknown:
        near = nearest(unknown[0], REQUIRED + OPTIONAL)
        raise UserError(f"{path} has an unknown key {shown(unknown[0])}; remove it or rename it to {near!r}.")


def _name(key: str) -> str:
    return key if key.isidentifier() and len(key) <= 80 else shown(key)


def _check_shapes(path: Path, arrays: Arrays) -> None:
    first = arrays["x_train"]
    for key in (key for key in arrays if key[0] == "x"):
        x, y = arrays[key], arrays["y" + key[1:]]
        if x.ndim not in (2, 3, 4):
            raise UserError(f"{key!r} in {path} has shape {x.shape}; give (N, features), (N, H, W) or (N, C, H, W).")
        if y.ndim != 1 or len(y) != len(x):
            raise UserError(f"'y{key[1:]}' in {path} has shape {y.shape}; give one label per row of {key!r} ({len(x)} rows).")
        if x.size == 0:
            raise UserError(f"{key!r} in {path} is empty (shape {x.shape}); give at least one example.")
        if x.shape[1:] != first.shape[1:]:
            raise UserError(f"{key!r} in {path} has examples of shape {x.shape[1:]}; give {first.shape[1:]} as in 'x_train'.")
        if x.dtype != np.uint8 and x.dtype.kind != "f":
            raise UserError(f"{key!r} in {path} is of type {x.dtype}; give floating-point numbers or uint8.")
        if (x.dtype == np.uint8) != (first.dtype == np.uint8):
            raise UserError(f"{key!r} in {path} is {x.dtype} and 'x_train' is {first.dtype}; give both on the same scale.")


def _check_labels(path: Path, arrays: Arrays) -> int:
    for key in (key for key in arrays if key[0] == "y"):
        if arrays[key].dtype.kind not in "iu":
            raise UserError(f"{key!r} in {path} is of type {arrays[key].dtype}; give labels as whole numbers from 0.")
        if arrays[key].min() < 0:
            raise UserError(f"{key!r} in {path} has the negative label {arrays[key].min()}; number the classes from 0.")
    y, classes = arrays["y_train"], int(arrays["y_train"].max()) + 1
    if len(np.unique(y)) < 2:
        raise UserError(f"'y_train' in {path} has a single class; give at least 2.")
    if classes > len(y):
        raise UserError(f"'y_train' in {path} has label {classes - 1} but only {len(y)} rows; number the classes from 0.")
    for key in (key for key in arrays if key[0] == "y"):
        if arrays[key].max() >= classes:
            raise UserError(f"{key!r} in {path} has label {arrays[key].max()}; the labels of 'y_train' end at {classes - 1}.")
    return classes


def _with_validation(path: Path, arrays: Arrays, split: Indices | None) -> Arrays:
    rows = len(arrays["y_train"])
    split = split or hold_out(rows, max(1, rows // 10), "npz")
    if rows != len(split["train"]) + len(split["validation"]):
        expected = len(split["train"]) + len(split["validation"])
        raise UserError(f"'x_train' in {path} has {rows} rows, not {expected}; pass --dataset {path} to use it all the same.")
    kept = {key: array for key, array in arrays.items() if key.endswith("_test")}
    return kept | {f"{kind}_{part}": arrays[f"{kind}_train"][index] for part, index in split.items() for kind in "xy"}


def _flat(path: Path, key: str, x: np.ndarray) -> np.ndarray:
    if _channels_last(x.shape[1:]):
        x = np.moveaxis(x, -1, 1)
    with np.errstate(over="ignore"):  # what overflows is reported below
        flat = x.reshape(len(x), -1).astype(np.float32, order="C")
    if not np.isfinite(flat).all():
        raise UserError(f"{key!r} in {path} has NaN, infinite or too large values; remove or replace them.")
    return flat / np.float32(255) if x.dtype == np.uint8 else flat


def _channels_last(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[2] in (1, 3) and shape[0] not in (1, 3)


def _channels_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) == 2:
        return (1, *shape)
    return (shape[2], *shape[:2]) if _channels_last(shape) else shape
