"""What an equation gives on a layer of all members, in memory that is used again.

An equation is made ready once: every part knows its shape, and parts that draw or remember have a number. Two guards hold for
each member alone: what is not finite at the end makes its gradients so, and the population freezes it; and before an operator
that might hide it (1 / ∞ is 0) the member is marked, and ends so all the same.

P members.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pipeline.learning.expression.binaries import BINARIES, LEFT, PRODUCT, BinaryOperator
from pipeline.learning.expression.grammar import Axis, Leaf, Shape, Tree, Unary
from pipeline.learning.expression.operands import OPERANDS, Drawn, Operand
from pipeline.learning.expression.typing import shape_of
from pipeline.learning.expression.unaries import UNARIES, Average, Given, UnaryOperator, averaged
from pipeline.seeding import torch_stream
from pipeline.targets import Context

Sizes = dict[Axis, int]
"""the lengths of the axes in a layer"""


@dataclass(frozen=True)
class Ready:
    """A part of an equation, ready to be evaluated."""

    does: Operand | UnaryOperator | BinaryOperator
    of: "tuple[Ready, ...]"
    shape: Shape
    value: float
    place: int
    """number among the parts that draw or remember, from the top and from the left; -1: it is none"""

    @property
    def finite(self) -> bool:
        """Whether it is an operand that is there already: finite, as long as its member lives."""
        return isinstance(self.does, Operand) and not self.does.computed


def ready(tree: Tree) -> Ready:
    """The equation, without what is never computed."""
    return _ready(tree, [])


def _ready(tree: Tree, placed: list[Tree]) -> Ready:
    if isinstance(tree, Leaf):
        return Ready(OPERANDS[tree.name], (), shape_of(tree), 0.0, -1)
    if isinstance(tree, Unary):
        does, place = UNARIES[tree.name], -1
        if does.random or does.remembers:
            place = len(placed)
            placed.append(tree)
        return Ready(does, (_ready(tree.of, placed),), shape_of(tree), tree.value or 0.0, place)
    if tree.name == LEFT:
        return _ready(tree.left, placed)
    return Ready(BINARIES[tree.name], (_ready(tree.left, placed), _ready(tree.right, placed)), shape_of(tree), 0.0, -1)


def all_parts(part: Ready) -> list[Ready]:
    """The part and all below it."""
    return [part, *(below for own in part.of for below in all_parts(own))]


class Scratch:
    """Memory for what stands between: tensors of a shape, type and device, used again and again."""

    def __init__(self) -> None:
        self._free: dict[tuple[tuple[int, ...], torch.dtype, torch.device], list[Tensor]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()  # a copy begins with none

    def take(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        free = self._free.get((shape, like.dtype, like.device))
        return free.pop() if free else like.new_empty(shape)

    def give(self, tensor: Tensor) -> None:
        if len(self._free) > 32:  # batches of many sizes
            self._free.clear()
        self._free.setdefault((tuple(tensor.shape), tensor.dtype, tensor.device), []).append(tensor)


class Own(NamedTuple):
    """What an equation has drawn and what it remembers; of each layer that has one."""

    drawn: list[Drawn]
    averages: list[dict[int, Average]]
    """by place"""
    step: Tensor
    """steps taken, ()"""
    seeds: tuple[int, ...]
    scratch: Scratch
    """no part of the state: it holds nothing from one step to the next"""


@dataclass
class Evaluation:
    """One layer at one step."""

    context: Context
    own: Own
    step: int
    sizes: Sizes
    poison: Tensor | None = field(default=None)
    """(P, 1, 1), NaN where something was not finite and might be hidden; else 0"""

    def of(self, part: Ready, out: Tensor) -> Tensor:
        """What a part is: in ``out``, or an operand's own tensor, which must not be written to."""
        if isinstance(part.does, Operand):
            return part.does.value(self.context, self.own.drawn[self.context.layer], out)
        if isinstance(part.does, UnaryOperator):
            return self._unary(part, part.does, out)
        return self._product(part, out) if part.does.name == PRODUCT else self._elementwise(part, part.does, out)

    def _unary(self, part: Ready, does: UnaryOperator, out: Tensor) -> Tensor:
        below = part.of[0]
        if does.transposes:
            return self.of(below, out.transpose(1, 2)).transpose(1, 2)
        x = self.of(below, out)
        if does.hides and not below.finite:
            self.check(x)
        rows, columns = part.shape
        average = self.own.averages[self.context.layer].get(part.place)
        draw = self._draw(part.place)
        return does.apply(x, Given(part.value, draw, average, self.step == 0, averaged(rows, columns), self.check), out)

    def _elementwise(self, part: Ready, does: BinaryOperator, out: Tensor) -> Tensor:
        left, right = part.of
        x = self.of(left, out)
        room = None if right.finite else self.take(right.shape)
        y = self.of(right, out if room is None else room)
        if does.hides:
            for side, found in ((left, x), (right, y)):
                if not side.finite:
                    self.check(found)
        found = does.apply(x, y, out)
        if room is not None:
            self.own.scratch.give(room)
        return found

    def _product(self, part: Ready, out: Tensor) -> Tensor:
        rooms = [self.take(below.shape) for below in part.of]
        x, y = (self.of(below, room) for below, room in zip(part.of, rooms, strict=True))
        torch.bmm(x, y, out=out)
        for room in rooms:
            self.own.scratch.give(room)
        return out

    def take(self, shape: Shape) -> Tensor:
        """Memory for a matrix of each member."""
        rows, columns = shape
        return self.own.scratch.take((len(self.context.z), self.sizes[rows], self.sizes[columns]), self.context.z)

    def check(self, x: Tensor) -> None:
        """Mark the members in which something is not finite."""
        found = (x * 0).sum((1, 2), keepdim=True)
        self.poison = found if self.poison is None else self.poison + found

    def _draw(self, place: int) -> Callable[..., Tensor]:
        """Numbers of each member's own stream for this place, layer and step."""

        def draw(how: Callable[[tuple[int, ...], torch.Generator], Tensor], x: Tensor) -> Tensor:
            streams = [torch_stream(seed, "equation", self.context.layer, place, self.step) for seed in self.own.seeds]
            drawn = torch.stack([how(tuple(x.shape[1:]), generator) for generator in streams])
            return drawn.to(x.device, x.dtype)

        return draw


