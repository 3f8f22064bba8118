"""What may be given to an :class:`pipeline.instruction.Instructor`."""

import math
import operator
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from pipeline.errors import UserError, shown
from pipeline.instruction.unseen import HOOKS

if TYPE_CHECKING:
    Whole: TypeAlias = int
    Number: TypeAlias = float
    Shape: TypeAlias = tuple[int, ...]
else:  # what is none is refused here, in a sentence, by no checker of types
    Whole = Number = Shape = Any


def steps(value: Any) -> int:
    """T, a whole number of optimiser steps."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 1:
        raise UserError(f"steps is {shown(value)}; give the optimiser steps of your whole run, a whole number from 1.")
    return operator.index(value)


def learning_rate(value: Any) -> float:
    """Of an optimiser."""
    if not _is_number(value) or not value > 0:
        raise UserError(f"learning_rate is {shown(value)}; give that of your optimiser, a number above 0.")
    return float(value)


def strength(value: Any) -> float:
    """λ, or -1."""
    if not _is_number(value) or (value < 0 and value != -1):
        raise UserError(f"strength is {shown(value)}; give λ, a number from 0, or -1 to let the ENN choose.")
    return float(value)


def scale(value: Any) -> float:
    """Of gradients."""
    if not _is_number(value) or not value > 0:
        raise UserError(f"scale is {shown(value)}; give by how much the gradients are scaled, a number above 0.")
    return float(value)


def input_shape(value: Any) -> tuple[int, ...]:
    """Of one input."""
    whole = isinstance(value, tuple | list | torch.Size) and len(value) > 0
    if not whole or not all(type(size) is int and size > 0 for size in value):
        raise UserError(
            f"input_shape is {shown(value)}; give the sizes of one input as a tuple, for example (1, 28, 28) or (784,)."
        )
    return tuple(value)


def hooks(value: Any) -> str:
    """What becomes of forward hooks."""
    if value not in HOOKS:
        raise UserError(f"hooks is {shown(value)}; give one of {', '.join(map(repr, HOOKS))}.")
    return str(value)


def _is_number(value: Any) -> bool:
    """Of Python, or of numpy; not one written as text, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
