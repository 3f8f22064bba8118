"""Layer-sequential unit variance: Mishkin & Matas 2016, algorithm 1.

Orthonormal weights, each layer scaled so that its outputs before the activation have variance 1 over batch and units.
Algorithm 1 repeats the scaling until the variance is within a tolerance. With zero biases a layer is linear in its weights, so
that one division is exact.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from pipeline.errors import UserError
from pipeline.targets.forward import propagate
from pipeline.targets.initialise.scheme import Scheme
from pipeline.targets.mlp import MLP
from pipeline.targets.target import Slot, layers


def draw(slot: Slot, generator: Generator, sigma: float) -> Tensor:
    """A uniformly distributed matrix with orthonormal rows, or columns where it has more rows than columns."""
    outputs, inputs = slot.shape
    tall = torch.randn(max(outputs, inputs), min(outputs, inputs), generator=generator)
    q, r = torch.linalg.qr(tall)
    q = q * r.diagonal().sign()
    return q if outputs >= inputs else q.t().contiguous()


def fit(target: MLP, tensors: Sequence[Tensor], x: Tensor) -> None:
    def linear(number: int, layer: tuple[Tensor, Tensor], h: Tensor) -> Tensor:
        weight, _ = layer
        z = h @ weight.t()
        deviation = z.std(correction=0)
        if not (deviation > 0 and deviation.isfinite()):
            raise UserError(
                f"LSUV: the outputs of layer {number + 1} do not vary on the batch given; give other or more examples."
            )
        weight /= deviation
        return z / deviation

    propagate(layers(tensors, target.slots), x, linear, lambda _, z: target.nonlinearity.function(z))


SCHEME = Scheme(draw, fit)
