"""CIFAR-10: 50,000 + 10,000 colour images of 32 × 32 pixels (Krizhevsky, 2009), or its first 10,000 + 2,000."""

from pathlib import Path

from pipeline.data import known
from pipeline.data.sets.dataset import DataSet


def ready(folder: Path) -> str:
    return f"ready (the 10,000 training images of {known.CIFAR_SUBSET})" if known.only_subset(folder) else "ready"


DATA_SET = DataSet(known.load_cifar10, known.cifar10_paths, known.cifar10_problem, ready)
