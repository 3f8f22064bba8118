"""Equations drawn at random, and small changes of one: what a search over equations proposes. All of them type.

An equation is f(u₁(o₁), u₂(o₂)), where an operand may be such an equation again, to a depth. What the source's language lacks
is never proposed, and a unary operator may be none.
"""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from pipeline.learning.expression.binaries import BINARIES, LEFT, PRODUCT
from pipeline.learning.expression.grammar import SIGNAL_SHAPE, Axis, Binary, Leaf, Shape, Tree, Unary, depth, parts
from pipeline.learning.expression.operands import OPERANDS
from pipeline.learning.expression.typing import joined, of_shape, shape_of, turned
from pipeline.learning.expression.unaries import UNARIES

NESTED = 0.3
"""chance that an operand is an equation, where the depth allows it"""
ALL_OPERANDS = [name for name, entry in OPERANDS.items() if not entry.ours]
SHAPES: set[Shape] = {OPERANDS[name].shape for name in ALL_OPERANDS} | {turned(OPERANDS[name].shape) for name in ALL_OPERANDS}
"""that an operand or its transpose has"""
AXES: tuple[Axis, ...] = ("n", "m", "K", "B")
Decorated = tuple[str, float | None]
"""a unary operator and its constant; an empty name is none"""
ALL_UNARIES: list[Decorated] = [("", None)] + [
    (name, value) for name, entry in UNARIES.items() for value in entry.values or (None,)
]
TURNING = {name for name, entry in UNARIES.items() if entry.transposes}


def equation(draws: Random, deepest: int) -> Tree:
    """A random equation that is a signal."""
    return _equation(draws, SIGNAL_SHAPE, deepest)


def mutated(tree: Tree, draws: Random, deepest: int) -> tuple[Tree, str]:
    """An equation that differs from one in an operand, a unary operator or the binary one, or in an operand that has become an
    equation; and which of them."""
    while True:
        how = draws.choice(("operand", "unary", "binary", "subtree"))
        path = draws.choice([path for path, part in _paths(tree) if _may(how, path, part, tree)] or [None])
        if path is None:
            continue
        room = deepest - sum(isinstance(_at(tree, path[:length]), Binary) for length in range(len(path)))
        if how == "subtree" and room < 1:
            continue
        new = _replaced(tree, path, _changed(_at(tree, path), how, draws, room))
        if new != tree and depth(new) <= deepest:
            return new, how


# -- drawing ---------------------------------------------------------------------------------------------------------------


def _equation(draws: Random, shape: Shape, deepest: int) -> Tree:
    """f(u₁(o₁), u₂(o₂)) of a shape that an operand has."""
    while True:
        name = draws.choice(list(BINARIES))
        if name == PRODUCT:
            between: list[Axis] = [axis for axis in AXES if (shape[0], axis) in SHAPES and (axis, shape[1]) in SHAPES]
            if not between:
                continue
            axis: Axis = draws.choice(between)
            sides: tuple[Shape, Shape] = ((shape[0], axis), (axis, shape[1]))
        else:
            sides = shape, draws.choice(sorted(SHAPES)) if name == LEFT else shape
        return Binary(name, *(_side(draws, own, deepest - 1) for own in sides))


def _side(draws: Random, shape: Shape, deepest: int) -> Tree:
    """u(o) of a shape."""
    name, value = draws.choice(_unaries(shape))
    inner = turned(shape) if name in TURNING else shape
    return _under(name, value, _operand(draws, inner, deepest))


def _unaries(shape: Shape) -> list[Decorated]:
    """Those under which an operand has the shape: where none has, its transpose has to."""
    plain = of_shape(shape)
    return [own for own in ALL_UNARIES if (of_shape(turned(shape)) if own[0] in TURNING else plain)]


def _operand(draws: Random, shape: Shape, deepest: int) -> Tree:
    if deepest > 0 and draws.random() < NESTED:
        return _equation(draws, shape, deepest)
    return Leaf(draws.choice(of_shape(shape)))


def _under(name: str, value: float | None, operand: Tree) -> Tree:
    return Unary(name, operand, value) if name else operand


# -- changing --------------------------------------------------------------------------------------------------------------

Path = tuple[int, ...]
"""from the top, which part is gone into"""


def _paths(tree: Tree, path: Path = ()) -> Iterator[tuple[Path, Tree]]:
    yield path, tree
    for number, part in enumerate(parts(tree)):
        yield from _paths(part, (*path, number))


def _may(how: str, path: Path, part: Tree, tree: Tree) -> bool:
    """Whether a part can be changed so: a binary operator, or what stands on a side of one."""
    if how == "binary":
        return isinstance(part, Binary)
    return isinstance(_at(tree, path[:-1]), Binary) if path else not isinstance(part, Binary)


def _changed(part: Tree, how: str, draws: Random, deepest: int) -> Tree:
    """The part with something else in it; of the same shape."""
    if how == "binary":
        assert isinstance(part, Binary)
        one, other = shape_of(part.left), shape_of(part.right)
        return replace(part, name=draws.choice([name for name in BINARIES if joined(name, one, other) == shape_of(part)]))
    name, value, inner = (part.name, part.value, part.of) if isinstance(part, Unary) else ("", None, part)
    if how == "unary":
        turns = name in TURNING
        return _under(*draws.choice([own for own in ALL_UNARIES if (own[0] in TURNING) == turns]), inner)
    if how == "subtree":
        return _under(name, value, _equation(draws, shape_of(inner), deepest))
    return _under(name, value, Leaf(draws.choice(of_shape(shape_of(inner)))))


def _at(tree: Tree, path: Path) -> Tree:
    for step in path:
        tree = parts(tree)[step]
    return tree


def _replaced(tree: Tree, path: Path, new: Tree) -> Tree:
    if not path:
        return new
    below = _replaced(parts(tree)[path[0]], path[1:], new)
    if isinstance(tree, Binary):
        return replace(tree, left=below) if path[0] == 0 else replace(tree, right=below)
    assert isinstance(tree, Unary)
    return replace(tree, of=below)
