"""An equation as a value: a tree of operands, of unary and of binary operators, and the types of what they stand for.

Every part of an equation is a matrix of each member. Its type is the pair of the lengths of its axes, of which there are four:
``n``, the width of the layer itself; ``m``, that of the layer above; ``K``, the classes; ``B``, the examples. They are told
apart by what they are and not by their size, so that an equation that types does so in every network. A signal is (n, B).

The papers write batches with one example per row, (B, n); ours are (n, B). All of their matrices are our transposes, so that
what they take over columns is taken over rows here. Transposing everything changes no equation but for that.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Axis = Literal["n", "m", "K", "B"]
Shape = tuple[Axis, Axis]
"""rows and columns of one member's matrix"""
SIGNAL_SHAPE: Shape = ("n", "B")
"""of what an equation has to be"""
AXES: dict[Axis, str] = {"n": "own", "m": "above", "K": "classes", "B": "batch"}
"""as sentences name them"""


@dataclass(frozen=True)
class Leaf:
    """An operand: :mod:`pipeline.learning.expression.operands`."""

    name: str


@dataclass(frozen=True)
class Unary:
    """u(x): :mod:`pipeline.learning.expression.unaries`."""

    name: str
    of: "Tree"
    value: float | None = None
    """the constant of an operator that has one"""


@dataclass(frozen=True)
class Binary:
    """f(x, y): :mod:`pipeline.learning.expression.binaries`."""

    name: str
    left: "Tree"
    right: "Tree"


Tree = Leaf | Unary | Binary


def parts(tree: Tree) -> tuple[Tree, ...]:
    """What stands directly below."""
    if isinstance(tree, Unary):
        return (tree.of,)
    return (tree.left, tree.right) if isinstance(tree, Binary) else ()


def walk(tree: Tree) -> Iterator[Tree]:
    """The tree and all below it, from the top and from the left."""
    yield tree
    for part in parts(tree):
        yield from walk(part)


def depth(tree: Tree) -> int:
    """Binary operators in one another."""
    return isinstance(tree, Binary) + max(map(depth, parts(tree)), default=0)


def size(tree: Tree) -> int:
    """Operators and operands."""
    return sum(1 for _ in walk(tree))


def said(shape: Shape) -> str:
    """A shape in words."""
    return f"{AXES[shape[0]]} × {AXES[shape[1]]}"
