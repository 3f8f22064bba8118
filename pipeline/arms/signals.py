"""Learning rules: something else than the gradient goes backwards (:mod:`pipeline.learning`), at the run's learning rate unless
``compare.rates`` has one chosen for each."""

from collections.abc import Callable

from pipeline.arms.arm import Arm, Setup

SYNTHESISERS = 3e-3
"""learning rate of synthesisers, by Adam: chosen on validation data of MNIST"""


def _arm(name: str, what: str, colour: str, rule: Callable[[Setup], object] | None = None) -> Arm:
    return Arm(
        name=name,
        says=f"{what}, at the run's learning rate",
        rule=rule or (lambda setup: setup.rules.Update(setup.signal(name))),
        signal=name,
        colour=colour,
    )


def products(setup: Setup) -> object:
    """The learned matrices follow the target's own optimiser, as far as one without a schedule can."""
    training = setup.config.training
    own = setup.signals.Training(setup.learning_rate, training.optimiser, training.momentum, training.weight_decay)
    return setup.rules.Update(setup.signal("pfa", backward=own))


def synthetic(name: str) -> Callable[[Setup], object]:
    """Synthesisers learn at a rate of their own, by the target's schedule."""

    def rule(setup: Setup) -> object:
        training = setup.config.training
        own = setup.signals.Training(SYNTHESISERS, schedule=training.schedule, steps=training.steps)
        return setup.rules.Update(setup.signal(name, synthesisers=own))

    return rule


ARMS = (
    _arm("fa", "feedback alignment", "#2F4B7C"),
    _arm("dfa", "direct feedback alignment", "#117733"),
    _arm("ifa", "indirect feedback alignment", "#66C2A5"),
    _arm("usf", "feedback of the weights' signs, all of one size", "#9E0142"),
    _arm("brsf", "feedback of the weights' signs, its sizes drawn at each step", "#F46D43"),
    _arm("frsf", "feedback of the weights' signs, its sizes drawn once", "#CC6677"),
    _arm("frozen", "only the last layer learns", "#BBBBBB"),
    _arm("tp", "target propagation", "#DDCC77"),
    _arm("dtp", "difference target propagation", "#999933"),
    _arm("dni", "synthetic gradients", "#1B9E77", synthetic("dni")),
    _arm("cdni", "synthetic gradients that see the label", "#7570B3", synthetic("cdni")),
    _arm("pblf", "a learned derivative, unless set otherwise the dissertation's of random search for 20 epochs", "#A6761D"),
    Arm(
        name="pfa",
        says="product feedback alignment, at the run's learning rate",
        rule=products,
        signal="pfa",
        colour="#E7298A",
    ),
    _arm("expression", "the equation of rule.equation", "#8C510A"),
)
