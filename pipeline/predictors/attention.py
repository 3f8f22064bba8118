"""Attention from within: torch's function, in which a mode that watches functions sees the projections as the linear layers
that they are, where it would see one call of ``F.multi_head_attention_forward`` otherwise."""

from types import FunctionType
from typing import Any, cast

from torch.nn import functional as F

ATTENTION: Any = F.multi_head_attention_forward


def _opened(function: FunctionType) -> Any:
    """The function as it is, but for its first question, whether somebody wants to stand in its place."""
    own = function.__globals__ | {"has_torch_function": lambda _: False}
    made = FunctionType(function.__code__, own, function.__name__, function.__defaults__, function.__closure__)
    made.__kwdefaults__ = function.__kwdefaults__
    return made


opened = _opened(cast(FunctionType, F.multi_head_attention_forward))
"""to be called in place of ``ATTENTION``, within the mode"""
