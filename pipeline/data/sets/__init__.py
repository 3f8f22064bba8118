"""The data sets that are known by name, one file each. A new one is a file with a ``DATA_SET``, and its line in
:data:`pipeline.names.DataSetName`; loading, ``doctor`` and searches follow from it, and whether its files have changed."""

from pipeline import names
from pipeline.data.sets.dataset import DataSet

DATA_SETS: dict[str, DataSet] = names.registered(names.DataSetName, __name__, "DATA_SET")

__all__ = ["DATA_SETS", "DataSet"]
