"""What a configuration makes of a data set: the target, populations of it, and who sees which validation examples."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from pipeline.arms import ARMS, FIRST
from pipeline.config import Config, RecordedConfig, rule_settings
from pipeline.data.dataset import Dataset
from pipeline.enn import Critic, Home, load_critic
from pipeline.errors import UserError
from pipeline.learning import SignalRule, named
from pipeline.targets import MLP, Population, initialise
from pipeline.targets.convnet import SmallConvNet

SMALLEST = 4
"""pixels of a side that images are not halved below"""
LSUV_EXAMPLES = 1024
"""training inputs that a data-dependent initialisation may look at"""


def target_of(config: Config, dataset: Dataset) -> MLP:
    """The target that a configuration trains on a data set."""
    return MLP((dataset.features, *config.target.hidden, dataset.classes), config.target.activation)


def convnet_of(config: Config, shape: tuple[int, ...], classes: int, seed: int) -> SmallConvNet:
    """The convolutional network of ``architecture.channels``. It halves images while :data:`SMALLEST` pixels of a side remain,
    and never after its last convolution, so that batch normalisation sees several pixels of every channel.

    Args:
        shape: of an input.

    Raises:
        UserError: inputs are no images.
    """
    if len(shape) != 3:
        raise UserError(f"convolutional networks take images, and the inputs have shape {tuple(shape)}; give other data.")
    own, halvings = config.architecture, int(math.log2(max(1, min(shape[1:]) // SMALLEST)))
    return SmallConvNet(
        classes,
        shape[0],
        seed,
        own.channels,
        own.kernel,
        own.normalisation == "batch",
        own.shortcut,
        config.target.activation,
        min(halvings, len(own.channels) - 1),
    )


def signal_of(config: Config, name: str = "", **others: Any) -> SignalRule:
    """A learning rule with its settings.

    Args:
        name: of the rule (default: ``rule.name``).
        others: settings that no configuration has, such as how a rule's own matrices learn.
    """
    name = name or config.rule.name
    return named(name, **rule_settings(config.rule, name), **others)


def home_of(config: Config, target: MLP) -> Home:
    """Where an ENN of this configuration learns."""
    return Home(
        target=target,
        steps=config.training.steps,
        period=config.rl.period,
        learning_rate=config.training.learning_rate,
        ladder=config.instruction.ladder,
        refresh=config.instruction.refresh,
        trust_region=config.instruction.trust_region,
        decoupled=config.instruction.decoupled,
        schedule=config.training.schedule,
    )


def load_start(config: Config, target: MLP) -> Critic:
    """The ENN that ``unroll.start`` names.

    Raises:
        UserError: it is not there, is damaged, is not what ``enn`` says, or cannot read the target as configured.
    """
    critic = load_critic(config.unroll.start)
    if critic.reader_name != config.enn.readers[0]:
        raise UserError(
            f"the ENN {config.unroll.start} reads by {critic.reader_name} and enn.readers has {config.enn.readers[0]}; "
            "make them alike."
        )
    for name in ("hidden", *critic.reader.settings):
        own, asked = getattr(critic.config, name), getattr(config.enn, name)
        if own != asked:
            raise UserError(
                f"the ENN {config.unroll.start} was made with enn.{name} {own} and enn.{name} is {asked}; make them alike."
            )
    critic.reader.check(target)
    return critic


ADAPTING = 600
"""segments over which an ENN goes on learning under other targets or data, unless told otherwise

150 are too few to help targets that start from He on Fashion-MNIST.
"""


def adapting(config: Config, name: str) -> Config:
    """The settings with which the ENN ``name`` (a file, or one of the package) keeps learning from the runs that it instructs.

    No RL; the reader, the refresh, the trust region and the strength are the ENN's own.

    Raises:
        UserError: the ENN is not there or is damaged.
    """
    critic, coarse = load_critic(name), config.enn.coarsening
    home, unroll = critic.home, config.unroll
    refresh = home.refresh * coarse
    longest = max(1, min(unroll.steps, config.training.steps // coarse) // home.refresh)
    return replace(
        config,
        enn=replace(critic.config, readers=(critic.reader_name,), coarsening=coarse),
        rl=replace(config.rl, rounds=0),
        recorded=RecordedConfig(),
        instruction=replace(
            config.instruction, refresh=refresh, trust_region=home.trust_region / coarse, decoupled=home.decoupled
        ),
        unroll=replace(
            unroll, start=name, segments=ADAPTING, steps=longest * home.refresh, strength=home.scale or unroll.strength
        ),
        compare=replace(
            config.compare,
            arms=tuple(arm for arm in config.compare.arms if ARMS[arm].enn in ("", FIRST)),
        ),
    )


def new_population(
    config: Config,
    target: MLP,
    seeds: Sequence[int],
    x: Tensor,
    initialisation: str | None = None,
    learning_rate: float | Tensor | None = None,
) -> Population:
    """One member per seed, on the device of ``x`` (training inputs).

    Args:
        initialisation: in place of the configured one.
        learning_rate: in place of the configured one; one for all members, or each member's (P,).
    """
    training = config.training
    scheme = initialisation or config.target.initialisation
    start = initialise(target, scheme, seeds, config.target.sigma, x[:LSUV_EXAMPLES], device=str(x.device))
    return Population(
        target,
        start,
        training.optimiser,
        training.learning_rate if learning_rate is None else learning_rate,
        training.momentum,
        training.weight_decay,
        training.schedule,
        training.steps,
        seeds,
    )


def reward_data(config: Config, dataset: Dataset, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """The validation examples that the reward is measured on: the first ones, at most two thirds of them."""
    return dataset.tensors("validation", device, limit=_rewarded(config, dataset))


def selection_data(config: Config, dataset: Dataset, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """The validation examples that strengths are chosen on and curves are drawn from.

    None of them is in the reward: an ENN carries what it learned of the reward's examples into the targets, and a choice
    made on those would flatter it.
    """
    x, y = dataset.tensors("validation", device)
    chosen = slice(_rewarded(config, dataset), _rewarded(config, dataset) + config.compare.curve_examples)
    return x[chosen], y[chosen]


def _rewarded(config: Config, dataset: Dataset) -> int:
    return max(1, min(config.rl.score_examples, 2 * len(dataset.y_validation) // 3))
