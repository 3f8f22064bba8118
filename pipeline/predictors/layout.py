"""Which axis of what a layer computes counts the examples.

Most layers compute (N, …), but a sequence may come with its positions first (``batch_first=False``), and positions or windows
may have been made one axis with the examples. It is found out by computing fewer examples and looking which axis is shorter;
where that axis holds several rows of each example, by which of them change with an example.

Letters: N examples, C channels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from pipeline.predictors.checks import Unsuited


class Output(NamedTuple):
    """What a layer computes."""

    values: Tensor
    name: str
    """of the layer"""
    channels: int | None
    """its axis of channels; None where it has none"""


@dataclass(frozen=True)
class Layout:
    """Where examples and channels are in an output."""

    channels: int | None = 1
    examples: int = 0
    each: int = 1
    """rows of the axis of examples that belong to one of them"""
    outer: bool = True
    """whether these rows follow each other; else they lie N apart"""

    def ordered(self, values: Tensor) -> Float[Tensor, "N C ..."] | Float[Tensor, "N ..."]:
        """Something of the output's shape, examples first, then channels."""
        axis, channels = self.examples, self.channels
        if self.each > 1:
            count = values.shape[axis] // self.each
            values = values.unflatten(axis, (count, self.each) if self.outer else (self.each, count))
            channels = None if channels is None else channels + (channels > axis)
            axis += not self.outer
        return values.movedim(axis, 0) if channels is None else values.movedim((axis, channels), (0, 1))


Watch = Callable[[Tensor], Sequence[Output]]
"""what a network's layers compute of some examples"""


def layouts(watch: Watch, x: Shaped[Tensor, "N ..."], outputs: Sequence[Output]) -> list[Layout]:
    """Of each output for the examples ``x``.

    Raises:
        Unsuited: it cannot be told which part of an output belongs to which example; the message names the layer.
    """
    few = x[:1] if len(x) > 1 else torch.cat([x, x])
    fewer = watch(few)
    if [own.name for own in fewer] != [own.name for own in outputs]:
        raise Unsuited(
            "the network uses other layers for fewer examples, so that they cannot be told apart; choose another predictor."
        )
    found = [_by_size(one, other, len(x), len(few)) for one, other in zip(outputs, fewer, strict=True)]
    merged = [place for place, own in enumerate(found) if own.each > 1]
    if merged and len(x) > 1:
        changes = _changes(watch, x)
        for place in merged:
            found[place] = _by_change(found[place], outputs[place], changes[place])
    return found


def _by_size(output: Output, fewer: Output, count: int, few: int) -> Layout:
    sizes, others = output.values.shape, fewer.values.shape
    axes = [axis for axis, (one, other) in enumerate(zip(sizes, others, strict=False)) if one != other]
    if len(sizes) != len(others) or len(axes) != 1 or axes[0] == output.channels:
        raise _unknown(output)
    each, rest = divmod(sizes[axes[0]], count)
    if rest or others[axes[0]] != each * few:
        raise _unknown(output)
    return Layout(output.channels, axes[0], each)


def _changes(watch: Watch, x: Tensor) -> list[Tensor]:
    """Of two examples: whether an element of each output changes if the second one is replaced by the first."""
    other = next((number for number in range(1, len(x)) if not torch.equal(x[number], x[0])), 0)
    pairs = zip(watch(x[[0, other]]), watch(x[[0, 0]]), strict=True)
    return [one.values != same.values for one, same in pairs]


def _by_change(layout: Layout, output: Output, changed: Tensor) -> Layout:
    rows = changed.movedim(layout.examples, 0).flatten(1).any(1)
    outer, inner = (not bool(own.any()) for own in (rows[: layout.each], rows[0::2]))
    if outer == inner:
        raise _unknown(output)
    return Layout(layout.channels, layout.examples, layout.each, outer)


def _unknown(output: Output) -> Unsuited:
    return Unsuited(
        f"it cannot be told which part of what {output.name} computes, of shape {tuple(output.values.shape)}, belongs to which "
        "example; compute it with the examples first, or choose another predictor."
    )
