"""Somebody's own data: what is noticed in arrays, and tables and folders of images read as the same arrays would be."""

import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from pipeline import data
from pipeline.data.npz import MEDMNIST
from pipeline.data.sources import sources_digest
from pipeline.errors import UserError

ROWS, TEST = 60, 20
CHANCE = np.random.default_rng(0)
X = CHANCE.random((ROWS + TEST, 4)).round(3)
Y = np.arange(ROWS + TEST) % 3
PIXELS = CHANCE.integers(0, 256, (ROWS + TEST, 8, 8), dtype=np.uint8)


def _arrays(x: np.ndarray = X, y: np.ndarray = Y) -> dict[str, np.ndarray]:
    return {"x_train": x[:ROWS], "y_train": y[:ROWS], "x_test": x[ROWS:], "y_test": y[ROWS:]}


def _npz(path: Path, arrays: dict[str, np.ndarray]) -> str:
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
    return str(path)


def _said(dataset: "str | Path") -> str:
    with pytest.raises(UserError) as caught:
        data.load(dataset)
    sentence = str(caught.value)
    assert sentence.endswith((".", "?")) and sentence.isprintable(), sentence
    return sentence


# -- arrays ------------------------------------------------------------------------------------------------------------


def test_labels_as_a_column_are_the_same_labels(tmp_path):
    as_row = data.load(_npz(tmp_path / "row.npz", _arrays()))
    as_column = data.load(_npz(tmp_path / "column.npz", _arrays(y=Y[:, None].astype(np.uint8))))
    assert as_row.digest == as_column.digest and as_column.y_train.ndim == 1
    both = _arrays() | {"y_train": np.stack([Y[:ROWS], Y[:ROWS]], 1)}
    assert "one label per row" in _said(_npz(tmp_path / "both.npz", both)), "the twin"


