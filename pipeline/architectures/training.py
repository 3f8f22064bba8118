"""Targets of a configuration, several seeds of each, on their way: multilayer perceptrons as a population, convolutional
networks one after the other. Both see the same examples in the same order for the same seeds.
"""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pipeline.config import Config
from pipeline.config.training import TrainingConfig
from pipeline.data.dataset import Dataset
from pipeline.instruction import Backprop
from pipeline.instruction.loop import advance
from pipeline.setting import convnet_of, new_population, target_of
from pipeline.targets import Batches, Evaluation
from pipeline.targets.schedules import SCHEDULES


@runtime_checkable
class Targets(Protocol):
    """P networks of one kind, and their training."""

    def advance(self, steps: int) -> None:
        """So many optimiser steps more of each."""

    def evaluate(self, x: Float[Tensor, "n inputs"], y: Int[Tensor, " n"]) -> Evaluation:
        """How well each does."""
        ...


def targets_of(config: Config, dataset: Dataset, seeds: Sequence[int], device: str = "cpu") -> Targets:
    """The targets of a configuration, at their start.

    Raises:
        UserError: they are convolutional networks, and the inputs are no images.
    """
    return (ConvNets if config.architecture.channels else Perceptrons)(config, dataset, seeds, device)


class Perceptrons:
    """A population."""

    def __init__(self, config: Config, dataset: Dataset, seeds: Sequence[int], device: str = "cpu") -> None:
        x, y = dataset.tensors("train", device)
        self.population = new_population(config, target_of(config, dataset), seeds, x)
        batch = min(config.training.batch_size, len(x))
        self._batches = Batches(x, y, batch, seeds, config.training.shared_order)

    def advance(self, steps: int) -> None:
        advance(self.population, Backprop(), None, self._batches, steps)

    def evaluate(self, x: Float[Tensor, "n inputs"], y: Int[Tensor, " n"]) -> Evaluation:
        return self.population.evaluate(x, y)


class ConvNets:
    """Modules, each with its own optimiser. One whose loss is not finite is trained no further, and has failed.

    Args:
        seeds: of weights and of the order of examples.
    """

    def __init__(self, config: Config, dataset: Dataset, seeds: Sequence[int], device: str = "cpu") -> None:
        shape, (x, y) = dataset.image_shape, dataset.tensors("train", device)
        self.networks = [convnet_of(config, shape, dataset.classes, seed).to(device) for seed in seeds]
        self._shape, self._training, self._steps = shape, config.training, [0] * len(seeds)
        self._optimisers = [_optimiser(network, config.training) for network in self.networks]
        orders = seeds if not config.training.shared_order else [seeds[0]] * len(seeds)
        self._batches = [Batches(x, y, config.training.batch_size, [seed], True) for seed in orders]
        self._failed = [False] * len(seeds)

    def advance(self, steps: int) -> None:
        for number in range(len(self.networks)):
            for _ in range(steps):
                if not self._failed[number]:
                    self._step(number)

    def _step(self, number: int) -> None:
        network, optimiser, step = self.networks[number].train(), self._optimisers[number], self._steps[number]
        x, y = self._batches[number](step)
        loss = cross_entropy(network(x.view(-1, *self._shape)), y)
        if not math.isfinite(loss.item()):
            self._failed[number] = True
            return
        optimiser.zero_grad()
        loss.backward()
        if self._training.schedule != "constant":
            factor = SCHEDULES[self._training.schedule](min(1.0, step / self._training.steps))
            for group in optimiser.param_groups:
                group["lr"] = self._training.learning_rate * factor
        optimiser.step()
        self._steps[number] += 1

    @torch.no_grad()
    def evaluate(self, x: Float[Tensor, "n inputs"], y: Int[Tensor, " n"]) -> Evaluation:
        images, found = x.view(-1, *self._shape), []
        for network, failed in zip(self.networks, self._failed, strict=True):
            scores = torch.cat([network.eval()(part) for part in images.split(2048)])
            loss = cross_entropy(scores, y)
            failed = failed or not bool(loss.isfinite())
            found.append((math.inf, 0.0) if failed else (loss.item(), (scores.argmax(1) == y).double().mean().item()))
        losses, accuracies = torch.tensor(found, dtype=x.dtype).T
        return Evaluation(losses, accuracies)


def _optimiser(network: nn.Module, own: TrainingConfig) -> torch.optim.Optimizer:
    decay, parameters = own.weight_decay, network.parameters()
    if own.optimiser == "sgd":
        return torch.optim.SGD(parameters, own.learning_rate, own.momentum, weight_decay=decay)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[own.optimiser]
    return kind(parameters, own.learning_rate, weight_decay=decay)
