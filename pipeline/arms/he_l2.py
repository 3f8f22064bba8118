"""L2 from He: what is usually trained, and therefore the baseline that an ENN has to beat from He."""

from pipeline.arms.arm import Arm

HE_L2 = Arm(
    name="he-l2",
    says="an L2 penalty, from He",
    rule=lambda setup: setup.rules.L2(setup.strengths),
    start="he",
    strengths="l2",
    duels=("he",),
    colour="#882255",
    dash=(0, (1, 1)),
)
ARMS = (HE_L2,)
