"""What --quick means to every benchmark: seconds, the smallest settings that still go through its code, no data to fetch, and
results in a folder of their own. The numbers mean nothing.

A benchmark names the constants that are smaller then in ``QUICK``, and calls ``globals().update(QUICK)``.
"""

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np

from pipeline.data import Dataset, load

RESULTS = Path(__file__).resolve().parent / "results"
SETTINGS = {"rl.rounds": 2, "rl.members": 8, "rl.updates": 5, "training.steps": 50, "rl.period": 10}
SETTINGS |= {"unroll.segments": 3, "unroll.steps": 50, "unroll.members": 4}
SETTINGS |= {"compare.seeds": 4, "compare.group": 2, "compare.tuning-seeds": 2, "target.hidden": 8}
TINY = [part for name, value in SETTINGS.items() for part in (f"--{name}", str(value))]
"""options of the smallest run of the program"""


def parser_of(text: str | None) -> argparse.ArgumentParser:
    """A benchmark's parser, which has --quick.

    Args:
        text: the benchmark's docstring; its first paragraph describes it.
    """
    parser = argparse.ArgumentParser(description=(text or "").split("\n\n")[0])
    parser.add_argument(
        "--quick",
        action="store_true",
        help="seconds: tiny settings, no data needed; results go to a temporary folder, never into benchmarks/results",
    )
    return parser


def resumable_parser_of(text: str | None, work: str) -> argparse.ArgumentParser:
    """The parser of a benchmark whose finished parts are kept, so that it may be stopped after some time.

    Args:
        work: the folder of the parts, below runs/.
    """
    parser = parser_of(text)
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no more after so long; what is done is kept")
    parser.add_argument("--work", type=Path, default=Path("runs", work), help="folder of the parts")
    return parser


def results_folder(quick: bool) -> Path:
    """Where results go: benchmarks/results, or a new temporary folder."""
    if not quick:
        return RESULTS
    folder = Path(tempfile.mkdtemp(prefix="grad-instructor-quick-"))
    print(f"quick: tiny settings, whose numbers mean nothing; results go to {folder}", flush=True)
    return folder


def data(name: str, quick: bool) -> Dataset:
    """The data set of this name; if ``quick``, digits in its shape.

    Raises:
        UserError: the files are not there.
    """
    return stand_in(name) if quick else load(name)


def stand_in(name: str) -> Dataset:
    """Handwritten digits of 8 × 8 pixels, blown up to 28 × 28, with as many validation examples as MNIST has (repeated)."""
    digits = load("digits")
    x = {split: _blown_up(getattr(digits, f"x_{split}")) for split in ("train", "validation", "test")}
    rows = np.arange(5000) % len(digits.y_validation)
    return Dataset(
        name,
        *(x["train"], digits.y_train),
        *(x["validation"][rows], digits.y_validation[rows]),
        *(x["test"], digits.y_test),
        (1, 28, 28),
        10,
    )


def _blown_up(x: np.ndarray) -> np.ndarray:
    images = np.kron(x.reshape(-1, 8, 8), np.ones((1, 3, 3), np.float32))
    return np.pad(images, ((0, 0), (2, 2), (2, 2))).reshape(len(x), 784).astype(np.float32)
