"""What a data set that is known by name says of itself."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.dataset import Dataset


@dataclass(frozen=True)
class DataSet:
    """Each function is given the folder of the named data sets (:func:`pipeline.data.data_folder`)."""

    load: Callable[[Path, bool], Dataset]
    """``(folder, download)``; raises UserError where it cannot be read"""
    paths: Callable[[Path], list[Path]]
    """every file that it is made from, whether it is there or not"""
    problem: Callable[[Path], str | None]
    """what keeps it from being read, judged without reading it; None if nothing"""
    ready: Callable[[Path], str] = lambda folder: "ready"
    """what ``doctor`` says of it where nothing does"""
