"""The kinds of search. A new one is a file here, which ends in its ``KIND``, and a line of :data:`FILES`."""

from pipeline.names import registered
from pipeline.search.kinds.kind import Checks, Judging, Kind

FILES = (
    "enn",
    "target",
    "rule",
    "equation",
    "architecture",
)
KINDS: dict[str, Kind] = registered(FILES, __name__, "KIND")
"""by name"""

__all__ = ["FILES", "KINDS", "Checks", "Judging", "Kind"]
