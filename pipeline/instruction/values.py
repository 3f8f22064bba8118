"""What may be given to an :class:`pipeline.instruction.Instructor`."""

import math
import operator
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from pipeline.errors import UserError, shown
from pipeline.instruction.unseen import HOOKS
from pipeline.targets import MLP

if TYPE_CHECKING:
    Whole: TypeAlias = int
    Number: TypeAlias = float
    Shape: TypeAlias = tuple[int, ...]
    Pair: TypeAlias = tuple[torch.Tensor, torch.Tensor]
else:  # what is none is refused here, in a sentence, by no checker of types
    Whole = Number = Shape = Pair = Any

FEWEST = 32
"""validation examples"""


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


def validation(value: Any, home: MLP, input_shape: tuple[int, ...] | None) -> tuple[torch.Tensor, torch.Tensor, int] | None:
    """A batch of validation data: inputs of ``input_shape``, their classes, and how many of these there are; None for none.

    Args:
        home: the target that the ENN learned on.
    """
    inputs, classes = home.widths[0], home.widths[-1]
    if value is None:
        return None
    pair = isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(own, torch.Tensor) for own in value)
    if not pair:
        raise UserError(
            f"validation is {_kind(value)}; give a pair of tensors (x, y), inputs and their classes, that are not trained on."
        )
    x, y = value
    wrong = _wrong_inputs(x, inputs) or _wrong_classes(y, classes, len(x))
    if wrong:
        raise UserError(f"validation's {wrong}.")
    with torch.inference_mode(False):  # copies that may be saved for a backward pass; and the caller may write into the batch
        return x.detach().clone().reshape(len(x), *(input_shape or (inputs,))), y.detach().clone().long(), classes


def _wrong_inputs(x: torch.Tensor, inputs: int) -> str:
    if x.dim() < 2 or x[:1].numel() != inputs:
        sizes = tuple(x.shape[1:]) if x.dim() else "a single number"
        if x.dim() and not len(x):
            return f"x is empty; give at least {FEWEST} examples"
        return f"x has inputs of shape {sizes} and this ENN's models take {inputs} values each; give (N, …) of such inputs"
    if not x.is_floating_point():
        return f"x is of {x.dtype}; give floating-point inputs, scaled as those that are trained on"
    if len(x) < FEWEST:
        return f"x has {len(x)} examples, from which nothing can be told; give at least {FEWEST}"
    if not bool(x.isfinite().all()):
        return "x has values that are not finite; leave these examples out"
    return ""


def _wrong_classes(y: torch.Tensor, classes: int, examples: int) -> str:
    if y.dim() != 1 or len(y) != examples:
        return f"y has the shape {tuple(y.shape)} beside {examples} inputs; give one class per input, of shape ({examples},)"
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        return f"y is of {y.dtype}; give the number of each input's class, whole numbers from 0"
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        return f"y goes from {low} to {high} and this ENN reads {classes} classes; give numbers from 0 to {classes - 1}"
    return ""


def _kind(value: Any) -> str:
    """In a few words, for it may be large."""
    parts = [type(own).__name__ for own in value] if isinstance(value, tuple | list) and len(value) < 5 else []
    return f"a {type(value).__name__}" + (f" of {', '.join(parts)}" if parts else "")


def _is_number(value: Any) -> bool:
    """Of Python, or of numpy; not one written as text, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
