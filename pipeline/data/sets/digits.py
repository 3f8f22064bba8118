"""1,797 handwritten digits of 8 × 8 pixels, inside of scikit-learn."""

import importlib.util
from pathlib import Path

from pipeline.data import known
from pipeline.data.sets.dataset import DataSet
from pipeline.data.splits import FOLDER


def embedded() -> Path:
    """Where scikit-learn keeps them, which takes a second to import."""
    spec = importlib.util.find_spec("sklearn")
    places = (spec.submodule_search_locations if spec else None) or [""]
    return Path(places[0], "datasets", "data", "digits.csv.gz")


DATA_SET = DataSet(
    load=lambda folder, download: known.load_digits(),
    paths=lambda folder: [embedded(), FOLDER / "digits.npz"],
    problem=lambda folder: None,
)
