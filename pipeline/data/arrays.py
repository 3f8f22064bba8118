"""Arrays of somebody's own data, from whatever file, made a data set: what they must be, and what is said of them.

They are called x_train, y_train, x_test, y_test and, if wished, x_validation, y_validation. x is (N, features), (N, H, W),
(N, C, H, W) or, where the last axis and not the second is 1 or 3, (N, H, W, C). Floating-point values are taken as they are;
uint8 is divided by 255. y is (N,) or (N, 1), whole numbers from 0; there are as many classes as the largest training label
says. Without validation rows, a tenth of the training rows (rounded down, at least one) is held out, chosen by a shuffle that
depends on their number alone.

Pixels from 0 to 255 that are saved as floating-point numbers, parts on scales far apart, and images with two or four channels
last are refused: a network would learn next to nothing from them, and nobody would know why. Parts that are merely scaled
otherwise (0 to 1 and -1 to 1, say) are spoken of.
"""

import difflib
from pathlib import Path

import numpy as np

from pipeline.data.dataset import Dataset
from pipeline.data.splits import Indices, hold_out
from pipeline.errors import UserError, shown

REQUIRED = ("x_train", "y_train", "x_test", "y_test")
OPTIONAL = ("x_validation", "y_validation")
PIXELS = 49
"""features of a row from which on whole numbers up to 255 are taken to be the pixels of an image"""
UNLIKE = 100.0
"""how many times larger the values of one part may be, in the mean, than another's"""
SCALED_OTHERWISE = {True: 1.8, False: 10.0}
"""by whether they are images: how many times wider the middle nine tenths of the values of one part may be than another's"""
FEWEST = 10
"""examples of a part whose spread says something"""
LABELS_OF = {"f": ", as y.astype('int64') makes them", "b": ", as y.astype('int64') makes them"}
LABELS_OF |= dict.fromkeys("US", ", as numpy.unique(y, return_inverse=True)[1] makes them of texts")
"""what is to be done with labels of a kind of type"""
LARGE = 30.0
"""values of this size, in the mean, are worth a word"""

Arrays = dict[str, np.ndarray]


def dataset_of(path: Path, arrays: Arrays, name: str | None = None, split: Indices | None = None) -> Dataset:
    """The data set of arrays that were read from ``path``, called by its stem unless ``name`` is given; ``split`` sets which
    training rows validate.

    Raises:
        UserError: names the file, the key and what is wrong with it.
    """
    _check_keys(path, arrays)
    arrays = {key: _column(array) if key[0] == "y" else array for key, array in arrays.items()}
    _check_shapes(path, arrays)
    _check_scales(path, arrays)
    image_shape = arrays["x_train"].shape[1:]
    classes = _check_labels(path, arrays)
    notes = [*_about_labels(path, arrays, classes), *_about_values(path, arrays)]
    if "x_validation" not in arrays:
        arrays = _with_validation(path, arrays, split)
    values = {key: _flat(path, key, array) if key[0] == "x" else array.astype(np.int64) for key, array in arrays.items()}
    shape = _channels_first(image_shape)
    return Dataset(name=name or path.resolve().stem, image_shape=shape, classes=classes, notes=tuple(notes), **values)


def _check_keys(path: Path, arrays: Arrays) -> None:
    wanted = REQUIRED + (OPTIONAL if any(key in arrays for key in OPTIONAL) else ())
    missing = [key for key in wanted if key not in arrays]
    unknown = [key for key in arrays if key not in REQUIRED + OPTIONAL]
    if missing:
        near = _meant(missing[0], unknown)
        hint = f"rename {near[0]!r}" if near else f"it has {', '.join(map(_name, sorted(arrays)[:6])) or 'no arrays'}"
        raise UserError(f"{path} has no {missing[0]!r}; {hint}.")
    if unknown:
        near = difflib.get_close_matches(unknown[0][:80], REQUIRED + OPTIONAL, n=1, cutoff=0.5)
        or_rename = f" or rename it to {near[0]!r}" if near else f" (what is read is {', '.join(REQUIRED + OPTIONAL)})"
        raise UserError(f"{path} has an unknown key {shown(unknown[0])}; remove it{or_rename}.")


def _meant(wanted: str, keys: list[str]) -> list[str]:
    """The key that is called so but for capitals and the order of its words; else, if there is one, the nearest."""
    same = [key for key in keys if sorted(key.lower().split("_")) == sorted(wanted.split("_"))]
    return same or difflib.get_close_matches(wanted, [key[:80] for key in keys if key.lower()[:1] == wanted[0]], n=1)


def _name(key: str) -> str:
    return key if key.isidentifier() and len(key) <= 80 else shown(key)


