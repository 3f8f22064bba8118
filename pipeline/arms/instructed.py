"""Instruction by an ENN: as it ends, as RL left it, or another one on the same experience."""

from pipeline.arms.arm import BEFORE, FIRST, Arm, Setup


def instruct(setup: Setup) -> object:
    """The ENN's gradient is added."""
    return setup.instruct()


INSTRUCTED = Arm(
    name="instructed",
    says="instructed by the ENN, from the configured start",
    rule=instruct,
    strengths="instruction",
    enn=FIRST,
    duels=("growth", "he"),
    explained=True,
    colour="#D55E00",
)
INSTRUCTED_HE = Arm(
    name="instructed-he",
    says="instructed by the ENN, from He",
    rule=instruct,
    start="he",
    strengths="instruction",
    enn=FIRST,
    duels=("he",),
    colour="#0072B2",
)
INSTRUCTED_RL = Arm(
    name="instructed-rl",
    says="instructed by the ENN as RL left it, before fine-tuning",
    rule=instruct,
    strengths="instruction",
    enn=BEFORE,
    colour="#DDAA77",
)
INSTRUCTED_RL_HE = Arm(
    name="instructed-rl-he",
    says="as instructed-rl, from He",
    rule=instruct,
    start="he",
    strengths="instruction",
    enn=BEFORE,
    colour="#6699CC",
)
INSTRUCTED_IMAGE = Arm(
    name="instructed-image",
    says="instructed by the ENN that reads a weight image",
    rule=instruct,
    strengths="instruction",
    enn="convnet",
    duels=("instructed",),
    colour="#009E73",
)
ARMS = (INSTRUCTED, INSTRUCTED_HE, INSTRUCTED_RL, INSTRUCTED_RL_HE, INSTRUCTED_IMAGE)