@pytest.mark.parametrize("kind", ["float32", "float64", "float16"])
@pytest.mark.parametrize("flat", [True, False])
def test_pixels_up_to_255_as_floats_are_noticed(kind, flat, tmp_path):
    x = PIXELS.reshape(len(PIXELS), -1) if flat else PIXELS
    sentence = _said(_npz(tmp_path / "a.npz", _arrays(x.astype(kind))))
    assert "'x_train'" in sentence and "uint8, or divide by 255" in sentence
    scaled = data.load(_npz(tmp_path / "b.npz", _arrays(x.astype(kind) / np.array(255, kind))))
    whole = data.load(_npz(tmp_path / "c.npz", _arrays(x)))
    assert not scaled.notes and not whole.notes and np.allclose(scaled.x_train, whole.x_train, atol=1e-3)
    sixteen = data.load(_npz(tmp_path / "d.npz", _arrays((PIXELS // 16).astype(kind))))
    assert sixteen.x_train.max() == 15, "as scikit-learn has its digits: taken as they are"


def test_parts_on_unlike_scales_are_noticed(tmp_path):
    arrays = _arrays(PIXELS / 255.0)
    for key in ("x_test", "x_train"):
        sentence = _said(_npz(tmp_path / f"{key}.npz", arrays | {key: arrays[key] * 255 + 0.5}))
        assert "'x_test'" in sentence and "'x_train'" in sentence and "same scale" in sentence
    validation = {"x_validation": PIXELS[:5] + 0.5, "y_validation": Y[:5]}
    assert "'x_validation'" in _said(_npz(tmp_path / "v.npz", arrays | validation))
    data.load(_npz(tmp_path / "sound.npz", arrays | {"x_test": arrays["x_test"] * 3}))


@pytest.mark.parametrize(("y", "said"), [(Y + 1, "no example of class 0"), (Y * 2, "no example of class 1"), (Y, None)])
def test_labels_with_gaps_or_from_one_are_said(y, said, tmp_path):
    dataset = data.load(_npz(tmp_path / "a.npz", _arrays(y=y)))
    assert dataset.classes == y.max() + 1
    assert (said is None and not dataset.notes) or (said in dataset.notes[0] and "without gaps" in dataset.notes[0])


def test_values_that_networks_do_not_learn_from_are_said(tmp_path):
    (note,) = data.load(_npz(tmp_path / "a.npz", _arrays(X * 1e4))).notes
    assert "in the mean" in note and not data.load(_npz(tmp_path / "b.npz", _arrays())).notes


def test_notes_are_printed_and_change_no_digest(tmp_path, monkeypatch, capfd):
    from pipeline.command_line.options import Command, Options
    from pipeline.command_line.work import Work
    from pipeline.config import Config
    from pipeline.config.data import DataConfig

    path = _npz(tmp_path / "a.npz", _arrays(y=Y + 1))
    job = Work("run", Command(Options(output=tmp_path / "run"), config=Config(data=DataConfig(dataset=path))), "")
    assert job.dataset.digest == data.load(path).digest
    assert "warning: 'y_train' in" in capfd.readouterr().out


def test_the_keys_of_medmnist_and_of_keras(tmp_path):
    arrays = _arrays(PIXELS)
    validation = {"x_validation": PIXELS[:7], "y_validation": Y[:7]}
    ours = data.load(_npz(tmp_path / "keras.npz", arrays | validation))
    theirs = {old: (arrays | validation)[new] for old, new in MEDMNIST.items()}
    theirs = {key: value[:, None] if "labels" in key else value for key, value in theirs.items()}
    assert data.load(_npz(tmp_path / "pathmnist.npz", theirs)).digest == ours.digest
    assert "no 'x_train'" in _said(_npz(tmp_path / "half.npz", {"train_images": PIXELS, "train_labels": Y})), "the twin"


def test_an_extra_key_is_named_and_no_nonsense_is_proposed(tmp_path):
    sentence = _said(_npz(tmp_path / "a.npz", _arrays() | {"ids": Y}))
    assert "unknown key 'ids'; remove it (what is read is x_train, y_train" in sentence and "rename" not in sentence
    assert "rename it to 'x_validation'" in _said(_npz(tmp_path / "b.npz", _arrays() | {"x_val": X}))


def test_capital_letters_and_paths(tmp_path):
    path = Path(_npz(tmp_path / "a.npz", _arrays()))
    shutil.copy(path, tmp_path / "B.NPZ")
    assert data.load(path).digest == data.load(tmp_path / "B.NPZ").digest == data.load(str(path)).digest
    assert "floating-point numbers or uint8 (x.astype('uint8')" in _said(_npz(tmp_path / "c.npz", _arrays(PIXELS.astype(int))))


def test_parts_that_are_scaled_otherwise_are_spoken_of(tmp_path):
    """Their means may be alike."""
    arrays = _arrays(PIXELS / 255.0)
    for number, other in enumerate((PIXELS[ROWS:] / 127.5 - 1, (PIXELS[ROWS:] / 255.0 - 0.5) / 0.1)):
        (note,) = data.load(_npz(tmp_path / f"{number}.npz", arrays | {"x_test": other})).notes
        assert "'x_test'" in note and "scale both in the same way" in note
    assert not data.load(_npz(tmp_path / "twin.npz", arrays | {"x_test": PIXELS[ROWS:] / 200.0})).notes
    whole = _arrays(PIXELS)
    assert data.load(_npz(tmp_path / "u.npz", whole | {"x_test": PIXELS[ROWS:] // 255})).notes, "whole numbers alike"


def test_channels_last_are_seen_where_they_are_no_three(tmp_path):
    four = np.stack([PIXELS] * 4, 1)
    assert data.load(_npz(tmp_path / "first.npz", _arrays(four))).image_shape == (4, 8, 8)
    assert "4 channels last" in _said(_npz(tmp_path / "last.npz", _arrays(np.moveaxis(four, 1, -1))))


def test_what_is_to_be_done_with_keys_and_labels_of_another_kind(tmp_path):
    for names in (("X_TRAIN", "Y_TRAIN", "X_TEST", "Y_TEST"), ("train_x", "train_y", "test_x", "test_y")):
        arrays = dict(zip(names, _arrays().values(), strict=True))
        assert f"no 'x_train'; rename {names[0]!r}" in _said(_npz(tmp_path / f"{names[0]}.npz", arrays))
    for y, hint in ((Y.astype(str), "numpy.unique"), (Y * 1.0, "astype('int64')"), (Y > 0, "astype('int64')"), (Y + 0.5, "0.")):
        assert hint in _said(_npz(tmp_path / "y.npz", _arrays(y=y)))


# -- tables --------------------------------------------------------------------------------------------------------------


def _table(path: Path, columns: dict[str, object]) -> Path:
    import pyarrow as pa
    from pyarrow import csv, parquet

    table = pa.table(columns)
    csv.write_csv(table, path) if path.suffix == ".csv" else parquet.write_table(table, path)
    return path


def _columns(x: np.ndarray = X, label: object = Y, **more: object) -> dict[str, object]:
    return {f"f{number}": column for number, column in enumerate(x.T)} | {"label": label} | more


SPLIT = ["train"] * ROWS + ["test"] * TEST


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_is_what_its_arrays_are(kind, tmp_path):
    as_arrays = data.load(_npz(tmp_path / "a.npz", _arrays()))
    columns = _columns(split=SPLIT, id=np.arange(ROWS + TEST))
    assert data.load(_table(tmp_path / f"b.{kind}", columns)).digest == as_arrays.digest
    texts = columns | {"label": np.array(["ash", "birch", "oak"])[Y]}
    assert data.load(_table(tmp_path / f"c.{kind}", texts)).digest == as_arrays.digest
    other = columns | {"f0": X[:, 0] + 0.001}
    assert data.load(_table(tmp_path / f"d.{kind}", other)).digest != as_arrays.digest, "the twin"


def test_pixels_in_columns_are_the_pixels_of_images(tmp_path):
    flat = PIXELS.reshape(len(PIXELS), -1)
    as_arrays = data.load(_npz(tmp_path / "a.npz", _arrays(flat)))
    assert data.load(_table(tmp_path / "b.csv", _columns(flat, split=SPLIT))).digest == as_arrays.digest


def test_a_table_without_a_split_is_split_by_its_length_alone(tmp_path):
    one = data.load(_table(tmp_path / "a.csv", _columns()))
    other = data.load(_table(tmp_path / "b.parquet", _columns(np.arange(4.0 * len(X)).reshape(len(X), 4) / 100)))
    sizes = [len(getattr(one, f"y_{part}")) for part in ("train", "validation", "test")]
    assert sizes == [58, 6, 16] and sum(sizes) == len(X)
    rows = (other.x_test[:, 0] * 100 / 4).round().astype(int)
    assert np.allclose(one.x_test, X[rows]) and np.array_equal(one.y_test, Y[rows])


BAD_TABLES = {
    "no label": ({f"f{n}": X[:, n] for n in range(4)}, "needs one column of labels"),
    "two labels": (_columns(target=Y), "needs one column of labels.*'label', 'target'"),
    "a hole": (_columns(f9=[None, *X[1:, 0]]), "'f9' .* 1 rows without a value"),
    "a label that is missing": (_columns(label=[None, *Y[1:].tolist()]), "'label' .* 1 rows without a value"),
    "text": (_columns(colour=["red"] * len(X)), "'colour' .* type string; give numbers"),
    "labels with a fraction": (_columns(label=Y + 0.5), "give labels as whole numbers or texts"),
    "a split that is none": (_columns(split=["train", "tset"] * (len(X) // 2)), "row 2 of .* has the split 'tset'"),
    "no test": (_columns(split=["train"] * len(X)), "no row whose split is 'test'"),
    "a class that only tests": (_columns(label=["a", "b"] * (ROWS // 2) + ["c"] * TEST, split=SPLIT), "class 'c' .* no row"),
    "no feature": ({"label": Y}, "holds no examples with features"),
    "infinite": (_columns(X + np.where(np.arange(4) == 1, np.inf, 0)), "NaN, infinite or too large"),
    "three rows": ({key: value[:3] for key, value in _columns().items()}, "has 3 rows; give more"),
    "negative labels": (_columns(label=Y - 1), "negative label"),
}


CSV = "f0,f1,label\n" + "".join(f"{n / 7:.3f},{n % 5},{'abc'[n % 3]}\n" for n in range(60))
"""as other programs write it"""
NUMBERED = "".join(f"{n},{line}\n" for n, line in enumerate(CSV.splitlines()[1:]))
SAME = {
    "a mark of UTF-8": b"\xef\xbb\xbf" + CSV.encode(),
    "Windows": CSV.replace("\n", "\r\n").encode(),
    "spaces": CSV.replace(",", " , ").encode(),
    "capitals": CSV.replace("label", "Label").encode(),
    "pandas' index, read again": f"Unnamed: 0,f0,f1,label\n{NUMBERED}".encode(),
    "pandas' index": f",f0,f1,label\n{NUMBERED}".encode(),
    "pyarrow's index of pandas": f"__index_level_0__,f0,f1,label\n{NUMBERED}".encode(),
}


@pytest.mark.parametrize("how", SAME)
def test_a_table_as_other_programs_write_it(how, tmp_path):
    """An index that counts rows which lie by class would tell the class."""
    (tmp_path / "plain.csv").write_text(CSV)
    (tmp_path / "other.csv").write_bytes(SAME[how])
    assert data.load(tmp_path / "other.csv").digest == data.load(tmp_path / "plain.csv").digest


OTHERWISE = {
    "no names": (CSV.partition("\n")[2].encode(), "first line must name the columns"),
    "semicolons": (CSV.replace(",", ";").encode(), "has semicolons between its cells; save it with commas"),
    "tabs": (CSV.replace(",", "\t").encode(), "has tabs between"),
    "compressed": (b"\x1f\x8b\x08\x00" + CSV.encode(), "is compressed; unpack it"),
    "UTF-16": (CSV.encode("utf-16"), "is UTF-16; save it as UTF-8"),
    "Latin-1": (CSV.replace("a\n", "ä\n").encode("latin-1"), "not UTF-8"),
    "a label that is empty": (CSV.replace("a\n", "\n").encode(), "'label' .* has 20 rows without a value"),
    "a label that is NaN": (CSV.replace("a\n", "NaN\n").encode(), "'label' .* has 20 rows without a value"),
    "infinite": (CSV.replace("0.143,", "inf,").encode(), "'f0' .* infinite .* in 1 rows"),
    "names alone": (b"f0,f1,label\n", "holds no examples"),
}


@pytest.mark.parametrize("how", OTHERWISE)
def test_a_table_that_is_written_otherwise_says_how(how, tmp_path):
    import re

    contents, expected = OTHERWISE[how]
    (tmp_path / "a.csv").write_bytes(contents)
    assert re.search(expected, _said(tmp_path / "a.csv"))


def test_true_and_false_are_two_classes(tmp_path):
    texts = _columns(label=np.array(["false", "true"])[Y % 2], split=SPLIT)
    as_numbers = data.load(_table(tmp_path / "a.csv", _columns(label=Y % 2, split=SPLIT)))
    assert data.load(_table(tmp_path / "b.csv", texts)).digest == as_numbers.digest
    truths = _columns(label=Y % 2 == 1, Split=SPLIT)
    assert data.load(_table(tmp_path / "c.parquet", truths)).digest == as_numbers.digest


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("fault", BAD_TABLES)
def test_a_faulty_table_is_one_sentence(fault, kind, tmp_path):
    import re

    columns, expected = BAD_TABLES[fault]
    assert re.search(expected, _said(_table(tmp_path / f"a.{kind}", columns)))


def test_files_that_are_no_tables(tmp_path):
    for name in ("absent.csv", "absent.parquet"):
        assert "does not exist" in _said(tmp_path / name)
    bad = {"a.csv": b"", "b.csv": b"\xff\x00,\n1,2,3\n", "c.parquet": b"PAR1 and no more PAR1", "d.parquet": b""}
    for name, contents in bad.items():
        (tmp_path / name).write_bytes(contents)
        assert str(tmp_path / name) in _said(tmp_path / name)
    assert "is no data set that can be read" in _said(_npz(tmp_path / "x.npz", _arrays()).replace("x.npz", "x.xlsx"))


def test_a_table_too_large_for_the_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    import psutil

    for kind in ("csv", "parquet"):
        path = _table(tmp_path / f"a.{kind}", _columns())
        with monkeypatch.context() as patch:
            patch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1000}))
            assert "of memory are free" in _said(path)
        data.load(path)


# -- folders of images ---------------------------------------------------------------------------------------------------


def _images(folder: Path, parts: bool = True, colour: bool = False, ending: str = "png") -> Path:
    from PIL import Image

    for number, (pixels, label) in enumerate(zip(PIXELS, Y, strict=True)):
        place = folder / (("train" if number < ROWS else "test") if parts else "") / "abc"[label]
        place.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(pixels)
        (image.convert("RGB") if colour else image).save(place / f"{number:03d}.{ending}")
    return folder


def _by_class(y: np.ndarray) -> np.ndarray:
    return np.argsort(y, kind="stable")


def test_a_folder_of_images_is_what_its_arrays_are(tmp_path):
    folder = _images(tmp_path / "flowers")
    train, test = _by_class(Y[:ROWS]), ROWS + _by_class(Y[ROWS:])
    arrays = {"x_train": PIXELS[train], "y_train": Y[train], "x_test": PIXELS[test], "y_test": Y[test]}
    dataset = data.load(folder)
    assert dataset.digest == data.load(_npz(tmp_path / "a.npz", arrays)).digest
    assert dataset.name == "flowers" and dataset.image_shape == (1, 8, 8) and data.load(f"{folder}/").digest == dataset.digest
    (folder / "train" / "notes.txt").write_text("of no class")
    (folder / "train" / "a" / ".hidden.png").write_bytes(b"")
    assert data.load(folder).digest == dataset.digest


def test_images_with_colours_and_without_parts(tmp_path):
    folder = _images(tmp_path / "a", parts=False, colour=True)
    dataset = data.load(folder)
    assert dataset.image_shape == (3, 8, 8) and dataset.classes == 3
    assert [len(getattr(dataset, f"y_{part}")) for part in ("train", "validation", "test")] == [58, 6, 16]
    known = {np.stack([image] * 3).tobytes(): label for image, label in zip(PIXELS, Y, strict=True)}
    for part in ("train", "validation", "test"):
        x, y = getattr(dataset, f"x_{part}"), getattr(dataset, f"y_{part}")
        assert [known[(row * 255).round().astype(np.uint8).tobytes()] for row in x] == y.tolist()


def test_the_first_of_the_validation_images_are_a_fair_sample(tmp_path):
    """They lie in the folder by class."""
    folder = _images(tmp_path / "a")
    shutil.copytree(folder / "train", folder / "val")
    assert len(set(data.load(folder).y_validation[:12].tolist())) == 3


def test_what_was_changed_in_a_folder_is_noticed(tmp_path):
    """Whether it is the data set of yesterday is known without reading it into arrays."""
    folder = _images(tmp_path / "a")
    digests = [sources_digest(str(folder), tmp_path)]
    (folder / "train" / "notes.txt").write_text("none of the images")
    assert sources_digest(str(folder), tmp_path) == digests[0] is not None
    os.rename(folder / "train" / "a", folder / "train" / "d")  # the same bytes, other classes
    digests.append(sources_digest(str(folder), tmp_path))
    (folder / "train" / "d" / "000.png").unlink()
    digests.append(sources_digest(str(folder), tmp_path))
    table = _table(tmp_path / "a.csv", _columns())
    digests.append(sources_digest(str(table), tmp_path))
    assert len(set(digests)) == 4 and None not in digests
    assert sources_digest(str(tmp_path / "absent.csv"), tmp_path) is None


def test_a_faulty_folder_is_one_sentence(tmp_path):
    from PIL import Image

    (tmp_path / "empty").mkdir()
    assert "images of 0 classes" in _said(tmp_path / "empty")
    folder = _images(tmp_path / "a")
    image = folder / "train" / "b" / "001.png"
    whole = image.read_bytes()
    for bad in (b"", whole[: len(whole) // 2], b"no image", b"%!PS-Adobe-3.0 EPSF-3.0"):
        image.write_bytes(bad)
        assert f"{image} is truncated or no image" in _said(folder)
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(image)
    assert "give all images the same size" in _said(folder)
    image.unlink()
    os.mkfifo(image)
    data.load(folder)  # a pipe is no image, and nobody waits for it
    os.rename(folder / "test", folder / "tset")
    assert "no folder 'test' beside 'train'" in _said(folder)
    os.rename(folder / "tset", folder / "test")
    os.rename(folder / "test" / "a", folder / "test" / "z")
    assert "is a class without images in" in _said(folder)


def test_parts_by_other_names_are_the_same_parts(tmp_path):
    folder = _images(tmp_path / "a")
    shutil.copytree(folder / "train", folder / "valid")
    expected = data.load(folder)
    assert len(expected.y_validation) == ROWS, "it is not held out of the training images"
    for old, new in (("train", "Training"), ("test", "Testing"), ("valid", "val")):
        os.rename(folder / old, folder / new)
    assert data.load(folder).digest == expected.digest
    (folder / "test").mkdir()
    assert "both of the test part" in _said(folder)


def test_what_was_meant_to_be_read_and_is_not_is_spoken_of(tmp_path):
    folder = _images(tmp_path / "a")
    assert not data.load(folder).notes
    expected, image = data.load(folder).digest, folder / "train" / "a" / "000.png"
    for number, other in enumerate(("train/a/x.tif", "train/b/more/x.png", "train/x.png", "extra/a/x.png")):
        (folder / other).parent.mkdir(exist_ok=True, parents=True)
        shutil.copy(image, folder / other)
        dataset = data.load(folder)
        assert dataset.digest == expected
        assert (f" ({number} more)" if number else "") + " is left out" in dataset.notes[0].replace("(and ", "(")
    shutil.rmtree(folder / "test" / "c")
    assert "has no images of the class 'c'" in data.load(folder).notes[-1]


def test_pixels_that_would_be_cut_off_and_films_are_refused(tmp_path):
    from PIL import Image

    folder = _images(tmp_path / "a")
    image = folder / "train" / "b" / "001.png"
    deep = Image.fromarray(PIXELS[0].astype(np.uint16) * 257)
    deep.save(image)
    assert f"{image} has more than 8 bits" in _said(folder)
    frames = [Image.fromarray(pixels) for pixels in PIXELS[:3]]
    frames[0].save(image, save_all=True, append_images=frames[1:])
    assert f"{image} holds 3 images" in _said(folder)
    frames[0].save(image)
    data.load(folder)


def test_images_too_large_are_refused_by_their_headers(tmp_path, monkeypatch):
    import psutil
    from PIL import Image

    folder = _images(tmp_path / "a")
    monkeypatch.setattr("pipeline.data.images._read", lambda *_: pytest.fail("it was unpacked"))
    with monkeypatch.context() as patch:
        patch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1000}))
        assert "of memory are free" in _said(folder)
    for name in ("train/a", "test/a", "train/b"):
        shutil.rmtree(folder / name)
        (folder / name).mkdir()
        Image.new("1", (30_000, 3)).save(folder / name / "a.png")
    for name in ("train/c", "test/b", "test/c"):
        shutil.rmtree(folder / name)
    assert "at most 4096 a side" in _said(folder)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)  # Pillow warns of more than these
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "at most 4096 a side" in _said(folder)
