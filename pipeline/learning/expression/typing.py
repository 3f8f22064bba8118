"""Whether an equation types: what each of its parts is, and where one does not go with another, what would."""

from collections.abc import Iterator

from pipeline.config.evolution import DEEPEST
from pipeline.errors import UserError, shown
from pipeline.learning.expression.binaries import BINARIES, LEFT, PRODUCT
from pipeline.learning.expression.grammar import SIGNAL_SHAPE, Leaf, Shape, Tree, Unary, depth, said
from pipeline.learning.expression.operands import OPERANDS
from pipeline.learning.expression.spelling import spelt
from pipeline.learning.expression.unaries import UNARIES

MOST_NAMED = 4
"""operands that a sentence proposes"""


def check(tree: Tree) -> None:
    """Nothing, if the equation is a signal.

    Raises:
        UserError: it does not type, it is no signal, or it is too deep. The sentence says where, and what would do.
    """
    shape = shape_of(tree)
    if shape != SIGNAL_SHAPE:
        raise UserError(f"{_quoted(tree)} is {said(shape)}, and a signal is {said(SIGNAL_SHAPE)}; {_instead(tree, shape)}.")
    if depth(tree) > DEEPEST:
        raise UserError(f"{_quoted(tree)} has {depth(tree)} operators in one another; give at most {DEEPEST}.")


def shape_of(tree: Tree) -> Shape:
    """The rows and columns of what a tree stands for.

    Raises:
        UserError: two of its parts do not go together.
    """
    if isinstance(tree, Leaf):
        return OPERANDS[tree.name].shape
    if isinstance(tree, Unary):
        shape = shape_of(tree.of)
        return turned(shape) if UNARIES[tree.name].transposes else shape
    left, right = shape_of(tree.left), shape_of(tree.right)
    if (found := joined(tree.name, left, right)) is None:
        raise UserError(_mismatch(tree.name, tree.left, tree.right, left, right))
    return found


def joined(name: str, left: Shape, right: Shape) -> Shape | None:
    """What a binary operator makes of two shapes; None where they do not go together."""
    if name == PRODUCT:
        return (left[0], right[1]) if left[1] == right[0] else None
    return left if left == right or name == LEFT else None


def turned(shape: Shape) -> Shape:
    """Of the transpose."""
    return shape[1], shape[0]


def of_shape(shape: Shape, ours: bool = False) -> list[str]:
    """The operands of this shape.

    Args:
        ours: with those that the source's language lacks.
    """
    return [name for name, operand in OPERANDS.items() if operand.shape == shape and (ours or not operand.ours)]


def _mismatch(name: str, left: Tree, right: Tree, one: Shape, other: Shape) -> str:
    sign = BINARIES[name].shown
    asks = "columns of the first that are the rows of the second" if name == PRODUCT else "two of one shape"
    return (
        f"the equation does not type at {sign!r} between {_quoted(left)}, which is {said(one)}, and {_quoted(right)}, which "
        f"is {said(other)}: {sign} takes {asks}; {' or '.join(_would(name, left, right, one, other))} would do."
    )


def _would(name: str, left: Tree, right: Tree, one: Shape, other: Shape) -> Iterator[str]:
    """What goes in the place of one side: its transpose, or another operand."""
    if joined(name, one, turned(other)):
        yield f"{_quoted(Unary('T', right))} in the second's place"
    elif joined(name, turned(one), other):
        yield f"{_quoted(Unary('T', left))} in the first's place"
    fits = [operand for operand, entry in OPERANDS.items() if joined(name, one, entry.shape)][:MOST_NAMED]
    yield f"{', '.join(fits)} in the second's place" if fits else f"an equation that is {said(one)} in the second's place"


def _instead(tree: Tree, shape: Shape) -> str:
    if turned(shape) == SIGNAL_SHAPE:
        return f"its transpose {_quoted(Unary('T', tree))} would do"
    pulls = [
        operand
        for operand, entry in OPERANDS.items()
        if joined(PRODUCT, turned(shape), entry.shape) == SIGNAL_SHAPE and not entry.ours
    ]
    if pulls:
        return f"{_quoted(Unary('T', tree))} times {' or '.join(pulls[:MOST_NAMED])} would do"
    pushed = [
        operand
        for operand, entry in OPERANDS.items()
        if joined(PRODUCT, turned(entry.shape), shape) == SIGNAL_SHAPE or joined(PRODUCT, entry.shape, shape) == SIGNAL_SHAPE
    ]
    if pushed:
        first = pushed[0]
        turn = OPERANDS[first].shape[1] != shape[0]
        return f"{first}{'ᵀ' * turn} times it would do"
    return f"an operand such as {', '.join(of_shape(SIGNAL_SHAPE)[:MOST_NAMED])} would do"


def _quoted(tree: Tree) -> str:
    return shown(spelt(tree))
