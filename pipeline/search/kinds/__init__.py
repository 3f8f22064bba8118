"""The kinds of search. A new one is a file here, which ends in its ``KIND``, and a line of :data:`FILES`."""

from importlib import import_module

from pipeline.search.kinds.kind import Checks, Judging, Kind

FILES = (
    "enn",
    "target",
)
KINDS: dict[str, Kind] = {file: import_module(f"pipeline.search.kinds.{file}").KIND for file in FILES}
"""by name"""

__all__ = ["FILES", "KINDS", "Checks", "Judging", "Kind"]
