"""Where ENNs begin and are copied to: fresh ones, the one that learning goes on from, and copies to be used."""

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch

from pipeline.config import Config, ENNConfig
from pipeline.data.dataset import Dataset
from pipeline.enn import Critic, Home
from pipeline.enn.readers import Probes
from pipeline.seeding import numpy_stream, stream
from pipeline.setting import home_of, load_start, target_of


def first_critic(config: Config, dataset: Dataset) -> Critic:
    """The ENN that ``unroll.start`` names, at home in these settings, or a fresh one."""
    if not config.unroll.start:
        return fresh_critic(config, dataset)
    target = target_of(config, dataset)
    critic = load_start(config, target)
    critic.home = dataclasses.replace(home_of(config, target), scale=critic.home.scale)
    return critic


def fresh_critic(config: Config, dataset: Dataset) -> Critic:
    """The ENN of ``config`` with random weights; its probes start at training inputs."""
    (critic,) = fresh_critics(
        config.enn.readers[:1], config.enn, home_of(config, target_of(config, dataset)), **beginning(config, dataset)
    ).values()
    return critic


def beginning(config: Config, dataset: Dataset) -> dict[str, Any]:
    """What fresh ENNs start from, as plain values: the seed of their weights, and training inputs for their probes."""
    chosen = numpy_stream(config.seed, "probes").choice(len(dataset.x_train), config.enn.probes)
    return {"seed": stream(config.seed, "initial ENN"), "probes": np.array(dataset.x_train[chosen])}


def fresh_critics(
    readers: Sequence[str], enn: ENNConfig, home: Home, seed: int, probes: np.ndarray | None
) -> dict[str, Critic]:
    """By reader, ENNs with random weights.

    Args:
        probes: inputs that a reader by probes starts at; None: random ones.
    """
    torch.manual_seed(seed)
    critics = {name: Critic(name, enn, home) for name in readers}
    for critic in critics.values():
        if isinstance(critic.reader, Probes) and probes is not None:
            cast(Probes, critic.reader).start_from(torch.as_tensor(probes))
    return critics


def frozen_copy(critic: Critic) -> Critic:
    """On the CPU, without drawing a random number: exploration must not depend on how many critics there are."""
    return copy.deepcopy(critic).cpu().eval().requires_grad_(False)


def at_home(critic: Critic, config: Config) -> Critic:
    """A copy as real runs are to use it: learned on coarser ones, it has the real ones' steps and learning rate."""
    critic = frozen_copy(critic)
    critic.home = dataclasses.replace(home_of(config, critic.home.target), scale=critic.home.scale)
    return critic
