"""Terms of an update, one file each: penalties, controls without an ENN, and the ENN's instruction."""

from pipeline.instruction.terms.growth import Growth
from pipeline.instruction.terms.instruct import Instruct, InstructState
from pipeline.instruction.terms.l1 import L1
from pipeline.instruction.terms.l2 import L2
from pipeline.instruction.terms.random_push import RandomPush

__all__ = ["L1", "L2", "Growth", "Instruct", "InstructState", "RandomPush"]
