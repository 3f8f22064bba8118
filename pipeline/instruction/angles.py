"""The angle between what a learning rule gives and the gradient of the loss: how far it is from backpropagation, by layer.

    ∠_i = arccos ⟨r_i, g_i⟩ / (‖r_i‖ ‖g_i‖)

r_i is what the rule makes of layer i's weight and bias and g_i their gradient, at the same weights on the same batch
(Lillicrap, Cownden, Tweed & Akerman, 2016, draw it over training). 0° is backpropagation, 90° what random vectors of many
numbers have; below 90° a small step still lowers the loss. Written as 2 atan2(‖r̂ − ĝ‖, ‖r̂ + ĝ‖) of the unit vectors, since
arccos loses half of the digits near 0°.

Letters: P members, L layers.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.learning import Bound
from pipeline.targets import Population, Slot


@torch.no_grad()
def angles(population: Population, x: Tensor, y: Tensor, signal: Bound) -> Float[Tensor, "P L"]:
    """In degrees; NaN where a layer gets nothing (it is frozen), or no number. What the rule remembers stays as it was.

    Args:
        x, y: a batch, as :meth:`Population.grads` takes it.
    """
    gradient = _by_layer(population.grads(x, y), population.target.slots)
    before = signal.state_dict()
    given = _by_layer(population.grads(x, y, signal), population.target.slots)
    signal.load_state_dict(before)
    return torch.stack([between(one, other) for one, other in zip(given, gradient, strict=True)], dim=1)


def between(one: Float[Tensor, "P N"], other: Float[Tensor, "P N"]) -> Float[Tensor, " P"]:
    """The angle of two vectors of each member, in degrees; NaN where one of them is 0 or not finite."""
    first, second = (vector / vector.norm(dim=1, keepdim=True) for vector in (one, other))
    return torch.atan2((first - second).norm(dim=1), (first + second).norm(dim=1)) * (360 / math.pi)


def _by_layer(gradients: Sequence[Tensor], slots: Sequence[Slot]) -> list[Float[Tensor, "P N"]]:
    """Copies in float64, one row per member, of all tensors of a layer."""
    found: dict[int, list[Tensor]] = {}
    for gradient, slot in zip(gradients, slots, strict=True):
        found.setdefault(slot.layer, []).append(gradient.flatten(1).double())
    return [torch.cat(found[layer], dim=1) for layer in sorted(found)]
