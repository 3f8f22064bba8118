"""What a target is: a value that says which tensors a network has, and what it computes with them.

A target holds no weights. Its tensors are described by *slots*, and whoever wants the weights, the biases or those of one layer
asks the slots for them, never a place in a list. Tensors come as a list in the order of the slots: one member's, or a
population's, with a leading axis P.

P members, B examples, K classes, N parameters of one member.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

T = TypeVar("T")
Kind = Literal["weight", "bias", "scale"]


@dataclass(frozen=True)
class Slot:
    """One tensor of a target."""

    name: str
    """such as ``layer1.weight``; no two of a target have one name"""
    shape: tuple[int, ...]
    """of one member's tensor; a weight's begins with outputs, inputs"""
    kind: Kind
    """weight: of a linear map; bias: added to its outputs; scale: multiplies them, as a normalisation's does"""
    fan_in: int
    """values that each output of the slot's layer is a sum of; also for its bias"""
    layer: int
    """number of the layer, from 0 at the inputs"""

    @property
    def fan_out(self) -> int:
        """Outputs that each input of a weight's layer is part of."""
        return self.shape[0] * math.prod(self.shape[2:])


@runtime_checkable
class Target(Protocol):
    """A network that is trained. Targets with equal fields are equal, and hash alike."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Its tensors, layer after layer."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Of the slots."""
        return tuple(slot.name for slot in self.slots)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of one member's tensors."""
        return tuple(slot.shape for slot in self.slots)

    @property
    def size(self) -> int:
        """N, the number of parameters of one member."""
        return sum(map(math.prod, self.shapes))

    @property
    def depth(self) -> int:
        """Number of layers."""
        return 1 + max(slot.layer for slot in self.slots)

    @property
    def received(self) -> dict[int, int]:
        """Values of one example that come to each layer above the first, by the layer's number."""
        return {slot.layer: slot.shape[1] for slot in self.slots if slot.kind == "weight" and slot.layer > 0}

    @property
    def classes(self) -> int:
        """K, values of one example at the output."""
        return weights(self.slots, self.slots)[-1].shape[0]

    def module(self, parameters: Sequence[Tensor] | None = None) -> nn.Module:
        """The same network as a plain ``nn.Module``, with a copy of one member's ``parameters`` if given."""
        ...

    def logits(
        self, parameters: Sequence[Tensor], x: Float[Tensor, "B inputs"] | Float[Tensor, "P B inputs"]
    ) -> Float[Tensor, "P B K"]:
        """Logits of every member, differentiable in the parameters, each (P, *shape), and in ``x``."""
        ...


def of_kind(items: Sequence[T], slots: Sequence[Slot], kind: Kind) -> list[T]:
    """Those of ``items``, one per slot, whose slot is of a kind.

    Raises:
        TypeError: not one item per slot.
    """
    return [item for item, slot in _slotted(items, slots) if slot.kind == kind]


def weights(items: Sequence[T], slots: Sequence[Slot]) -> list[T]:
    """Those of ``items``, one per slot, that belong to weights."""
    return of_kind(items, slots, "weight")


def layers(items: Sequence[T], slots: Sequence[Slot]) -> list[tuple[T, T]]:
    """What belongs to the weight and to the bias of each layer, from the inputs on.

    Raises:
        TypeError: not one item per slot, or a layer has not one weight and one bias.
    """
    found: dict[int, dict[str, T]] = {}
    for item, slot in _slotted(items, slots):
        found.setdefault(slot.layer, {})[slot.kind] = item
    if len(items) != 2 * len(found) or any(layer.keys() != {"weight", "bias"} for layer in found.values()):
        raise TypeError(f"a layer of {[slot.name for slot in slots]} has not one weight and one bias")
    return [(found[number]["weight"], found[number]["bias"]) for number in sorted(found)]


def in_order(pairs: Sequence[tuple[T, T]], slots: Sequence[Slot]) -> list[T]:
    """The inverse of :func:`layers`: one item per slot."""
    return [pairs[slot.layer][0 if slot.kind == "weight" else 1] for slot in slots]


def _slotted(items: Sequence[T], slots: Sequence[Slot]) -> Iterator[tuple[T, Slot]]:
    if len(items) != len(slots):
        raise TypeError(f"{len(items)} tensors are not those of {len(slots)} slots, {slots[0].name} to {slots[-1].name}")
    return zip(items, slots, strict=True)


def unflatten(flat: Float[Tensor, "P N"], shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """The tensors, each (P, *shape), of members given as rows: differentiable views."""
    pieces = flat.split([math.prod(shape) for shape in shapes], dim=1)
    return [piece.unflatten(1, shape) for piece, shape in zip(pieces, shapes, strict=True)]
