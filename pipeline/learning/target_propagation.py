"""Targets in place of gradients: each layer is told what its h should have been (Bengio, 2014; Lee, Zhang, Fischer & Bengio,
2015).

    t_{L−1} = h_{L−1} − η W_Lᵀ (p − y),        s_i = 2 (h_i − t_i) ∘ σ′(z_i) / B,        s_L = g_L

for every example; s_i is the slope of the batch's mean ‖h_i − t_i‖², t_i constant. Targets further down come through inverses
V_{i+1}, which are learned beside the target:

    V_{i+1}(h) = σ(V_{i+1}ᵀ h + c_{i+1}),    so that    V_{i+1}(h_{i+1}(h_i + ε)) ≈ h_i + ε,    ε ~ N(0, noise²)

by the mean square error over the batch. How a target comes down is what :mod:`pipeline.learning.tp` and
:mod:`pipeline.learning.dtp` differ in.

Ours: targets are per example, without the 1/B of the mean loss (with it they lie a hundred times closer and nothing is
learned); η = ½, with which the last hidden layer's signal is the gradient and an inverse that is the transposed Jacobian
gives backpropagation; inverses begin orthogonal (P, out, in), c at 0, and learn by Adam.

P members, B examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.learning.feedback import pulling
from pipeline.learning.signal import SignalRule
from pipeline.learning.trained import Trained, Training
from pipeline.seeding import torch_stream
from pipeline.targets import Context, Slot, Target


class Inverses(NamedTuple):
    """V and c of each hidden layer above the first."""

    trained: list[Trained | None]
    """by the number of the layer that is inverted"""
    seeds: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Targets(SignalRule):
    """What goes back is where a layer should go. A rule of this kind says how a target comes down."""

    rate: float = 0.5
    """η, along the gradient of an example's loss to the first target"""
    noise: float = 0.1
    """standard deviation, of what inverses learn to undo"""
    inverses: Training = field(default_factory=Training)
    """how the inverses learn"""

    def down(self, above: Context, state: Inverses) -> Float[Tensor, "P width B"]:
        """The target of the layer below ``above``, from ``above.kept``, which is the target there."""
        raise NotImplementedError

    def inverse(self, above: Context, h: Tensor, state: Inverses) -> Float[Tensor, "P width B"]:
        """V(h): what the layer below ``above`` had, judged by h."""
        assert above.below is not None
        return above.below.activate(_undone(above, h, state))

    def init(self, target: Target, seeds: Sequence[int]) -> Inverses:
        found: list[Trained | None] = [None] * target.depth
        for slot in pulling(target)[:-1]:
            weight = torch.stack([_orthogonal(slot, int(seed)) for seed in seeds])
            found[slot.layer] = self.inverses.start([weight, torch.zeros(len(seeds), slot.shape[1])])
        return Inverses(found, tuple(map(int, seeds)))

    def signal(self, context: Context, state: Inverses) -> Float[Tensor, "P out B"]:
        above = context.above
        if above is None:
            return context.error
        if above.above is None:
            context.kept = context.h - self.rate * context.examples * above.pull(above.error)
        else:
            context.kept = self.down(above, state)
        apart = torch.sub(context.h, context.kept, out=context.room).mul_(2 / context.examples)
        return context.through(apart, context.room)

    def learn(self, contexts: Sequence[Context], state: Inverses) -> None:
        """One step of each inverse, on reconstructions of what the layer below had and noise."""
        for layer, trained in zip(contexts, state.trained, strict=True):
            if trained is not None:
                self.inverses.step(trained, self._slopes(layer, trained, state))

    def _slopes(self, layer: Context, trained: Trained, state: Inverses) -> list[Tensor]:
        below = layer.below
        assert below is not None and below.activation is not None
        noise = self._noise(below, int(trained.step), state.seeds)
        h = layer.activate(layer.z + layer.push(noise))
        u = _undone(layer, h, state)
        found = below.activation.function(u)
        error = (found - below.h).sub_(noise).mul_(2 / below.examples)
        slope = torch.empty_like(error)
        below.activation.backward(error, u, found, slope)
        return [layer.outer(h, slope), slope.sum(-1)]

    def _noise(self, context: Context, step: int, seeds: Sequence[int]) -> Tensor:
        streams = [torch_stream(seed, "noise", context.layer, step) for seed in seeds]
        noise = torch.stack([torch.randn(context.h.shape[1:], generator=generator) for generator in streams])
        return noise.to(context.h.device, context.h.dtype).mul_(self.noise)


def _undone(above: Context, h: Tensor, state: Inverses) -> Float[Tensor, "P width B"]:
    """Vᵀ h + c of the layer ``above``."""
    trained = state.trained[above.layer]
    assert trained is not None, f"layer {above.layer} has no inverse"
    weight, bias = trained.parameters
    return above.pull(h, weight).add_(bias.unsqueeze(-1))


def _orthogonal(slot: Slot, seed: int) -> Tensor:
    """Rows or columns, whichever are fewer, orthonormal."""
    generator = torch_stream(seed, "inverse", slot.layer)
    return torch.nn.init.orthogonal_(torch.empty(slot.shape), generator=generator)
