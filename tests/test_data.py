"""Data: real data sets against their sources, the committed splits, and every kind of faulty file."""

import gzip
import hashlib
import http.server
import os
import pickle
import subprocess
import sys
import threading
import warnings
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import data
from pipeline.data import known, splits
from pipeline.data.dataset import Dataset
from pipeline.errors import UserError

REAL = Path(os.environ.get("GRAD_INSTRUCTOR_DATA") or Path(__file__).parents[2] / "shared" / "data")
ROOT = Path(__file__).parents[1]


def needs(*names: str) -> pytest.MarkDecorator:
    missing = [name for name in names if not (REAL / name).exists()]
    return pytest.mark.skipif(bool(missing), reason=f"{missing} not in {REAL}; set GRAD_INSTRUCTOR_DATA")


def message(dataset: str, folder: Path | None = None, download: bool = False) -> str:
    """The one sentence of the UserError that loading must raise."""
    with pytest.raises(UserError) as caught:
        data.load(dataset, None if folder is None else str(folder), download)
    text = str(caught.value)
    assert "\n" not in text and text.endswith("."), text
    return text


# --- what is loaded -------------------------------------------------------------------------------------------------------


def test_digits_are_scikit_learns_and_stratified():
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    digits, rows = data.load("digits"), splits.committed("digits")
    assert (digits.name, digits.features, digits.image_shape, digits.classes) == ("digits", 64, (1, 8, 8), 10)
    for part, size in {"train": 1079, "validation": 359, "test": 359}.items():
        assert np.array_equal(getattr(digits, f"x_{part}") * 16, x[rows[part]])
        assert np.array_equal(getattr(digits, f"y_{part}"), y[rows[part]])
        shares = np.bincount(y[rows[part]]) / np.bincount(y)
        assert len(rows[part]) == size and np.all(np.abs(shares - {"train": 0.6}.get(part, 0.2)) < 0.005)
    assert digits.x_train.max() == 1.0


@needs("MNIST", "FashionMNIST")
@pytest.mark.parametrize("name", ["mnist", "fashion"])
def test_mnist_and_fashion_equal_torchvisions(name):
    from torchvision import datasets

    dataset, rows = data.load(name, str(REAL)), splits.committed(name)
    source = getattr(datasets, known.IDX_FOLDERS[name])
    train, test = source(REAL, train=True), source(REAL, train=False)
    expected = {part: (train.data[rows[part]], train.targets[rows[part]]) for part in ("train", "validation")}
    for part, (images, labels) in (expected | {"test": (test.data, test.targets)}).items():
        x, y = dataset.tensors(part)
        assert torch.equal(x, images.flatten(1).float() / 255) and torch.equal(y, labels)
    assert dataset.image_shape == (1, 28, 28) and len(dataset.x_train) == 55_000 and len(dataset.x_validation) == 5_000


@needs("cifar10_10k.npz")
def test_cifar10s_subset_is_used_where_the_whole_is_absent(tmp_path):
    (tmp_path / "cifar10_10k.npz").symlink_to(REAL / "cifar10_10k.npz")
    dataset, rows = data.load("cifar10", str(tmp_path)), splits.committed("cifar10-10k")
    with np.load(REAL / "cifar10_10k.npz") as source:
        image_HWC = source["x_train"][rows["validation"][7]]
    assert (dataset.name, dataset.image_shape, len(dataset.x_train)) == ("cifar10-10k", (3, 32, 32), 9_000)
    assert np.array_equal(dataset.x_validation[7].reshape(3, 32, 32), (image_HWC / np.float32(255)).transpose(2, 0, 1))
    assert data.found(str(tmp_path))["cifar10"].startswith("ready (the 10,000")


@pytest.fixture
def cifar10(tmp_path, monkeypatch) -> Path:
    """Random images in CIFAR-10's own format, with the checksums that torchvision verifies."""
    from torchvision.datasets import CIFAR10

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    random = np.random.default_rng(0)
    entries = {f"data_batch_{number}": number for number in range(1, 6)} | {"test_batch": 6}
    for name, seed in entries.items():
        images = np.zeros((10_000, 3072), np.uint8)
        images[:, :50] = random.integers(256, size=(10_000, 50))
        labels = ((np.arange(10_000) * seed) % 10).tolist()
        (folder / name).write_bytes(pickle.dumps({"data": images, "labels": labels}, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(k) for k in range(10)]}, protocol=2))
    sums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    monkeypatch.setattr(CIFAR10, "train_list", [[name, sums[name]] for name in sorted(entries) if name != "test_batch"])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": sums["batches.meta"]})
    return tmp_path


