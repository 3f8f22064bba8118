"""Backpropagation alone: what every other arm is measured by."""

from pipeline.arms.arm import Arm, Setup


def backprop(setup: Setup) -> object:
    """Nothing is added."""
    return setup.rules.Backprop()


CONVENTIONAL = Arm(
    name="conventional", says="backpropagation, from the configured start", rule=backprop, explained=True, colour="#000000"
)
HE = Arm(name="he", says="backpropagation, from He", rule=backprop, start="he", colour="#56B4E9", dash=(0, (3, 1, 1, 1)))
CONVENTIONAL_ALL = Arm(
    name="conventional-all",
    says="backpropagation, on training and validation data",
    rule=backprop,
    everything=True,
    colour="#555555",
)
HE_ALL = Arm(
    name="he-all",
    says="backpropagation, from He, on training and validation data",
    rule=backprop,
    start="he",
    everything=True,
    colour="#88CCEE",
)
ARMS = (CONVENTIONAL, HE, CONVENTIONAL_ALL, HE_ALL)
