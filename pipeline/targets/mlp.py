"""Multilayer perceptrons: the networks that are trained and instructed.

P members, B examples, K classes.
"""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.targets.activations import ACTIVATIONS, Activation
from pipeline.targets.forward import affine_differentiable, examples_last, propagate
from pipeline.targets.target import Slot, Target, layers


@dataclass(frozen=True)
class MLP(Target):
    """Linear layers with one activation between them, and none after the last: its outputs are logits.

    Raises:
        UserError: fewer than two widths, a width below 1, or an activation that is not in ``ACTIVATIONS``.
    """

    widths: tuple[int, ...]
    """inputs, hidden…, classes"""
    activation: str = "relu"
    """a name of ``ACTIVATIONS``"""

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise UserError(f"the target's widths are {self.widths}; give inputs, hidden widths and classes, each at least 1.")
        if self.activation not in ACTIVATIONS:
            raise UserError(f"unknown activation {self.activation!r}; choose from {', '.join(ACTIVATIONS)}.")

    @classmethod
    def of_shapes(cls, shapes: Sequence[tuple[int, ...]], activation: str = "relu") -> "MLP":
        """The MLP whose tensors have these shapes.

        Raises:
            UserError: there is none.
        """
        return _of_shapes(tuple(map(tuple, shapes)), activation)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """``layer1.weight`` (out, in), ``layer1.bias`` (out,), ``layer2.weight``, …"""
        return _slots(self.widths)

    @property
    def nonlinearity(self) -> Activation:
        """σ."""
        return ACTIVATIONS[self.activation]

    def module(self, parameters: Sequence[Tensor] | None = None) -> nn.Sequential:
        """The same network as a plain ``nn.Sequential``, with a copy of one member's ``parameters`` if given."""
        modules: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(self.widths):
            modules += [nn.Linear(inputs, outputs), self.nonlinearity.module()]
        network = nn.Sequential(*modules[:-1])
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
        logits = propagate(
            layers(parameters, self.slots),
            examples_last(x),
            lambda _, layer, h: affine_differentiable(*layer, h),
            lambda _, z: self.nonlinearity.function(z),
        )
        return logits.transpose(1, 2)


@functools.lru_cache(maxsize=256)
def _of_shapes(shapes: tuple[tuple[int, ...], ...], activation: str) -> MLP:
    found = MLP((shapes[0][-1], *(shape[0] for shape in shapes if len(shape) == 1)), activation) if shapes else None
    if found is None or found.shapes != shapes:  # so that nothing hangs on the guess above
        raise UserError(f"tensors of shapes {list(shapes)} are those of no chain of linear layers.")
    return found


@functools.lru_cache(maxsize=256)
def _slots(widths: tuple[int, ...]) -> tuple[Slot, ...]:
    found: list[Slot] = []
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        name = f"layer{layer + 1}"
        found += [
            Slot(f"{name}.weight", (outputs, inputs), "weight", inputs, layer),
            Slot(f"{name}.bias", (outputs,), "bias", inputs, layer),
        ]
    return tuple(found)
