"""The arms of a comparison, one entry each. A new one is a file here, which ends in its ``ARMS``, and a line of :data:`FILES`.

Choices of ``compare.arms``, checks of settings, colours, duels and the contract tests follow from the entry. Nothing here
imports torch: the command line's help lists these names.
"""

from pipeline.arms.arm import BEFORE, FIRST, Arm, Setup, unmet
from pipeline.names import registered

FILES = (
    "backprop",
    "penalties",
    "growth",
    "instructed",
    "he_l2",
    "signals",
)
ARMS: dict[str, Arm] = {arm.name: arm for family in registered(FILES, __name__, "ARMS").values() for arm in family}
"""by name"""
ENN_COLOUR = "#8C6BB1"
"""what is the ENN's own and no arm's, in figures and in MLflow"""
NAMES = {"backprop": "conventional"}
"""arms that the literature calls otherwise than the settings do"""

__all__ = ["ARMS", "BEFORE", "ENN_COLOUR", "FILES", "FIRST", "NAMES", "Arm", "Setup", "unmet"]
