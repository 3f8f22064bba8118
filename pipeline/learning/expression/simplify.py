"""Equations without what changes nothing: the same numbers, by fewer operators and in one order.

Rules are such that no number moves beyond rounding, and a member is frozen by the simpler equation where it was by the other.
Where both sides draw at each step their order is kept, since a draw goes by its place.
"""

from dataclasses import replace

from pipeline.learning.expression.binaries import BINARIES, LEFT
from pipeline.learning.expression.grammar import Binary, Leaf, Tree, Unary, walk
from pipeline.learning.expression.operands import OPERANDS
from pipeline.learning.expression.spelling import plain
from pipeline.learning.expression.unaries import UNARIES

_NOT_NEGATIVE = {"abs", "sqrt", "relu", "step"}
_OF_SIZE = {"abs", "sqrt"}
"""operators that do not see a sign"""
_OF_SIGN = {"sgn", "step"}
"""operators that do not see a size"""
_TWICE = {"abs", "relu", "sgn", "step"}
"""operators that change nothing the second time"""
_BACK = {"T", "neg"}
"""operators that undo themselves"""


def simplified(tree: Tree) -> Tree:
    """The equation in its simplest form that these rules find."""
    if isinstance(tree, Unary):
        tree = replace(tree, of=simplified(tree.of))
    elif isinstance(tree, Binary):
        if tree.name == LEFT:
            return simplified(tree.left)
        tree = replace(tree, left=simplified(tree.left), right=simplified(tree.right))
    simpler = _simpler(tree)
    return tree if simpler is None else simplified(simpler)


def _simpler(tree: Tree) -> Tree | None:
    """One rule applied at the top; None where none does."""
    if isinstance(tree, Unary):
        return _unary(tree)
    return _binary(tree) if isinstance(tree, Binary) else None


def _unary(tree: Unary) -> Tree | None:
    name, below = tree.name, tree.of
    if name == "scale" and tree.value == 1:
        return below
    if isinstance(below, Leaf):
        return Leaf("W±") if (name, below.name) == ("sgn", "W") else _of_signs(name, below)
    if not isinstance(below, Unary):
        return None
    if name in _BACK and below.name == name:
        return below.of
    if (name in _TWICE and below.name == name) or (name in ("abs", "relu") and below.name in _NOT_NEGATIVE):
        return below
    if name in _OF_SIZE and below.name in ("neg", "abs"):
        return replace(tree, of=below.of)
    if (name in _OF_SIGN and below.name in ("ssq", "sgn")) or (name, below.name) == ("step", "relu"):
        return replace(tree, of=below.of)
    return None


def _of_signs(name: str, below: Leaf) -> Tree | None:
    return below if name == "sgn" and below.name in ("W±", "S") else None


def _binary(tree: Binary) -> Tree | None:
    name, left, right = tree.name, tree.left, tree.right
    if left == right and name in ("min", "max") and not _draws(left):
        return left
    if isinstance(right, Unary):
        if right.name == "neg" and name in ("+", "-"):
            return Binary("-" if name == "+" else "+", left, right.of)
        if right.name == "inv" and name == "*":
            return Binary("/", left, right.of)
    if isinstance(left, Unary) and left.name == "inv" and name == "*" and not (_draws(left) and _draws(right)):
        return Binary("/", right, left.of)
    if isinstance(left, Unary) and left.name == "neg" and name == "+" and not (_draws(left) and _draws(right)):
        return Binary("-", right, left.of)
    if (
        name == "*"
        and isinstance(right, Leaf)
        and right.name == "σ′"
        and isinstance(left, Leaf)
        and f"({left.name})∘σ′" in OPERANDS
    ):
        return Leaf(f"({left.name})∘σ′")
    if BINARIES[name].commutes and plain(right) < plain(left) and not (_draws(left) and _draws(right)):
        return Binary(name, right, left)
    return None


def _draws(tree: Tree) -> bool:
    """Whether something in it draws at each step, or remembers."""
    return any(isinstance(part, Unary) and (UNARIES[part.name].random or UNARIES[part.name].remembers) for part in walk(tree))
