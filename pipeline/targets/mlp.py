"""Multilayer perceptrons: the networks that are trained and instructed.

An :class:`MLP` is a value, a shape and an activation, and holds no weights. Weights are ordered lists of tensors: one member's
``[(out, in), (out,), …]``, or a population's, with a leading axis P.

P members, B examples, K classes, N parameters of one member.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.targets.activations import ACTIVATIONS


@dataclass(frozen=True)
class MLP:
    """Linear layers with one activation between them, and none after the last: its outputs are logits.

    Raises:
        UserError: fewer than two widths, a width below 1, or an activation that is not in ``ACTIVATIONS``.
    """

    widths: tuple[int, ...]
    """inputs, hidden…, classes"""
    activation: str = "relu"
    """relu, tanh, sigmoid or gelu (with the exact erf, torch's default)"""

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise UserError(f"the target's widths are {self.widths}; give inputs, hidden widths and classes, each at least 1.")
        if self.activation not in ACTIVATIONS:
            raise UserError(f"unknown activation {self.activation!r}; choose from {', '.join(ACTIVATIONS)}.")

    @property
    def names(self) -> tuple[str, ...]:
        """``("layer1.weight", "layer1.bias", "layer2.weight", …)``"""
        return tuple(f"layer{i}.{kind}" for i in range(1, len(self.widths)) for kind in ("weight", "bias"))

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one member's tensors, in the order of :attr:`names`: (out, in), (out,), …"""
        return tuple(shape for i, o in itertools.pairwise(self.widths) for shape in ((o, i), (o,)))

    @property
    def size(self) -> int:
        """N, the number of parameters of one member."""
        return sum(map(math.prod, self.shapes))

    def module(self, parameters: Sequence[Tensor] | None = None) -> nn.Sequential:
        """The same network as a plain ``nn.Sequential``, with a copy of one member's ``parameters`` if given."""
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(self.widths):
            layers += [nn.Linear(inputs, outputs), ACTIVATIONS[self.activation].module()]
        network = nn.Sequential(*layers[:-1])
        if parameters is not None:
            network = network.to(parameters[0].device, parameters[0].dtype)
            with torch.no_grad():
                for own, given in zip(network.parameters(), parameters, strict=True):
                    own.copy_(given)
        return network

    def logits(
        self, parameters: Sequence[Tensor], x: Float[Tensor, "B inputs"] | Float[Tensor, "P B inputs"]
    ) -> Float[Tensor, "P B K"]:
        """Logits of every member, differentiable in the parameters and in ``x``.

        Args:
            parameters: the target's tensors, each (P, *shape).
            x: examples shared by all members, or each member's own.
        """
        first, bias = parameters[0], parameters[1].unsqueeze(-1)
        if x.dim() == 2:  # one matrix product for all members; activations are (P, width, B) throughout
            h = (first.reshape(-1, first.shape[-1]) @ x.t()).view(*first.shape[:2], -1) + bias
        else:
            h = torch.baddbmm(bias, first, x.transpose(1, 2))
        for weight, bias in zip(parameters[2::2], parameters[3::2], strict=True):
            h = torch.baddbmm(bias.unsqueeze(-1), weight, ACTIVATIONS[self.activation].function(h))
        return h.transpose(1, 2)


def unflatten(flat: Float[Tensor, "P N"], shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """The tensors, each (P, *shape), of members given as rows: differentiable views."""
    pieces = flat.split([math.prod(shape) for shape in shapes], dim=1)
    return [piece.unflatten(1, shape) for piece, shape in zip(pieces, shapes, strict=True)]
