"""What a learning rule may see of a module of any layers: less than of a population (:class:`pipeline.targets.Context`).

Between a layer and the next lies what autograd knows best: activations, normalisations, pooling, shortcuts. A rule that serves
``layers`` says what a layer sends to its inputs, and autograd takes it from there to the layers below. So the contexts that it
sees are of what lies *between* layers: their z and their h are what the layer above received, ``through`` does nothing, as
autograd goes through σ and all else, and the signal has the shape of what was received, such as (B, C, H, W).

Letters: P = 1 members, B examples, K values of one example at the output.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.learning.modules.maps import Linear, channels_of, outer, pull
from pipeline.targets import Context


@dataclass(eq=False)
class Loose(Context):
    """A context whose tensors have the shapes of the module."""

    weight: Tensor
    received: Tensor
    z: Tensor
    h: Tensor
    error: Tensor
    labels: Tensor
    signal: Tensor | None = None


@dataclass(eq=False)
class Above(Loose):
    """A layer that pulls; its ``weight`` is (1, out, in, …), its ``signal`` what came back to its outputs."""

    map: Linear | None = None
    """None: a position, which pulls nothing"""
    columns: bool = False
    """whether what it pulls is (1, channels, B)"""

    def pull(self, delta: Tensor, weights: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        if self.map is None:
            return delta.clone()
        found = pull(self.map, (self.weight if weights is None else weights)[0], delta, self.received)
        return by_channel(found, channels_of(self.map)).to(self.weight.dtype) if self.columns else found

    def outer(self, delta: Tensor, h: Tensor) -> Tensor:
        assert self.map is not None
        return outer(self.map, delta, h).contiguous()[None]


@dataclass(eq=False)
class Between(Loose):
    """What lies between layers, at the inputs of the one above."""

    place: str = ""
    """name of the layer above"""
    last: "Callable[[], Output] | None" = None

    @property
    def output(self) -> Context:
        assert self.last is not None
        return self.last()

    def through(self, delta: Tensor, out: Tensor | None = None) -> Tensor:
        """δ in the shape of what the layer above received.

        Raises:
            UserError: a batch at first had examples of another size there.
        """
        if delta.shape == self.h.shape:
            return delta
        if delta[0].numel() != self.h.numel():
            raise UserError(
                f"layer {self.place!r} receives {self.h[0].numel()} values of each example and received {delta.shape[1]} at "
                "first, for which its feedback was made; give inputs of one size, or restore the model and begin again."
            )
        return delta[0].t().reshape(self.h.shape)


@dataclass(eq=False)
class Output(Loose):
    """The layer at the output; δ are (1, K, B), whatever the layer is."""

    def pull(self, delta: Tensor, weights: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        assert weights is not None
        return (delta[0].t() @ weights[0].to(delta)).t()[None]


def columns(batch: Tensor) -> Tensor:
    """(B, …) as (1, n, B), examples last."""
    return batch.flatten(1).t()[None]


def by_channel(batch: Tensor, axis: int) -> Tensor:
    """(B, channels, …) as (1, channels, B · …), each pixel an example.

    Args:
        axis: where the channels are.
    """
    return batch.movedim(axis, 0).flatten(1)[None]


def by_example(columns: Tensor, like: Tensor, axis: int) -> Tensor:
    """The inverse of :func:`by_channel`."""
    return columns[0].reshape(like.movedim(axis, 0).shape).movedim(0, axis)


NOTHING = torch.empty(0)
"""in the place of what a rule that serves any layers does not read"""
