"""Which examples train, validate and test: fixed indices, committed beside this file in ``splits/``.

``python -m pipeline.data.splits`` writes them again; they must come out the same. The shuffle is an argsort of PCG64's raw
bits, which NumPy keeps stable between versions, where ``Generator.permutation`` may change.

- digits: 60/20/20 %, stratified by class.
- mnist, fashion: 5,000 of the 60,000 training images validate (design.md); cifar10: 5,000 of 50,000; cifar10-10k, the subset:
  1,000 of 10,000. The rest trains; the test images are those of the source.
"""

import os
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Integer

from pipeline.seeding import stream

FOLDER = Path(__file__).with_name("splits")
SEED = 0
HELD_OUT = {"mnist": (60_000, 5_000), "fashion": (60_000, 5_000), "cifar10": (50_000, 5_000), "cifar10-10k": (10_000, 1_000)}
"""name: (training images of the source, how many of them validate)"""

Indices = dict[str, np.ndarray]
"""train, validation (and, where the source has no test set, test): which rows of the source, shuffled"""


def make_splits() -> dict[str, Indices]:
    """The indices of every known data set, from nothing but ``SEED`` and the labels of digits."""
    from sklearn.datasets import load_digits

    splits = {name: hold_out(rows, held, name) for name, (rows, held) in HELD_OUT.items()}
    _, labels = load_digits(return_X_y=True)
    return {"digits": stratified(np.asarray(labels, dtype=np.int64), "digits")} | splits


def committed(name: str) -> Indices:
    """The committed indices of the known data set ``name``; the file leaves out ``train`` where that is the rest."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        parts = {part: file[part].astype(np.int64) for part in file.files}
    if name in HELD_OUT:
        parts["train"] = _rest(HELD_OUT[name][0], parts["validation"])
    return parts


def hold_out(rows: int, held: int, name: str) -> Indices:
    """``held`` of ``rows`` validate, in shuffled order (the first n are a fair sample); the rest train, in file order."""
    validation = shuffled(rows, name)[:held]
    return {"train": _rest(rows, validation), "validation": validation}


def stratified(labels: Int64[np.ndarray, "rows"], name: str) -> Indices:
    """20 % of every class validate, 20 % test (both rounded), the rest train; all in shuffled order."""
    order = shuffled(len(labels), name)
    part = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        fifth = round(len(members) / 5)
        part[members[:fifth]], part[members[fifth : 2 * fifth]] = 1, 2
    return {split: order[part[order] == number] for number, split in enumerate(("train", "validation", "test"))}


def shuffled(rows: int, name: str) -> Int64[np.ndarray, "rows"]:
    """0 … rows - 1 in an order that depends on ``rows`` and ``name`` alone."""
    keys = np.random.PCG64(stream(SEED, "split", name)).random_raw(rows)
    return np.argsort(keys, kind="stable").astype(np.int64)


def _rest(rows: int, taken: Integer[np.ndarray, "taken"]) -> np.ndarray:
    return np.setdiff1d(np.arange(rows, dtype=np.int64), taken)


def write(folder: Path = FOLDER) -> None:
    """Writes ``NAME.npz`` for every known data set, each file whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, parts in make_splits().items():
        kept = {part: rows.astype(np.uint16) for part, rows in parts.items() if part != "train" or name not in HELD_OUT}
        unfinished = folder / f".{name}.npz.unfinished"
        with open(unfinished, "wb") as file:
            np.savez_compressed(file, **kept)  # pyright: ignore[reportArgumentType]
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, folder / f"{name}.npz")


if __name__ == "__main__":
    write()
