"""What tells networks apart before they are trained: a digest of all that a score can depend on.

Modules by name with their classes, the text of classes and functions that are not torch's or ours, what they keep (a stride, a
slope, a function), parameters and buffers with their values, and which of them are one and the same. What a network calls
elsewhere, in a file of functions, is not seen.
"""

import hashlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.digests import digest_of_json

KNOWN = ("torch", "pipeline", "rl", "grad_instructor")
"""packages whose classes count by name"""
OWN = frozenset(vars(nn.Module()))
"""what torch keeps of every module: its parts are looked at by name, and hooks are not told apart"""


def digest_of_network(network: nn.Module) -> str:
    """16 hexadecimal digits, the same in every process for a network that is made alike."""
    modules = dict(network.named_modules(remove_duplicate=False))
    classes = {kind for module in modules.values() for kind in type(module).__mro__ if issubclass(kind, nn.Module)}
    tensors = [*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False)]
    first: dict[int, str] = {}
    return digest_of_json(
        [
            [[name, _name(type(module)), _of_values(_kept(module))] for name, module in modules.items()],
            sorted([_name(kind), _text(kind)] for kind in classes),
            [[name, first.setdefault(id(tensor), name), _of_value(tensor)] for name, tensor in tensors],
        ]
    )


def _kept(module: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if name not in OWN}


def _of_values(values: Mapping[Any, Any]) -> list[Any]:
    return [[str(name), _of_value(value)] for name, value in values.items()]


def _of_value(value: Any) -> Any:
    """What JSON can hold of a value; of an object of another kind its class alone, for its text may name a place in memory."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | complex | torch.dtype | torch.device | torch.Size):
        return repr(value)
    if isinstance(value, Tensor):
        return _of_tensor(value)
    if isinstance(value, np.ndarray | np.generic):
        return [str(value.dtype), list(value.shape), hashlib.sha256(value.tobytes()).hexdigest()]
    if isinstance(value, Mapping):
        return _of_values(value)
    if isinstance(value, list | tuple):
        return list(map(_of_value, value))
    if isinstance(value, type) or inspect.isroutine(value):
        return [_name(value), _text(value)]
    return _name(type(value))


def _of_tensor(value: Tensor) -> Any:
    try:
        values = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        return [str(value.dtype), list(value.shape), hashlib.sha256(values.data).hexdigest()]
    except (RuntimeError, TypeError, ValueError, NotImplementedError):  # it has no values yet, or holds them otherwise
        return _name(type(value))


def _name(thing: type | Callable[..., Any]) -> str:
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', '')}"


def _text(thing: type | Callable[..., Any]) -> str:
    """Of a class or function, where it is somebody's and in a file."""
    if str(getattr(thing, "__module__", "")).split(".")[0] in KNOWN:
        return ""
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):  # built in, or of a text that was run: whoever ran it knows that
        return ""
