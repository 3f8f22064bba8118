"""A push in a random direction: a control without an ENN.

Letters: P members.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.instruction.trust_region import trust_radius
from pipeline.instruction.update import Term
from pipeline.seeding import torch_stream
from pipeline.targets import Population
from pipeline.targets.members import norm, per_member


class RandomPush(Term):
    """A control without an ENN: for the first ``steps`` steps, a fixed random direction per tensor, as large as the
    instruction's trust region allows: a step of :func:`trust_radius`, beside the optimiser's step (see
    :class:`pipeline.instruction.Growth`).

    Args:
        seeds: of each member, from which its directions are drawn.
        trust_region: length of a step, as a fraction of a tensor's norm.
        steps: optimiser steps.
    """

    def __init__(self, seeds: Sequence[int], trust_region: float = 0.02, steps: int = 100) -> None:
        self.seeds, self.trust_region, self.steps = seeds, trust_region, steps

    def init(self, population: Population) -> list[Tensor]:
        """The directions, one tensor (P, …) per parameter, each member's of norm 1."""
        directions = []
        for index, parameter in enumerate(population.parameters):
            draws = [
                torch.randn(parameter.shape[1:], generator=torch_stream(seed, "random push", index)) for seed in self.seeds
            ]
            stacked = torch.stack(draws).to(parameter)
            directions.append(stacked / per_member(norm(stacked), stacked))
        return directions

    def move(self, population: Population, state: list[Tensor]) -> None:
        if population.step < self.steps:
            radii = [trust_radius(parameter, self.trust_region) for parameter in population.parameters]
            pushes = [per_member(r, direction) * direction for r, direction in zip(radii, state, strict=True)]
            population.move(pushes, 1.0)