def test_whole_cifar10_through_torchvision_and_its_faults(cifar10):
    dataset, rows = data.load("cifar10", str(cifar10)), splits.committed("cifar10")
    batch = cifar10 / "cifar-10-batches-py" / "data_batch_3"
    third = pickle.loads(batch.read_bytes())
    row = next(row for row in rows["validation"] if 20_000 <= row < 30_000)
    place = int(np.flatnonzero(rows["validation"] == row)[0])
    assert (dataset.name, len(dataset.x_train), len(dataset.x_test)) == ("cifar10", 45_000, 10_000)
    assert np.array_equal(dataset.x_validation[place], third["data"][row - 20_000] / np.float32(255))
    assert dataset.y_validation[place] == third["labels"][row - 20_000]

    os.truncate(batch, 1000)
    assert str(batch) in message("cifar10", cifar10)
    batch.unlink()
    assert str(batch) in message("cifar10", cifar10) and "--download" in message("cifar10", cifar10)


# --- splits ---------------------------------------------------------------------------------------------------------------


def test_regenerated_splits_equal_the_committed_ones(tmp_path):
    made = splits.make_splits()
    assert sorted(f"{name}.npz" for name in made) == sorted(path.name for path in splits.FOLDER.iterdir())
    for name, parts in made.items():
        committed = splits.committed(name)
        assert committed.keys() == parts.keys()
        assert all(np.array_equal(committed[part], parts[part]) for part in parts), name
    splits.write(tmp_path)
    for path in splits.FOLDER.iterdir():
        assert contents(tmp_path / path.name) == contents(path), path.name


