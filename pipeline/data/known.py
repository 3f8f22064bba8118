"""How the data sets of :mod:`pipeline.data.sets` are read: digits from scikit-learn; the others in torchvision's layout.

torchvision downloads all three and reads CIFAR-10. The four MNIST files are read here: torchvision pays no heed to their
length, prefers whatever an old version left in ``processed/``, and takes two seconds to import.
"""

import hashlib
import http.client
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.dataset import Dataset
from pipeline.data.npz import load_npz
from pipeline.data.splits import FOLDER as SPLITS
from pipeline.data.splits import committed
from pipeline.errors import UserError, reason_of

CIFAR_SUBSET = "cifar10_10k.npz"
HOW_TO_GET = "pass --download to fetch it or set GRAD_INSTRUCTOR_DATA to the folder that holds it"


@dataclass(frozen=True)
class IdxFile:
    """One file of the MNIST family: a header of big-endian 32-bit numbers, then bytes (yann.lecun.com/exdb/mnist)."""

    name: str
    shape: tuple[int, ...]
    md5: dict[str, str]
    """of the uncompressed file, by data set"""

    @property
    def header(self) -> int:
        """Bytes before the values."""
        return 4 * (1 + len(self.shape))

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.header + int(np.prod(self.shape))


IDX_FOLDERS = {"mnist": "MNIST", "fashion": "FashionMNIST"}
"""torchvision's class, whose name is the folder's"""
IDX_FILES = (
    IdxFile(
        "train-images-idx3-ubyte",
        (60_000, 28, 28),
        {"mnist": "6bbc9ace898e44ae57da46a324031adb", "fashion": "f4a8712d7a061bf5bd6d2ca38dc4d50a"},
    ),
    IdxFile(
        "train-labels-idx1-ubyte",
        (60_000,),
        {"mnist": "a25bea736e30d166cdddb491f175f624", "fashion": "9018921c3c673c538a1fc5bad174d6f9"},
    ),
    IdxFile(
        "t10k-images-idx3-ubyte",
        (10_000, 28, 28),
        {"mnist": "2646ac647ad5339dbf082846283269ea", "fashion": "8181f5470baa50b63fa0f6fddb340f0a"},
    ),
    IdxFile(
        "t10k-labels-idx1-ubyte",
        (10_000,),
        {"mnist": "27ae3e4e09519cfbb04c329615203637", "fashion": "15d484375f8d13e6eb1aabb0c3f46965"},
    ),
)


def load_digits() -> Dataset:
    """1,797 handwritten digits of 8 × 8 pixels (0 … 16, divided by 16), embedded in scikit-learn."""
    from sklearn.datasets import load_digits as scikit_digits

    x, y = (np.asarray(array) for array in scikit_digits(return_X_y=True))
    values = {}
    for part, rows in committed("digits").items():
        values |= {f"x_{part}": (x[rows] / 16).astype(np.float32), f"y_{part}": y[rows].astype(np.int64)}
    return Dataset(name="digits", image_shape=(1, 8, 8), classes=10, **values)


def load_idx(name: str, folder: Path, download: bool = False) -> Dataset:
    """MNIST or Fashion-MNIST (60,000 + 10,000 images of 28 × 28 pixels) from ``folder``/MNIST/raw or FashionMNIST/raw.

    Raises:
        UserError: a file is missing, truncated or altered, or could not be downloaded.
    """
    if download:
        _download(IDX_FOLDERS[name], folder)
    if (problem := idx_problem(name, folder)) is not None:
        raise UserError(problem)
    x, y, x_test, y_test = (_read_idx(name, folder, file) for file in IDX_FILES)
    return _from_bytes(name, x, y, x_test, y_test, (1, 28, 28))


def idx_problem(name: str, folder: Path) -> str | None:
    """What keeps MNIST or Fashion-MNIST from being read, judged by the files' sizes; None if nothing."""
    for file in IDX_FILES:
        path = _idx_path(name, folder, file)
        if not os.path.isfile(path):
            return f"{name} is not there: {path} is expected; {HOW_TO_GET}."
        if (size := path.stat().st_size) != file.size:
            return f"{path} is truncated or corrupt ({size} bytes instead of {file.size}); delete it and pass --download."
    return None


def idx_paths(name: str, folder: Path) -> list[Path]:
    """The files of MNIST or Fashion-MNIST."""
    return [_idx_path(name, folder, file) for file in IDX_FILES]


