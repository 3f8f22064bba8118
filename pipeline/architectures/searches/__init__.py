"""Search algorithms by name: a file each, which ends in its ``SEARCH``, and a line of
:data:`pipeline.names.ArchitectureSearch`.

Each is a function of a seed and of what it has been told: told the same again, it proposes the same again, in another process
and after any interruption. So nothing of its state is ever written.
"""

from pipeline.architectures.searches.search import Search
from pipeline.names import ArchitectureSearch, registered

SEARCHES: dict[str, type[Search]] = registered(ArchitectureSearch, __name__, "SEARCH")
"""by name"""

__all__ = ["SEARCHES", "Search"]
