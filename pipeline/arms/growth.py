"""Controls without an ENN: weights that only grow, and pushes in a random direction."""

from pipeline.arms.arm import Arm, Setup


def tuned(setup: Setup) -> object:
    """The last layer grows to the candidate's multiple of He's norm."""
    return setup.rules.Growth(last=setup.strengths)


GROWTH = Arm(
    name="growth",
    says="weights grow to He's norm",
    rule=lambda setup: setup.rules.Growth(),
    colour="#E69F00",
    dash=(0, (5, 1)),
)
GROWTH_TUNED = Arm(
    name="growth-tuned",
    says="weights grow, the last layer's to a chosen multiple of He's norm",
    rule=tuned,
    strengths="growth",
    colour="#B37400",
)
GROWTH_TUNED_HE = Arm(
    name="growth-tuned-he", says="as growth-tuned, from He", rule=tuned, start="he", strengths="growth", colour="#7F5200"
)
RANDOM_PUSH = Arm(
    name="random-push",
    says="pushes of the trust region's size in a random direction",
    rule=lambda setup: setup.rules.RandomPush(setup.seeds, setup.config.instruction.trust_region),
    colour="#F0E442",
    dash=(0, (1, 1)),
)
ARMS = (GROWTH, GROWTH_TUNED, GROWTH_TUNED_HE, RANDOM_PUSH)
