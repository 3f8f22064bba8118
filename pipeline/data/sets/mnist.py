"""MNIST: 60,000 + 10,000 handwritten digits of 28 × 28 pixels (LeCun et al., 1998)."""

from pipeline.data import known
from pipeline.data.sets.dataset import DataSet
from pipeline.data.splits import FOLDER

DATA_SET = DataSet(
    load=lambda folder, download: known.load_idx("mnist", folder, download),
    paths=lambda folder: [*known.idx_paths("mnist", folder), FOLDER / "mnist.npz"],
    problem=lambda folder: known.idx_problem("mnist", folder),
)
