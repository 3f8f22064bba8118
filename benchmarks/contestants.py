"""The usual ways of training P small networks, which populations are measured against, and what is trained.

:mod:`benchmarks.throughput` and :mod:`benchmarks.gpu` share them. Needs torch, numpy and jaxtyping alone.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.config import PRESETS, Config
from pipeline.enn import Critic, Home
from pipeline.targets import MLP

LEARNING_RATE = 0.01

Run = Callable[[int], Any]
"""takes that many training steps of all targets; or returns how many it took, where it can only take whole periods"""
Draw = Callable[[int], tuple[Tensor, Tensor]]
"""the batches of a step: (P, B, inputs) and (P, B)"""


@dataclass(frozen=True)
class Setting:
    """What is trained."""

    name: str
    widths: tuple[int, ...]
    batch_size: int
    preset: str

    @property
    def target(self) -> MLP:
        return MLP(self.widths)

    @property
    def config(self) -> Config:
        return PRESETS[self.preset]

    @property
    def flop(self) -> int:
        """Floating point operations in the matrix products of one target-step: forward, weights' gradients, signals back."""
        sizes = [inputs * outputs for inputs, outputs in itertools.pairwise(self.widths)]
        return 2 * self.batch_size * (2 * sum(sizes) + sum(sizes[1:]))


SETTINGS = (Setting("digits", (64, 32, 10), 32, "digits"), Setting("mnist", (784, 100, 10), 100, "paper-shallow"))


def loop(target: MLP, parameters: Sequence[Tensor], draw: Draw) -> Run:
    """One nn.Module and one torch.optim.SGD per member, one after the other."""
    modules = [target.module([tensor[member] for tensor in parameters]) for member in range(len(parameters[0]))]
    optimisers = [torch.optim.SGD(module.parameters(), lr=LEARNING_RATE) for module in modules]

    def run(steps: int) -> None:
        for step in range(steps):
            x, y = draw(step)
            for member, (module, optimiser) in enumerate(zip(modules, optimisers, strict=True)):
                optimiser.zero_grad()
                F.cross_entropy(module(x[member]), y[member]).backward()
                optimiser.step()

    return run


def stacked(target: MLP, parameters: Sequence[Tensor], draw: Draw, compiler: str | None = None) -> Run:
    """torch.func.vmap of torch.func.grad over stacked modules, and a functional step; compiled by ``compiler``, if given."""
    module = target.module().to(parameters[0].device)
    by_name = dict(zip([name for name, _ in module.named_parameters()], parameters, strict=True))

    def loss(member: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(module, member, (x,)), y)

    def step(by_name: dict[str, Tensor], x: Tensor, y: Tensor) -> dict[str, Tensor]:
        update = torch.func.vmap(torch.func.grad(loss))(by_name, x, y)
        return {name: tensor - LEARNING_RATE * update[name] for name, tensor in by_name.items()}

    if compiler is not None:
        torch.compiler.reset()  # else the eighth P would not be compiled any more
        step = torch.compile(step, backend=compiler, dynamic=False)

    def run(steps: int) -> None:
        nonlocal by_name
        for number in range(steps):
            by_name = step(by_name, *draw(number))

    return run


def new_critic(setting: Setting, reader: str, device: str) -> Critic:
    """An untrained ENN as the preset describes it: reading costs the same as for a trained one."""
    config = setting.config
    home = Home(
        target=setting.target,
        steps=config.training.steps,
        period=config.rl.period,
        learning_rate=LEARNING_RATE,
        ladder=config.instruction.ladder,
        refresh=config.instruction.refresh,
        trust_region=config.instruction.trust_region,
    )
    torch.manual_seed(0)
    return Critic(reader, config.enn, home).to(device).requires_grad_(False)
