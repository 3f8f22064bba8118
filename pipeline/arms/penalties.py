"""Penalties on the size of weights, their strengths chosen on validation data."""

from pipeline.arms.arm import Arm

L1 = Arm(
    name="l1",
    says="an L1 penalty",
    rule=lambda setup: setup.rules.L1(setup.strengths),
    strengths="l1",
    colour="#999999",
    dash=(0, (5, 1)),
)
L2 = Arm(
    name="l2",
    says="an L2 penalty",
    rule=lambda setup: setup.rules.L2(setup.strengths),
    strengths="l2",
    colour="#CC79A7",
    dash=(0, (1, 1)),
)
ARMS = (L1, L2)