def contents(archive):
    """Names and bytes; the archive's own headers differ between patch releases of Python."""
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.mark.parametrize(("name", "rows"), [("digits", 1797)] + [(name, rows) for name, (rows, _) in splits.HELD_OUT.items()])
def test_splits_are_disjoint_cover_and_are_shuffled(name, rows):
    parts = splits.committed(name)
    assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(rows))
    assert name == "digits" or len(parts["validation"]) == splits.HELD_OUT[name][1]
    first_half = parts["validation"][: len(parts["validation"]) // 2]
    assert abs(first_half.mean() / rows - 0.5) < 0.05  # the first n are a fair sample of the whole file


# --- the data set as a value ----------------------------------------------------------------------------------------------


def small(**changes: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of a sound .npz of 20 + 6 examples in 3 classes; ``key=None`` leaves one out."""
    random = np.random.default_rng(0)
    arrays = {
        "x_train": random.random((20, 4), dtype=np.float32),
        "y_train": np.arange(20) % 3,
        "x_test": random.random((6, 4), dtype=np.float32),
        "y_test": np.arange(6) % 3,
    } | changes
    return {key: array for key, array in arrays.items() if array is not None}


def saved(path: Path, **changes: np.ndarray) -> Path:
    np.savez(path, **small(**changes))  # pyright: ignore[reportArgumentType]
    return path


def test_tensors_of_arrays_shared_between_processes(tmp_path):
    """As Ray does it: pickled out of band, restored onto read-only memory."""
    dataset = data.load(str(saved(tmp_path / "own.npz")))
    digest, buffers = dataset.digest, []
    blob = pickle.dumps(dataset, protocol=5, buffer_callback=buffers.append)
    restored: Dataset = pickle.loads(blob, buffers=[bytes(buffer.raw()) for buffer in buffers])
    assert len(buffers) == 6 and len(blob) < 2000 and not restored.x_train.flags.writeable
    assert vars(restored)["digest"] == digest

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x, y = restored.tensors("train", dtype=torch.float64, limit=5)
    assert x.shape == (5, 4) and x.dtype == torch.float64 and y.dtype == torch.int64
    assert np.array_equal(x.numpy(), dataset.x_train[:5]) and np.array_equal(y.numpy(), dataset.y_train[:5])
    x.zero_()
    assert restored.x_train[:5].any() and dataset.tensors("test")[0].shape == (6, 4)
    assert not dataset.x_train.flags.writeable
    with pytest.raises(ValueError):
        dataset.x_train[0] = 0


@pytest.mark.parametrize("arguments", [("valid",), ("test", "cpu", torch.float32, -1)])
def test_a_wrong_split_or_limit_is_an_error(arguments):
    with pytest.raises(ValueError, match="splits are"):
        data.load("digits").tensors(*arguments)


def test_digest_tells_data_apart(tmp_path):
    changed = small()["x_test"].copy()
    changed[5, 3] += 1e-6
    versions = {"a": {}, "b": {}, "c": {"x_test": changed}, "d": {"y_test": np.zeros(6, int)}}
    digests = [data.load(str(saved(tmp_path / f"{name}.npz", **changes))).digest for name, changes in versions.items()]
    assert digests[0] == digests[1] and len(set(digests)) == 3 and len(digests[0]) == 16


def test_names_and_npz_need_neither_scikit_learn_nor_torchvision(tmp_path):
    saved(tmp_path / "own.npz")
    code = (
        "import sys, pipeline.data as d; d.load(sys.argv[1]); d.found(sys.argv[2]);"
        "print(sorted({'sklearn', 'torchvision', 'ray', 'mlflow', 'pipeline.config'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "own.npz"), str(tmp_path)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip() == "[]"


# --- any .npz -------------------------------------------------------------------------------------------------------------


def test_npz_without_validation_holds_out_a_tenth_by_row_count_alone(tmp_path):
    one = data.load(str(saved(tmp_path / "one.npz")))
    other = data.load(str(saved(tmp_path / "other.npz", x_train=np.arange(80.0).reshape(20, 4))))
    held = splits.hold_out(20, 2, "npz")
    assert np.array_equal(other.x_validation[:, 0] // 4, held["validation"])
    assert np.array_equal(other.x_train[:, 0] // 4, held["train"])
    assert np.array_equal(one.x_validation, small()["x_train"][held["validation"]])
    assert one.name == "one" and one.classes == 3 and one.image_shape == (4,)


def test_npz_with_validation_is_taken_as_it_is(tmp_path):
    given = {"x_validation": np.full((2, 4), 7.5), "y_validation": np.array([2, 0], np.uint8)}
    dataset = data.load(str(saved(tmp_path / "own.npz", **given)))
    assert np.array_equal(dataset.x_train, small()["x_train"]) and np.all(dataset.x_validation == 7.5)
    assert dataset.y_validation.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("shape", "image_shape"), [((5, 6), (1, 5, 6)), ((3, 5, 6), (3, 5, 6)), ((5, 6, 3), (3, 5, 6)), ((5, 6, 2), (5, 6, 2))]
)
def test_npz_of_uint8_images_is_flattened_channels_first_and_scaled(tmp_path, shape, image_shape):
    x = np.random.default_rng(1).integers(256, size=(20, *shape), dtype=np.uint8)
    dataset = data.load(str(saved(tmp_path / "own.npz", x_train=x, x_test=x[:6])))
    image = x[4].transpose(2, 0, 1) if shape == (5, 6, 3) else x[4]
    assert dataset.image_shape == image_shape
    assert np.array_equal(dataset.x_test[4].reshape(image_shape), image.reshape(image_shape) / np.float32(255))


X, Y = small()["x_train"], small()["y_train"]
FAULTS: dict[str, tuple[dict, str]] = {
    "misspelt key": ({"x_train": None, "x_trian": X}, "no 'x_train'; rename 'x_trian'"),
    "missing key": ({"y_test": None}, "no 'y_test'; it has x_test, x_train, y_train"),
    "misspelt optional key": ({"x_val": X, "y_val": Y}, "unknown key 'x_val'; remove it or rename it to 'x_"),
    "half of the validation": ({"x_validation": X}, "no 'y_validation'"),
    "Python objects": ({"x_test": np.array([{}, []], object)}, "holds Python objects"),
    "one axis": ({"x_train": X[:, 0]}, "'x_train' in"),
    "five axes": ({"x_train": X.reshape(20, 1, 1, 2, 2)}, "shape (20, 1, 1, 2, 2)"),
    "a number for x": ({"x_test": np.float32(1)}, "'x_test' in"),
    "a number for y": ({"y_test": np.int64(1)}, "'y_test' in"),
    "unlike rows": ({"y_train": Y[:19]}, "one label per row of 'x_train' (20 rows)"),
    "labels as two columns": ({"y_train": np.stack([Y, Y], 1)}, "'y_train' in"),
    "labels as a row": ({"y_train": Y[None]}, "'y_train' in"),
    "one-hot labels": ({"y_train": np.eye(3, dtype=int)[Y]}, "y.argmax(axis=1)"),
    "unlike features": ({"x_test": X[:6, :3]}, "examples of shape (3,); give (4,)"),
    "NaN": ({"x_train": np.where(np.arange(80).reshape(20, 4) == 41, np.nan, X)}, "'x_train' in"),
    "infinity": ({"x_test": np.full((6, 4), -np.inf)}, "'x_test' in"),
    "too large for float32": ({"x_test": np.full((6, 4), 1e300)}, "too large"),
    "NaN in validation": ({"x_validation": np.full((20, 4), np.nan), "y_validation": Y}, "'x_validation' in"),
    "text as x": ({"x_test": np.full((6, 4), "a")}, "'x_test' in"),
    "whole numbers as x": ({"x_test": np.ones((6, 4), int)}, "floating-point numbers or uint8"),
    "two scales": ({"x_test": np.ones((6, 4), np.uint8)}, "same scale"),
    "labels with a fraction": ({"y_train": Y + 0.5}, "whole numbers"),
    "labels as floats": ({"y_test": Y[:6].astype(float)}, "'y_test' in"),
    "labels as truths": ({"y_test": Y[:6] > 0}, "'y_test' in"),
    "labels as text": ({"y_train": Y.astype(str)}, "whole numbers"),
    "negative label": ({"y_train": Y - 1}, "negative label -1"),
    "negative test label": ({"y_test": Y[:6] - 2}, "'y_test' in"),
    "test label out of range": ({"y_test": Y[:6] + 1}, "has label 3; the labels of 'y_train' end at 2"),
    "validation label out of range": ({"x_validation": X, "y_validation": Y + 1}, "'y_validation' in"),
    "label beyond int64": ({"y_test": np.full(6, 2**63, np.uint64)}, "'y_test' in"),
    "labels that are no classes": ({"y_train": Y * 10**12}, "number the classes from 0"),
    "one class": ({"y_train": np.full(20, 2)}, "single class"),
    "no training rows": ({"x_train": X[:0], "y_train": Y[:0]}, "'x_train' in"),
    "no test rows": ({"x_test": X[:0], "y_test": Y[:0]}, "is empty"),
    "no validation rows": ({"x_validation": X[:0], "y_validation": Y[:0]}, "'x_validation' in"),
    "no features": ({"x_train": X[:, :0], "x_test": X[:6, :0]}, "is empty"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_npz_gives_one_sentence_naming_file_and_key(tmp_path, fault):
    changes, expected = FAULTS[fault]
    path = saved(tmp_path / "faulty.npz", **changes)
    text = message(str(path))
    assert str(path) in text and expected in text, text


def test_files_that_are_no_npz(tmp_path):
    assert f"{tmp_path / 'absent.npz'} does not exist" in message(str(tmp_path / "absent.npz"))
    assert "does not exist" in message(str(tmp_path / "x" / ".." / "folder.npz"))
    for name, content in {"empty": b"", "text": b"x,y\n1,2\n", "pickle": pickle.dumps({"x_train": [1]})}.items():
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        assert f"{path} is truncated or no .npz file" in message(str(path))
    np.save(tmp_path / "single.npy", np.zeros(3))
    (tmp_path / "single.npy").rename(tmp_path / "single.npz")
    assert "no .npz file" in message(str(tmp_path / "single.npz"))
    with zipfile.ZipFile(tmp_path / "member.npz", "w") as archive:
        archive.writestr("x_train", "no array at all")
    assert "'x_train'" in message(str(tmp_path / "member.npz"))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_truncation_and_altered_byte_is_caught_or_harmless(tmp_path, save):
    """Cut after every 7th byte; every 3rd byte set to another value. What loads must be the same data."""
    path = tmp_path / "own.npz"
    save(path, **small())
    whole, digest = path.read_bytes(), data.load(str(path)).digest
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        assert str(path) in message(str(path))
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        try:
            assert data.load(str(path)).digest == digest
        except UserError as error:
            assert str(path) in str(error)


# --- known data sets that are missing or damaged --------------------------------------------------------------------------


def sparse_idx(folder: Path, name: str) -> Path:
    """Four files of the right sizes and no right content."""
    raw = folder / known.IDX_FOLDERS[name] / "raw"
    raw.mkdir(parents=True)
    for file in known.IDX_FILES:
        (raw / file.name).touch()
        os.truncate(raw / file.name, file.size)
    return raw


def test_missing_data_says_where_and_how(tmp_path, monkeypatch):
    for name, where in {"mnist": "MNIST/raw", "fashion": "FashionMNIST/raw", "cifar10": "cifar-10-batches-py"}.items():
        text = message(name, tmp_path)
        assert str(tmp_path / where) in text and "--download" in text and "GRAD_INSTRUCTOR_DATA" in text
        assert str(tmp_path / where) in data.found(str(tmp_path))[name]
    assert data.found(str(tmp_path))["digits"] == "ready"
    assert "did you mean 'mnist'" in message("mnits")
    monkeypatch.setenv("GRAD_INSTRUCTOR_DATA", str(tmp_path / "here"))
    assert data.data_folder(None) == tmp_path / "here" and data.data_folder("there") == Path("there")
    monkeypatch.setenv("GRAD_INSTRUCTOR_DATA", "")
    assert data.data_folder(None) == Path.home() / ".cache" / "grad-instructor"


@pytest.mark.parametrize("file", known.IDX_FILES, ids=lambda file: file.name)
@pytest.mark.parametrize("change", [-1, 1])
def test_a_truncated_idx_file_is_named(tmp_path, file, change):
    path = sparse_idx(tmp_path, "fashion") / file.name
    assert data.found(str(tmp_path))["fashion"] == "ready"
    os.truncate(path, file.size + change)
    text = message("fashion", tmp_path)
    assert f"{path} is truncated or corrupt ({file.size + change} bytes instead of {file.size})" in text
    assert data.found(str(tmp_path))["fashion"] == text


def test_an_idx_file_with_other_content_is_named(tmp_path):
    raw = sparse_idx(tmp_path, "mnist")
    assert f"{raw / known.IDX_FILES[0].name} is corrupt" in message("mnist", tmp_path)


@needs("MNIST")
def test_one_altered_byte_of_mnist_is_caught(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in known.IDX_FILES:
        (raw / file.name).symlink_to(REAL / "MNIST" / "raw" / file.name)
    labels = raw / "t10k-labels-idx1-ubyte"
    content = bytearray(labels.read_bytes())
    content[5000] ^= 1
    labels.unlink()
    labels.write_bytes(content)
    assert f"{labels} is corrupt" in message("mnist", tmp_path)


def test_a_subset_with_other_rows_is_refused(tmp_path):
    saved(tmp_path / "cifar10_10k.npz")
    text = message("cifar10", tmp_path)
    assert "has 20 rows, not 10000" in text and str(tmp_path / "cifar10_10k.npz") in text


# --- downloads (from this machine) ----------------------------------------------------------------------------------------


def test_a_failed_download_is_one_sentence(tmp_path, monkeypatch):
    from torchvision import datasets

    nowhere = f"file://{tmp_path}/nowhere/"
    monkeypatch.setattr(datasets.MNIST, "mirrors", [nowhere])
    monkeypatch.setattr(datasets.CIFAR10, "url", nowhere + "cifar-10-python.tar.gz")
    for name in ("mnist", "cifar10"):
        assert "could not be downloaded" in message(name, tmp_path / "data", download=True)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """No line per request."""


@needs("FashionMNIST")
def test_download_fetches_verifies_and_loads(tmp_path, monkeypatch):
    from torchvision import datasets

    mirror, resources = tmp_path / "mirror", []
    mirror.mkdir()
    for file in known.IDX_FILES:
        packed = gzip.compress((REAL / "FashionMNIST" / "raw" / file.name).read_bytes(), compresslevel=1)
        (mirror / f"{file.name}.gz").write_bytes(packed)
        resources.append((f"{file.name}.gz", hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(datasets.FashionMNIST, "resources", resources)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(mirror))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        fetched = data.load("fashion", str(tmp_path / "data"), download=True)
        server.shutdown()
    assert fetched.digest == data.load("fashion", str(REAL)).digest
    assert data.load("fashion", str(tmp_path / "data"), download=True).digest == fetched.digest  # nothing left to fetch
    labels = tmp_path / "data" / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte"
    os.truncate(labels, 3)
    assert f"{labels} is truncated" in message("fashion", tmp_path / "data", download=True)
