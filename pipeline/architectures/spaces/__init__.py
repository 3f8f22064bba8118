"""The spaces of architectures by name: a file each, which ends in its ``SPACE``, and a line of
:data:`pipeline.names.SpaceName`."""

from pipeline.architectures.space import Space
from pipeline.names import SpaceName, registered

SPACES: dict[str, Space] = registered(SpaceName, __name__, "SPACE")
"""by name"""

__all__ = ["SPACES"]
