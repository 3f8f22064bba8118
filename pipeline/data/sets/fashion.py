"""Fashion-MNIST: 60,000 + 10,000 garments of 28 × 28 pixels (Xiao et al., 2017)."""

from pipeline.data import known
from pipeline.data.sets.dataset import DataSet
from pipeline.data.splits import FOLDER

DATA_SET = DataSet(
    load=lambda folder, download: known.load_idx("fashion", folder, download),
    paths=lambda folder: [*known.idx_paths("fashion", folder), FOLDER / "fashion.npz"],
    problem=lambda folder: known.idx_problem("fashion", folder),
)
