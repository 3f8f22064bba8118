"""Anyone's own data as a folder of images, one folder per class, as torchvision's ``ImageFolder`` has it.

Either ``FOLDER/train/CLASS/*.png`` and ``FOLDER/test/CLASS/*.png`` (and, if wished, ``FOLDER/validation``; other names for
them: ``PARTS``), or ``FOLDER/CLASS/*.png``, of which a fifth, chosen by a shuffle that depends on their number alone, is the
test set. Classes are numbered in alphabetical order. All images must be of one size; they are grey where every one of them is,
else of three colours, of 8 bits each. PNG, JPEG, BMP, PPM and WebP are read, by Pillow. What lies beside is left out, and is
spoken of where it may have been meant. Links are followed: nothing but pixels is ever read of a file.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.data.arrays import Arrays, dataset_of
from pipeline.data.dataset import Dataset
from pipeline.data.room import check_room
from pipeline.data.splits import hold_out, shuffled
from pipeline.errors import UserError, shown

ENDINGS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".ppm": "PPM", ".pgm": "PPM", ".webp": "WEBP"}
PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
PARTS |= dict.fromkeys(("validation", "valid", "val", "dev"), "validation")
"""names of folders, in small letters, and what is in them"""
OTHER = (".gif", ".tif", ".tiff", ".jfif", ".avif", ".heic", ".jp2", ".npy")
"""endings of images that are not read"""
GREY = ("1", "L")
"""Pillow's words for images without colours"""
DEEP = ("I", "F")
"""how its words begin for more than 8 bits, which it would cut off"""
LARGEST = 4096
"""pixels of a side: what learns here is small"""


def load_folder(path: Path) -> Dataset:
    """The data set in a folder of images.

    Raises:
        UserError: names the folder or image and what is wrong with it.
    """
    dataset = dataset_of(path, _arrays(path), path.resolve().name)
    return replace(dataset, notes=(*dataset.notes, *_about_left_out(path)))


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
    return arrays if parts else _held_out(path, arrays["x_"], arrays["y_"], classes)


def _held_out(path: Path, x: np.ndarray, y: np.ndarray, classes: list[str]) -> Arrays:
    if len(x) < 5:
        raise UserError(f"{path} holds {len(x)} images; give more, or folders train and test in it.")
    held = hold_out(len(x), len(x) // 5, "images")
    rows = {"train": held["train"], "test": held["validation"]}
    for label in sorted(set(y.tolist()) - set(y[rows["train"]].tolist())):
        few = int(np.sum(y == label))
        raise UserError(
            f"{path} has too few images of {shown(classes[label])} ({few}) to train on; give more, or leave it out."
        )
    return {f"{kind}_{part}": values[own] for part, own in rows.items() for kind, values in (("x", x), ("y", y))}


def _parts(path: Path) -> dict[str, Path]:
    """The folders of the parts, none where the classes are in the folder itself."""
    found: dict[str, Path] = {}
    for place in _folders_in(path):
        part = PARTS.get(place.name.lower())
        if part in found:
            raise UserError(f"{found[part]} and {place} are both of the {part} part; give one.")
        found |= {part: place} if part else {}
    return {part: found[part] for part in ("train", "validation", "test") if part in found} if "train" in found else {}


def _classes(place: Path) -> Iterator[tuple[str, list[Path]]]:
    """Each class with its images, in alphabetical order; hidden folders and other files are left out."""
    for folder in _folders_in(place):
        if own := [file for file in _files_in(folder) if file.suffix.lower() in ENDINGS]:
            yield folder.name, own


def _folders_in(place: Path) -> list[Path]:
    return [path for path in _entries(place) if path.is_dir()]


def _files_in(place: Path) -> list[Path]:
    return [path for path in _entries(place) if path.is_file()]


def _entries(place: Path) -> list[Path]:
    """What is in a folder and not hidden, in alphabetical order."""
    try:
        return [place / name for name in sorted(os.listdir(place)) if not name.startswith(".")]
    except OSError as error:
        raise UserError(f"{place} cannot be read ({error.strerror}); check the folder and its permissions.") from error


def _about_left_out(path: Path) -> list[str]:
    """What looks as if it were to be read, and is not: a part of another name, images of another kind or outside of a class, a
    folder within a class, a class without images."""
    parts = _parts(path)
    places, left = list(parts.values()) or [path], []
    if parts:
        left += [folder for folder in _folders_in(path) if folder not in places]
    for place in places:
        left += [file for file in _files_in(place) if file.suffix.lower() in (*ENDINGS, *OTHER)]
        for folder in _folders_in(place):
            files = _files_in(folder)
            left += [file for file in files if file.suffix.lower() in OTHER] + _folders_in(folder)
            left += [folder] if not any(file.suffix.lower() in ENDINGS for file in files) else []
    told = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
    names = {part: {name for name, _ in _classes(place)} for part, place in parts.items()}
    lacking = {part: sorted(names["train"] - own) for part, own in names.items()}
    return [
        *([f"{left[0]}{told} is left out: read are {', '.join(ENDINGS)} in the folder of a class."] if left else []),
        *(f"{parts[part]} has no images of the class {shown(missing[0])}." for part, missing in lacking.items() if missing),
    ]


def _kind_of(files: list[Path]) -> tuple[tuple[int, int], bool]:
    """The size of all images (width, height), and whether they are grey; only their headers are read."""
    size, grey, first = None, True, files[0]
    for file in files:
        own, mode = _header(file)
        size = size or own
        if own != size:
            sizes = f"{own[0]} × {own[1]} pixels and {first} {size[0]} × {size[1]}"
            raise UserError(f"{file} has {sizes}; give all images the same size.")
        if mode.startswith(DEEP):
            raise UserError(f"{file} has more than 8 bits per pixel; save all images with 8.")
        grey = grey and mode in GREY
    assert size is not None
    if max(size) > LARGEST:
        raise UserError(f"{first} has {size[0]} × {size[1]} pixels; give images of at most {LARGEST} a side.")
    check_room(first.parent, len(files) * size[0] * size[1] * (1 if grey else 3) * 5)  # bytes, then float32
    return size, grey


@contextmanager
def _untold(kind: type[Warning]) -> Iterator[None]:
    """What is warned of is refused in our own words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", kind)
        yield


def _header(file: Path) -> tuple[tuple[int, int], str]:
    from PIL import Image

    try:
        with _untold(Image.DecompressionBombWarning), Image.open(file, formats=[*set(ENDINGS.values())]) as image:
            if (frames := getattr(image, "n_frames", 1)) > 1:
                raise UserError(f"{file} holds {frames} images, as a film does; give one in each file.")
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
