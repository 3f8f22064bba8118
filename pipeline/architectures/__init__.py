"""Searches over architectures: spaces, the table of NAS-Bench-201, and algorithms with or without a predictor.

Nothing here imports torch before a network is made.
"""

from pipeline.architectures.assist import Assist
from pipeline.architectures.searches import SEARCHES, Search
from pipeline.architectures.simulate import Trace, simulate
from pipeline.architectures.space import Code, Space
from pipeline.architectures.spaces import SPACES
from pipeline.architectures.table import TABLES, Table, read_tables

__all__ = [
    "SEARCHES",
    "SPACES",
    "TABLES",
    "Assist",
    "Code",
    "Search",
    "Space",
    "Table",
    "Trace",
    "read_tables",
    "simulate",
]