def load_cifar10(folder: Path, download: bool = False) -> Dataset:
    """CIFAR-10 (50,000 + 10,000 colour images of 32 × 32 pixels) from ``folder``/cifar-10-batches-py.

    Where that is absent and ``folder``/cifar10_10k.npz is there, its 10,000 + 2,000 images are used instead, and the data set
    is called ``cifar10-10k``. Every file's checksum is verified (by torchvision) before it is unpickled.

    Raises:
        UserError: a file is missing, truncated or altered, or could not be downloaded.
    """
    if download:
        _download("CIFAR10", folder)
    if only_subset(folder):
        return load_npz(folder / CIFAR_SUBSET, "cifar10-10k", committed("cifar10-10k"))
    if (problem := cifar10_problem(folder)) is not None:
        raise UserError(problem)
    train, test = _read_cifar10(folder, train=True), _read_cifar10(folder, train=False)
    return _from_bytes("cifar10", *train, *test, (3, 32, 32))


def only_subset(folder: Path) -> bool:
    """Whether CIFAR-10 is there as its first 10,000 images only."""
    return os.path.isfile(folder / CIFAR_SUBSET) and not os.path.isdir(folder / "cifar-10-batches-py")


def cifar10_problem(folder: Path) -> str | None:
    """What keeps CIFAR-10 from being read, judged by which files are there; None if nothing."""
    if only_subset(folder):
        return None
    for path in _batches(folder):
        if not os.path.isfile(path):
            return f"cifar10 is not there: {path} is expected; {HOW_TO_GET}."
    return None


def cifar10_paths(folder: Path) -> list[Path]:
    """The files that CIFAR-10 is made from, the committed split among them."""
    if only_subset(folder):
        return [folder / CIFAR_SUBSET, SPLITS / "cifar10-10k.npz"]
    return [*_batches(folder), SPLITS / "cifar10.npz"]


def _batches(folder: Path) -> list[Path]:
    names = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
    return [folder / "cifar-10-batches-py" / name for name in names]


def _from_bytes(
    name: str, x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray, shape: tuple[int, ...]
) -> Dataset:
    split = committed(name)
    parts = {part: (x[rows], y[rows]) for part, rows in split.items()} | {"test": (x_test, y_test)}
    values = {}
    for part, (images, labels) in parts.items():
        scaled = np.divide(images.reshape(len(images), -1), np.float32(255), dtype=np.float32)
        values |= {f"x_{part}": scaled, f"y_{part}": labels.astype(np.int64)}
    return Dataset(name=name, image_shape=shape, classes=10, **values)


def _idx_path(name: str, folder: Path, file: IdxFile) -> Path:
    return folder / IDX_FOLDERS[name] / "raw" / file.name


def _read_idx(name: str, folder: Path, file: IdxFile) -> np.ndarray:
    path = _idx_path(name, folder, file)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check the file and its permissions.") from error
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != file.md5[name]:
        raise UserError(f"{path} is corrupt (its checksum is wrong); delete it and pass --download.")
    return np.frombuffer(content, np.uint8, offset=file.header).reshape(file.shape)


def _read_cifar10(folder: Path, train: bool) -> tuple[np.ndarray, np.ndarray]:
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    try:
        source = CIFAR10(folder, train=train)
    except RuntimeError as error:  # torchvision's word for a wrong checksum, without the file
        checksums = [*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], CIFAR10.meta["md5"])]
        paths = [(folder / CIFAR10.base_folder / name, md5) for name, md5 in checksums]
        wrong = next((path for path, md5 in paths if not check_integrity(path, md5)), None)
        if wrong is None:
            raise
        raise UserError(f"{wrong} is truncated or corrupt; delete {wrong.parent} and pass --download.") from error
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}); check the file and its permissions.") from error
    return np.moveaxis(source.data, -1, 1), np.asarray(source.targets)


def _download(kind: str, folder: Path) -> None:
    """Lets torchvision fetch what is missing; it verifies the archives' checksums."""
    from torchvision import datasets

    source: Any = getattr(datasets, kind)
    fetcher = source.__new__(source)  # __init__ would also read the files, with errors of its own
    fetcher.root = os.fspath(folder)
    try:
        fetcher.download()
    except (RuntimeError, OSError, http.client.HTTPException) as error:
        raise UserError(
            f"{kind} could not be downloaded to {folder}; check connection and folder ({reason_of(error)})."
        ) from error