def sizes_of(context: Context) -> Sizes:
    """The lengths of the axes in a layer below another."""
    assert context.above is not None
    members = context.z.shape[1:]
    return {"n": members[0], "B": members[1], "m": context.above.z.shape[1], "K": context.error.shape[1]}


def evaluate(part: Ready, context: Context, own: Own, step: int) -> Tensor:
    """The equation on one layer, written to the layer's room."""
    work = Evaluation(context, own, step, sizes_of(context))
    out = torch.empty_like(context.z) if context.room is None else context.room
    found = work.of(part, out)
    if work.poison is not None:
        return torch.add(found, work.poison, out=out)
    return found if found is out else out.copy_(found)


def averages_of(part: Ready, members: int, sizes: Sizes) -> dict[int, Average]:
    """What the running averages of a layer start as, by place; the first step overwrites it."""
    found = {}
    for own in all_parts(part):
        if isinstance(own.does, UnaryOperator) and own.does.remembers:
            lengths = [0 if axis == "B" else sizes[axis] for axis in own.shape]
            lengths[averaged(*own.shape) - 1] = 1
            found[own.place] = Average(torch.zeros(members, *lengths), torch.zeros(members, *lengths))
    return found


def matrices_of(parts: Sequence[Ready]) -> set[str]:
    """Names of the random matrices that an equation needs."""
    return {own.does.drawn for own in parts if isinstance(own.does, Operand) and own.does.drawn}
