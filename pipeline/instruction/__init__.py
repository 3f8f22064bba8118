"""Rules: how a target's update is made. Conventional backpropagation, penalties, controls, and the ENN's instruction."""

from pipeline.instruction.instructor import Instruct, Instructor, instruction_scale, instructions
from pipeline.instruction.rules import L1, L2, Backprop, Batch, Growth, RandomPush, Rule

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
    "instruction_scale",
    "instructions",
]
