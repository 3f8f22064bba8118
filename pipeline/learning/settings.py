"""Whether the settings that a learning rule is given by name are of their kinds, as its class declares them."""

import math
import numbers
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import UserError, shown

SAID = {float: "a finite number", int: "a whole number", str: "a text", Tensor: "a tensor", types.NoneType: "None"}
"""kinds of settings in words"""
OF_MANY = {float: "numbers", int: "whole numbers", Tensor: "tensors"}
"""what sequences are of"""


def check(name: str, kind: type, settings: Mapping[str, Any]) -> None:
    """Nothing, if all settings of the rule of this name are of the kinds that its class declares.

    Raises:
        UserError: one is not.
    """
    hints = typing.get_type_hints(kind)
    for key, value in settings.items():
        options = typing.get_args(hints[key]) if isinstance(hints[key], types.UnionType) else (hints[key],)
        if not any(_is(value, option) for option in options):
            asked = " or ".join(_said(option) for option in options)
            raise UserError(f"the setting {key!r} of the learning rule {name!r} is {shown(value)}; give {asked}.")


def _is(value: Any, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if typing.get_origin(kind) is not Sequence:
        return isinstance(value, kind)
    if typing.get_args(kind) == (Tensor,):
        each = value if isinstance(value, Sequence) or (isinstance(value, Tensor) and value.dim()) else (None,)
        return all(isinstance(own, Tensor) for own in each)
    try:
        return not isinstance(value, str) and torch.as_tensor(value).dim() > 0
    except (TypeError, ValueError, RuntimeError):  # no numbers, or rows of several lengths
        return False


def _said(kind: Any) -> str:
    if typing.get_origin(kind) is Sequence:
        return f"a list of {OF_MANY[typing.get_args(kind)[0]]}"
    return SAID.get(kind, f"a {kind.__name__}")
