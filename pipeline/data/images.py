"""Anyone's own data as a folder of images, one folder per class, as torchvision's ``ImageFolder`` has it.

Either ``FOLDER/train/CLASS/*.png`` and ``FOLDER/test/CLASS/*.png`` (and, if wished, ``FOLDER/validation`` or ``FOLDER/val``),
or ``FOLDER/CLASS/*.png``, of which a fifth, chosen by a shuffle that depends on their number alone, is the test set. Classes
are numbered in alphabetical order. All images must be of one size; they are grey where every one of them is, else of three
colours. PNG, JPEG, BMP, PPM and WebP are read, by Pillow.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.data.arrays import Arrays, dataset_of
from pipeline.data.dataset import Dataset
from pipeline.data.room import check_room
from pipeline.data.splits import hold_out, shuffled
from pipeline.errors import UserError

ENDINGS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".ppm": "PPM", ".pgm": "PPM", ".webp": "WEBP"}
PARTS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
GREY = ("1", "L")
"""Pillow's words for images without colours"""
LARGEST = 4096
"""pixels of a side: what learns here is small"""


def load_folder(path: Path) -> Dataset:
    """The data set in a folder of images.

    Raises:
        UserError: names the folder or image and what is wrong with it.
    """
    return dataset_of(path, _arrays(path), path.resolve().name)


def files_in(path: Path) -> list[Path]:
    """Every image, in the order in which they are read."""
    places = _parts(path).values() or [path]
    return [file for place in places for _, files in _classes(place) for file in files]


def _arrays(path: Path) -> Arrays:
    parts = _parts(path)
    found = {part: list(_classes(place)) for part, place in (parts or {"": path}).items()}
    classes = [name for name, _ in found.get("train", found.get("", []))]
    if len(classes) < 2:
        where = parts.get("train", path)
        raise UserError(f"{where} holds images of {len(classes)} classes; give one folder of images for each of at least 2.")
    if parts and "test" not in parts:
        raise UserError(f"{path} has no folder 'test' beside 'train'; give one, or put the classes in {path} itself.")
    for part, place in parts.items():
        strange = next((name for name, _ in found[part] if name not in classes), None)
        if strange is not None:
            raise UserError(f"{place / strange} is a class without images in {parts['train']}; give some, or remove it.")
        if not found[part]:
            raise UserError(f"{place} holds no images; give a folder of images for each class.")
    files = {part: [(file, classes.index(name)) for name, own in found[part] for file in own] for part in found}
    size, grey = _kind_of([file for own in files.values() for file, _ in own])
    arrays = {}
    for part, own in files.items():
        if part == "validation":  # the first n of these are to be a fair sample
            own = [own[row] for row in shuffled(len(own), "images")]
        arrays[f"x_{part}"] = np.stack([_read(file, size, grey) for file, _ in own])
        arrays[f"y_{part}"] = np.array([label for _, label in own])
    return arrays if parts else _held_out(path, arrays["x_"], arrays["y_"])


def _held_out(path: Path, x: np.ndarray, y: np.ndarray) -> Arrays:
    if len(x) < 5:
        raise UserError(f"{path} holds {len(x)} images; give more, or folders train and test in it.")
    held = hold_out(len(x), len(x) // 5, "images")
    rows = {"train": held["train"], "test": held["validation"]}
    return {f"{kind}_{part}": values[own] for part, own in rows.items() for kind, values in (("x", x), ("y", y))}


def _parts(path: Path) -> dict[str, Path]:
    """The folders of the parts, none where the classes are in the folder itself."""
    found = {part: path / name for name, part in PARTS.items() if os.path.isdir(path / name)}
    return found if "train" in found else {}


def _classes(place: Path) -> Iterator[tuple[str, list[Path]]]:
    """Each class with its images, in alphabetical order; hidden folders and other files are left out."""
    try:
        names = sorted(entry.name for entry in os.scandir(place) if entry.is_dir() and not entry.name.startswith("."))
        for name in names:
            files = [Path(entry.path) for entry in os.scandir(place / name) if entry.is_file()]
            own = sorted(file for file in files if file.suffix.lower() in ENDINGS and not file.name.startswith("."))
            if own:
                yield name, own
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}); check the folder and its permissions.") from error


def _kind_of(files: list[Path]) -> tuple[tuple[int, int], bool]:
    """The size of all images (width, height), and whether they are grey; only their headers are read."""
    size, grey, first = None, True, files[0]
    for file in files:
        own, mode = _header(file)
        size = size or own
        if own != size:
            sizes = f"{own[0]} × {own[1]} pixels and {first} {size[0]} × {size[1]}"
            raise UserError(f"{file} has {sizes}; give all images the same size.")
        grey = grey and mode in GREY
    assert size is not None
    if max(size) > LARGEST:
        raise UserError(f"{first} has {size[0]} × {size[1]} pixels; give images of at most {LARGEST} a side.")
    check_room(first.parent, len(files) * size[0] * size[1] * (1 if grey else 3) * 5)  # bytes, then float32
    return size, grey


def _header(file: Path) -> tuple[tuple[int, int], str]:
    from PIL import Image

    try:
        with Image.open(file, formats=[*set(ENDINGS.values())]) as image:
            return image.size, image.mode
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _damaged(file) from error


def _read(file: Path, size: tuple[int, int], grey: bool) -> np.ndarray:
    """(H, W) or (3, H, W), uint8."""
    from PIL import Image

    try:
        with Image.open(file, formats=[*set(ENDINGS.values())]) as image:
            pixels = np.asarray(image.convert("L" if grey else "RGB"))
    except (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError) as error:
        raise _damaged(file) from error
    if pixels.shape[:2] != size[::-1]:
        raise _damaged(file)
    return pixels if grey else np.moveaxis(pixels, -1, 0)


def _damaged(file: Path) -> UserError:
    return UserError(f"{file} is truncated or no image that can be read; remove it, or write it again.")
