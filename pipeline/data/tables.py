"""Anyone's own data as a table, CSV or Parquet: a row per example, a column per feature, and one of labels.

The column of labels is called ``label``, ``target``, ``class`` or ``y``; labels may be texts (or true and false), which are
numbered in alphabetical order. A column ``split`` says of each row ``train``, ``validation`` (or ``val``) or ``test``. Without
one a fifth of the rows, chosen by a shuffle that depends on their number alone, is the test set. A column ``id`` or ``index``,
or one that pandas has made of its index, is left out. Capitals in these names, and spaces around names and texts, do not
matter. All others are features, and must be numbers: they are taken as they are, but whole numbers up to 255 in many columns
are pixels, and divided by 255 (MNIST as it goes round in CSV).

pyarrow reads both; nothing in them is unpickled or run.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.arrays import PIXELS, Arrays, dataset_of
from pipeline.data.dataset import Dataset
from pipeline.data.room import check_room
from pipeline.data.splits import hold_out
from pipeline.errors import UserError, reason_of, shown

LABELS = ("label", "target", "class", "y")
SPLIT = "split"
LEFT_OUT = re.compile(r"(id|index||unnamed: \d+|__index_level_\d+__)")
"""columns that number the rows; pandas writes one without a name, and reads it under another"""
NO_LABEL = ("", "nan")
"""texts, in small letters, by which a label is missing"""
OTHERWISE = {b";": "semicolons", b"\t": "tabs", b"|": "bars"}
"""what else people put between cells"""
PACKED = (b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
"""how files begin that are compressed"""
PARTS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
NUMBER = 8
"""bytes of a number once it is read"""


def load_csv(path: Path) -> Dataset:
    """The data set in a CSV file with a line of names.

    Raises:
        UserError: names the file, the column and what is wrong with it.
    """
    from pyarrow import csv

    def read() -> Any:
        check_room(path, os.path.getsize(path) * NUMBER)  # a digit and a comma become a number
        _check_text(path)
        return csv.read_csv(path)

    return _load(path, read)


def _check_text(path: Path) -> None:
    """Raises UserError where the beginning of a file is none of a CSV file in UTF-8 with commas between its cells."""
    with path.open("rb") as file:
        first = file.readline(1 << 16)
    if first.startswith(PACKED):
        raise UserError(f"{path} is compressed; unpack it first.")
    if first.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{path} is UTF-16; save it as UTF-8.")
    between = next((name for sign, name in OTHERWISE.items() if sign in first and b"," not in first), None)
    if between:
        raise UserError(f"{path} has {between} between its cells; save it with commas (and a point in numbers such as 0.5).")


def load_parquet(path: Path) -> Dataset:
    """The data set in a Parquet file.

    Raises:
        UserError: names the file, the column and what is wrong with it.
    """
    from pyarrow import parquet

    def read() -> Any:
        with parquet.ParquetFile(path) as file:
            facts = file.metadata
            claimed = sum(facts.row_group(number).total_byte_size for number in range(facts.num_row_groups))
            check_room(path, max(claimed, facts.num_rows * facts.num_columns * NUMBER))
            return file.read()

    return _load(path, read)


def _load(path: Path, read: Callable[[], Any]) -> Dataset:
    import pyarrow

    if not os.path.isfile(path):
        raise UserError(f"the data file {path} does not exist; check the path.")
    try:
        table = read()
        return dataset_of(path, _arrays(path, table))
    except (pyarrow.ArrowException, ValueError, OverflowError, MemoryError) as error:
        raise UserError(f"{path} cannot be read as a table ({reason_of(error)}); write it again.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({reason_of(error)}); check the file and its permissions.") from error


def _arrays(path: Path, table: Any) -> Arrays:
    names = [name.strip() for name in table.column_names]
    names = [SPLIT if name.lower() == SPLIT else name for name in names]
    table = table.rename_columns(names)
    if any(map(_is_number, names)) and not any(name.lower() in LABELS for name in names):
        raise UserError(f"{path} begins with {', '.join(map(shown, names[:6]))}; its first line must name the columns.")
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise UserError(f"{path} has two columns {shown(double)}; rename one.")
    label = _label_of(path, names)
    features = [name for name in names if name not in (label, SPLIT) and not LEFT_OUT.fullmatch(name.lower())]
    if not features or not table.num_rows:
        raise UserError(f"{path} holds no examples with features; give a row per example and a column per feature.")
    y, classes = _numbered(path, label, table[label])
    x = np.stack([_feature(path, name, table[name]) for name in features], axis=1)
    if len(features) >= PIXELS and x.max() > 127 and x.min() >= 0 and x.max() <= 255 and np.all(np.mod(x, 1) == 0):
        x = x.astype(np.uint8)
    parts = _parts(path, table, len(y))
    arrays = {f"{kind}_{part}": values[rows] for part, rows in parts.items() for kind, values in (("x", x), ("y", y))}
    return _known(path, arrays, classes)


def _is_number(name: str) -> bool:
    try:
        return bool(name) and float(name) == float(name)
    except ValueError:
        return False


def _label_of(path: Path, names: list[str]) -> str:
    found = [name for name in names if name.lower() in LABELS]
    if len(found) == 1:
        return found[0]
    have = ", ".join(shown(name) for name in (found or names)[:6])
    raise UserError(f"{path} needs one column of labels, called {', '.join(LABELS[:-1])} or {LABELS[-1]}; it has {have}.")


def _numbered(path: Path, name: str, column: Any) -> tuple[np.ndarray, list[str]]:
    """Labels as whole numbers, and what texts they were."""
    import pyarrow

    kind = column.type
    if column.null_count:
        raise UserError(f"the column {shown(name)} in {path} has {column.null_count} rows without a value; remove them.")
    if pyarrow.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pyarrow.types.is_integer(kind):
        return column.to_numpy(), []
    if str(kind) in ("string", "large_string", "string_view", "bool"):
        texts, numbers = np.unique([str(value).strip() for value in column.to_pylist()], return_inverse=True)
        missing = int(sum(text.lower() in NO_LABEL for text in texts[numbers.reshape(-1)]))
        if missing:
            raise UserError(f"the column {shown(name)} in {path} has {missing} rows without a value; remove them.")
        return numbers.reshape(-1), [str(text) for text in texts]
    if str(kind) == "binary" and path.suffix.lower() == ".csv":
        raise UserError(f"the column {shown(name)} in {path} is not UTF-8; save the file as UTF-8.")
    raise UserError(f"the column {shown(name)} in {path} is of type {kind}; give labels as whole numbers or texts.")


def _feature(path: Path, name: str, column: Any) -> np.ndarray:
    import pyarrow

    if column.null_count:
        raise UserError(
            f"the column {shown(name)} in {path} has {column.null_count} rows without a value; fill or remove them."
        )
    kind = column.type
    if not (pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind) or pyarrow.types.is_boolean(kind)):
        raise UserError(f"the column {shown(name)} in {path} is of type {kind}; give numbers, or leave the column out.")
    values = column.to_numpy().astype(np.float64)
    if wrong := int(np.sum(~(np.abs(values) <= np.finfo(np.float32).max))):
        raise UserError(
            f"the column {shown(name)} in {path} has NaN, infinite or too large values in {wrong} rows; replace or remove them."
        )
    return values


def _parts(path: Path, table: Any, rows: int) -> dict[str, np.ndarray]:
    """Which rows are of which part."""
    if SPLIT not in table.column_names:
        if rows < 5:
            raise UserError(f"{path} has {rows} rows; give more, or say by a column {SPLIT!r} which of them test.")
        held = hold_out(rows, rows // 5, "table")
        return {"train": held["train"], "test": held["validation"]}
    said = np.array([PARTS.get(str(value).strip().lower(), "") for value in table[SPLIT].to_pylist()])
    if (said == "").any():
        row = int(np.flatnonzero(said == "")[0])
        raise UserError(f"row {row + 1} of {path} has the {SPLIT} {shown(table[SPLIT][row].as_py())}; give {', '.join(PARTS)}.")
    parts = {part: np.flatnonzero(said == part) for part in dict.fromkeys(PARTS.values()) if (said == part).any()}
    for part in ("train", "test"):
        if part not in parts:
            raise UserError(f"{path} has no row whose {SPLIT} is {part!r}; say it of some, or leave the column out.")
    return parts


def _known(path: Path, arrays: Arrays, classes: list[str]) -> Arrays:
    """Raises UserError where a class that is named is never trained on."""
    absent = sorted(set(range(len(classes))) - set(arrays["y_train"].tolist()))
    if absent:
        raise UserError(f"the class {shown(classes[absent[0]])} in {path} has no row to train on; give some.")
    return arrays
