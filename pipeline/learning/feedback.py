"""Feedback: matrices that pull in place of a target's weights, fixed and drawn from each member's seed, or given.

A matrix belongs to the layer that pulls and has the shape of that layer's weight, (P, out, in). Direct feedback has the
classes in the place of ``out``, as if the layer above were the output. So on one hidden layer all kinds of feedback draw the
same matrices from the same seed. Drawn ones are Glorot's, as the weights of such a layer would be: what goes back keeps its
size, and forward and backward weights begin alike.

Letters: P members, K classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.seeding import torch_stream
from pipeline.targets import Slot, Target
from pipeline.targets.initialise import SCHEMES
from pipeline.targets.target import weights

Feedback = list[Tensor | None]
"""by the number of the layer that pulls; None for the first, which pulls nothing"""


def pulling(target: Target) -> list[Slot]:
    """The weights that pull: all but the first layer's."""
    return [slot for slot in weights(target.slots, target.slots) if slot.layer > 0]


def direct(target: Target) -> list[Slot]:
    """Weights (K, width) that would lead each hidden layer straight to the output; the layer is the one above."""
    names = {slot.layer: slot.name for slot in weights(target.slots, target.slots)}
    return [Slot(names[layer], (target.classes, width), "weight", width, layer) for layer, width in target.received.items()]


def draw(slots: Sequence[Slot], seeds: Sequence[int], *names: str | int) -> Feedback:
    """Glorot's uniform matrices, each (P, *shape): a member's come from its seed, the names and the layer alone."""
    glorot = SCHEMES["glorot"].draw
    found: Feedback = [None] * (1 + max((slot.layer for slot in slots), default=0))
    for slot in slots:
        own = [torch_stream(int(seed), "feedback", slot.layer, *names) for seed in seeds]
        found[slot.layer] = torch.stack([glorot(slot, generator, 1.0) for generator in own])
    return found


def feedback(slots: Sequence[Slot], seeds: Sequence[int], given: Sequence[Tensor] | None) -> Feedback:
    """Drawn matrices, or those ``given``, one per slot: each member's own (P, *shape), or one for all.

    Raises:
        UserError: another number of matrices than slots, or one of another shape.
    """
    if given is None:
        return draw(slots, seeds)
    if len(given) != len(slots):
        raise UserError(f"{len(given)} feedback matrices for {len(slots)} layers that have feedback; give one for each.")
    found: Feedback = [None] * (1 + max((slot.layer for slot in slots), default=0))
    for slot, matrix in zip(slots, given, strict=True):
        shape = (len(seeds), *slot.shape)
        if tuple(matrix.shape) not in (shape, slot.shape):
            asked = f"give {shape}, or {slot.shape} for all members"
            raise UserError(f"the feedback of layer {_name(slot)} has shape {tuple(matrix.shape)}; {asked}.")
        found[slot.layer] = matrix.expand(shape).clone()
    return found


def _name(slot: Slot) -> str:
    """The layer, as whoever wrote it calls it: a module's by its name, an MLP's by its number, from 1."""
    name = slot.name.removesuffix(".weight")
    return str(slot.layer + 1) if name == f"layer{slot.layer + 1}" else repr(name)


def matrix(state: Feedback, layer: int) -> Tensor:
    """The matrix of a layer that has one."""
    found = state[layer]
    assert found is not None, f"layer {layer} pulls nothing"
    return found