def _check_shapes(path: Path, arrays: Arrays) -> None:
    first = arrays["x_train"]
    for key in (key for key in arrays if key[0] == "x"):
        x, y = arrays[key], arrays["y" + key[1:]]
        if x.ndim not in (2, 3, 4):
            raise UserError(f"{key!r} in {path} has shape {x.shape}; give (N, features), (N, H, W) or (N, C, H, W).")
        if y.ndim != 1 or len(y) != len(x):
            hint = ", as y.argmax(axis=1) does for one-hot rows" if y.ndim == 2 and len(y) == len(x) else ""
            raise UserError(
                f"'y{key[1:]}' in {path} has shape {y.shape}; give one label per row of {key!r} ({len(x)} rows){hint}."
            )
        if x.size == 0:
            raise UserError(f"{key!r} in {path} is empty (shape {x.shape}); give at least one example.")
        if x.shape[1:] != first.shape[1:]:
            raise UserError(f"{key!r} in {path} has examples of shape {x.shape[1:]}; give {first.shape[1:]} as in 'x_train'.")
        if x.ndim == 4 and x.shape[1] == x.shape[2] != x.shape[3] and x.shape[3] in (2, 4):
            raise UserError(
                f"{key!r} in {path} has shape {x.shape}, with {x.shape[3]} channels last; give (N, C, H, W), as "
                "x.transpose(0, 3, 1, 2) does, or leave out the channel that is no colour."
            )
        if x.dtype != np.uint8 and x.dtype.kind != "f":
            hint = " (x.astype('uint8') for these pixels)" if x.dtype.kind in "iu" and _within_a_byte(x) else ""
            raise UserError(f"{key!r} in {path} is of type {x.dtype}; give floating-point numbers or uint8{hint}.")
        if (x.dtype == np.uint8) != (first.dtype == np.uint8):
            raise UserError(f"{key!r} in {path} is {x.dtype} and 'x_train' is {first.dtype}; give both on the same scale.")


def _check_scales(path: Path, arrays: Arrays) -> None:
    """Raises UserError where values are pixels that nobody has scaled, or one part is on another scale than the rest."""
    parts = {key: x for key, x in arrays.items() if key[0] == "x" and x.dtype.kind == "f"}
    sizes = {key: _size(x) for key, x in parts.items()}
    for key, size in sizes.items():
        small, large = sorted([(sizes["x_train"], "x_train"), (size, key)])
        if large[0] > UNLIKE * small[0] > 0:
            raise UserError(
                f"{large[1]!r} in {path} has values of {large[0]:.3g} in the mean and {small[1]!r} of {small[0]:.3g}; give "
                "both on the same scale."
            )
    for key, x in parts.items():
        if _is_image(x) and np.max(x) > 127 and _within_a_byte(x):
            raise UserError(
                f"{key!r} in {path} has pixels from 0 to {np.max(x):.0f} as {x.dtype}; save them as uint8, or divide by 255."
            )


def _size(x: np.ndarray) -> float:
    """Mean absolute value; 0 where there is none that is finite, which is refused later."""
    with np.errstate(all="ignore"):
        size = float(np.mean(np.abs(x.astype(np.float32)), dtype=np.float64)) if x.size else 0.0
    return size if np.isfinite(size) else 0.0


def _is_image(x: np.ndarray) -> bool:
    return x.ndim > 2 or x.shape[1] >= PIXELS


def _within_a_byte(x: np.ndarray) -> bool:
    """Whether all are whole numbers from 0 to 255."""
    return bool(x.size) and bool(np.min(x) >= 0 and np.max(x) <= 255 and np.all(np.mod(x, 1) == 0))


def _about_labels(path: Path, arrays: Arrays, classes: int) -> list[str]:
    """What is odd about labels that can be used."""
    found = np.bincount(arrays["y_train"].astype(np.int64), minlength=classes)
    empty = np.flatnonzero(found == 0)
    if not len(empty):
        return []
    many = f", and of {len(empty) - 1} more" if len(empty) > 1 else ""
    return [
        f"'y_train' in {path} has no example of class {empty[0]}{many}, and its labels end at {classes - 1}: they are "
        f"{classes} classes here; number them from 0 without gaps if there are {classes - len(empty)}."
    ]


def _about_values(path: Path, arrays: Arrays) -> list[str]:
    """What is odd about values that can be used."""
    x = arrays["x_train"]
    size, notes = _size(x) if x.dtype.kind == "f" else 0.0, []
    if size > LARGE:
        notes.append(
            f"'x_train' in {path} has values of {size:.3g} in the mean; networks learn from them once they are near 1."
        )
    for key in (key for key in arrays if key[0] == "x" and key != "x_train" and min(len(arrays[key]), len(x)) >= FEWEST):
        (low, high), (least, most) = _middle(x), _middle(arrays[key])
        small, large = sorted([high - low, most - least])
        if large > SCALED_OTHERWISE[_is_image(x)] * small:
            notes.append(
                f"nine tenths of 'x_train' in {path} lie from {low:.3g} to {high:.3g} and of {key!r} from {least:.3g} to "
                f"{most:.3g}; scale both in the same way if they were not."
            )
    return notes


def _middle(x: np.ndarray) -> tuple[float, float]:
    """Where nine tenths of the values of a thousand examples lie; (0, 0) where one is not finite, which is refused later."""
    low, high = np.quantile(x[:: max(1, len(x) // 1000)].astype(np.float32), (0.05, 0.95))
    return (float(low), float(high)) if np.isfinite(high - low) else (0.0, 0.0)


def _column(y: np.ndarray) -> np.ndarray:
    """Labels as MedMNIST and Keras have them, a column, as a row of numbers."""
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y


def _check_labels(path: Path, arrays: Arrays) -> int:
    for key in (key for key in arrays if key[0] == "y"):
        if arrays[key].dtype.kind not in "iu":
            kind = arrays[key].dtype.kind
            whole = kind != "f" or bool(np.all(np.isfinite(arrays[key]) & (np.trunc(arrays[key]) == arrays[key])))
            hint = LABELS_OF.get(kind, "") if whole else ""
            raise UserError(f"{key!r} in {path} is of type {arrays[key].dtype}; give labels as whole numbers from 0{hint}.")
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
