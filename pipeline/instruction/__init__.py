"""Rules: how a target's update is made, of a signal (what goes backwards) and terms (penalties, controls, the ENN's
instruction)."""

from pipeline.instruction.instructor import Instructor
from pipeline.instruction.reading import instruction_scale, instructions
from pipeline.instruction.rule import Batch, Rule
from pipeline.instruction.terms import L1, L2, Growth, Instruct, RandomPush
from pipeline.instruction.update import Backprop, Term, Update

__all__ = [
    "L1",
    "L2",
    "Backprop",
    "Batch",
    "Growth",
    "Instruct",
    "Instructor",
    "RandomPush",
    "Rule",
    "Term",
    "Update",
    "instruction_scale",
    "instructions",
]
