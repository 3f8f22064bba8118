"""Which data the targets are trained on. Whether they are there is known when they are loaded: nothing is to be checked."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DataConfig:
    """Which data the targets are trained on."""

    dataset: str = "digits"
    """digits, mnist, … (see `doctor`), or the path of your own: .npz, .csv, .parquet, a folder of images (short: --dataset)"""
