"""A user's own list of networks: a function of a Python file that gives them."""

import functools
import hashlib
import math
import numbers
import random
import sys
import traceback
import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.architectures.identity import digest_of_network
from pipeline.errors import UserError, nearest, reason_of, shown

PREFIX = "models_"
"""of the names of such files' modules"""


@dataclass(frozen=True)
class Model:
    """A network of the list."""

    network: nn.Module
    accuracy: float | None = None
    """in percent, where the list says it"""

    @functools.cached_property
    def digest(self) -> str:
        """Of the network, as the function made it."""
        return digest_of_network(self.network)


def models_of(source: str, function: str, seed: int) -> dict[str, Model]:
    """What the function gives, by name: a mapping of names to networks, or a list of them; a network may be a pair of itself
    and its accuracy in percent. Random numbers are seeded while it runs.

    Raises:
        UserError: the file cannot be run, has no such function, or gives no networks.
    """
    module = _module(source)
    if not callable(found := getattr(module, function, None)):
        known = [name for name, value in vars(module).items() if isinstance(value, types.FunctionType)]
        near = f" (did you mean {nearest(function, known)!r}?)" if known else ""
        raise UserError(f"--models: the file has no function {function!r}{near}; give FILE.py:FUNCTION.")
    with _seeded(seed):
        try:
            given = found()
            if isinstance(given, set | frozenset):
                raise UserError(f"--models: {function} gives a set, whose order is another on each worker; give a list.")
            if isinstance(given, Iterable) and not isinstance(given, Mapping | str | nn.Module):
                given = list(given)  # what gives one network after the other is run here, under the same seed
        except UserError:
            raise
        except (Exception, SystemExit) as error:  # the user's code: its error is told as the user's
            raise UserError(f"--models: {function} failed ({type(error).__name__}: {reason_of(error)}); correct it.") from error
    return _models(given, function)


def is_theirs(error: BaseException) -> bool:
    """Whether an error was raised by code of such a file, and is the user's."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(frame.filename.startswith(f"<{PREFIX}") for frame in frames)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The random numbers of torch, numpy and Python from a seed, so that the networks are the same on each worker."""
    plain, array = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(array)


def _module(source: str) -> types.ModuleType:
    """The file as a module, run from its text: on workers the file need not be there."""
    name = f"{PREFIX}{hashlib.sha256(source.encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    module = types.ModuleType(name)
    sys.modules[name] = module  # dataclasses and pickles look there
    try:
        exec(compile(source, f"<{name}>", "exec"), vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UserError(
            f"--models: the file cannot be run ({type(error).__name__}: {reason_of(error)}); correct it."
        ) from error
    return module


def _models(given: Any, function: str) -> dict[str, Model]:
    if isinstance(given, list):
        given = {f"{number:03d}": item for number, item in enumerate(given)}
    if not isinstance(given, Mapping) or not given:
        raise UserError(
            f"--models: {function} gives {shown(given)}; give a list of networks, or names and networks, at least 1."
        )
    if len({str(name) for name in given}) < len(given):
        raise UserError(f"--models: {function} gives two networks of the same name; give each its own, as text.")
    return {str(name): _model(str(name), item) for name, item in given.items()}


def _model(name: str, item: Any) -> Model:
    network, accuracy = item if isinstance(item, tuple | list) and len(item) == 2 else (item, None)
    if not isinstance(network, nn.Module):
        raise UserError(f"--models: {shown(name)} is {shown(network)} and no torch.nn.Module; give networks.")
    if accuracy is not None and (
        isinstance(accuracy, bool) or not isinstance(accuracy, numbers.Real) or not math.isfinite(accuracy)
    ):
        raise UserError(f"--models: the accuracy of {shown(name)} is {shown(accuracy)}; give a number in percent, or None.")
    return Model(network, None if accuracy is None else float(accuracy))
