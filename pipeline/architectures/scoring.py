"""Scores of networks at their initialisation: what is scored, which networks are equal, and one task of it.

Predictors that see what a network computes score equal cells once; those that count dead weights see each cell by itself
(:attr:`pipeline.predictors.Predictor.dead_weights`). Every network starts from the same seed, and whatever a predictor draws
comes from that seed, the predictor's name and the network's, so that a score depends on nothing else: neither on which worker
computed it nor on what was asked for beside it.
"""

import copy
import functools
import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.architectures.models import Model, is_theirs, models_of
from pipeline.architectures.space import Code
from pipeline.architectures.spaces import SPACES
from pipeline.data.dataset import Dataset
from pipeline.enn.readers import Unreadable
from pipeline.errors import UserError, reason_of
from pipeline.predictors import named
from pipeline.predictors.checks import Unsuited
from pipeline.seeding import numpy_stream, stream, torch_stream


@dataclass(frozen=True)
class Wanted:
    """What is scored, by which predictors."""

    space: str
    """a name of SPACES; "" where a file gives the networks"""
    predictors: tuple[str, ...]
    seed: int = 0
    source: str = ""
    """the text of that file"""
    function: str = ""
    """its function that gives them"""

    def network(self, name: str, shape: tuple[int, ...], classes: int) -> torch.nn.Module:
        """The network of a name, at its initialisation."""
        if self.space:
            space = SPACES[self.space]
            return space.network(space.code(name), shape, classes, stream(self.seed, "networks"))
        try:
            return copy.deepcopy(self.models()[name].network)
        except RuntimeError:  # some networks torch does not copy: all are made anew
            return models_of(self.source, self.function, stream(self.seed, "networks"))[name].network

    def models(self) -> dict[str, Model]:
        """Those of the file, as its function made them: once in a process, for it makes all of them at a time."""
        return _made(self.source, self.function, stream(self.seed, "networks"))


@functools.lru_cache(maxsize=1)
def _made(source: str, function: str, seed: int) -> dict[str, Model]:
    return models_of(source, function, seed)


def drawn(space: str, count: int, seed: int) -> list[Code]:
    """So many architectures, each at most once, uniformly; all of them in a random order where there are no more."""
    own = SPACES[space]
    codes = map(own.at, numpy_stream(seed, "drawn", space).permutation(own.size).tolist())
    return list(itertools.islice(itertools.filterfalse(own.repeated, codes), count))


def places(wanted: Wanted, names: Sequence[str]) -> dict[tuple[str, str], str]:
    """By architecture and predictor, the name of the network that is scored for it: of equal ones always the same."""
    space, found = SPACES[wanted.space] if wanted.space else None, {}
    for predictor in wanted.predictors:
        own = named(predictor).dead_weights or space is None
        for name in names:
            found[name, predictor] = name if own or space is None else str(space.canonical(space.code(name)))
    return found


def tasks(scored: Mapping[tuple[str, str], str]) -> list[tuple[str, tuple[str, ...]]]:
    """Each network that is scored, once, with the predictors that score it."""
    found: dict[str, dict[str, None]] = {}
    for (_, predictor), network in scored.items():
        found.setdefault(network, {})[predictor] = None
    return [(network, tuple(predictors)) for network, predictors in found.items()]


def batch_of(dataset: Dataset, examples: int, seed: int, channels: int | None = None) -> tuple[Tensor, Tensor]:
    """So many training examples, drawn without replacement, as images.

    Args:
        channels: what networks of the space take; one channel is repeated, and other numbers are refused.

    Raises:
        UserError: there are fewer, or their channels do not fit.
    """
    x, y = dataset.tensors("train")
    if len(x) < examples:
        raise UserError(f"{dataset.name} has {len(x)} training examples and --examples is {examples}; give fewer.")
    chosen = torch.from_numpy(numpy_stream(seed, "scored examples").permutation(len(x))[:examples].copy())
    images = x[chosen].view(examples, *dataset.image_shape)
    if channels and images.shape[1] == 1:
        images = images.expand(-1, channels, -1, -1)
    if channels and images.shape[1] != channels:
        raise UserError(f"images of {dataset.name} have {images.shape[1]} channels, and the networks take {channels}.")
    return images.contiguous(), y[chosen]


def score(
    task: tuple[str, tuple[str, ...]],
    *,
    device: str,
    wanted: Wanted,
    batch: tuple[Tensor, Tensor],
    classes: int,
    others: bool = False,
) -> dict[str, Any]:
    """The scores of one network: by predictor ``value`` and ``ms``, milliseconds by the clock. Where a predictor is not made
    for such a network the value is NaN, and ``why`` says so.

    Args:
        others: whether other networks are scored as well: then one that a predictor cannot score is ``refused``, likewise with
            its reason, and :func:`check_refused` says what to do where all are.

    Raises:
        UserError: a predictor cannot score it, and there are no others; the sentence names both.
    """
    name, predictors = task
    found: dict[str, Any] = {}
    x, y = (part.to(device) for part in batch)
    for predictor in predictors:
        network = wanted.network(name, tuple(x.shape[1:]), classes).to(
            device
        )  # afresh: nothing that one leaves reaches another
        draws, started = torch_stream(wanted.seed, "predictor", predictor, name), time.perf_counter()
        said: dict[str, str] = {}
        try:
            value = float(named(predictor).score(network, (x, y), draws))
        except (Unsuited, Unreadable) as error:
            value, said = math.nan, {"why": str(error)}
        except Exception as error:
            if not isinstance(error, UserError) and not (wanted.source and is_theirs(error)):
                raise
            why = str(error) if isinstance(error, UserError) else f"it raised {type(error).__name__}: {reason_of(error)}."
            if not others:
                raise UserError(f"{name}: {predictor}: {why}") from error
            value, said = math.nan, {"why": why, "refused": f"{name}: {predictor}: {why}"}
        found[predictor] = {
            "value": value if math.isfinite(value) else str(value),
            "ms": 1000 * (time.perf_counter() - started),
            **said,
        }
    return found


def check_refused(predictors: Sequence[str], found: Mapping[str, Mapping[str, Any]]) -> None:
    """Nothing, if each predictor could use some network.

    Args:
        found: what :func:`score` found of each network.

    Raises:
        UserError: one could use none; the sentence names the first network.
    """
    for predictor in predictors:
        own = [scores[predictor] for scores in found.values() if predictor in scores]
        if own and all("refused" in score for score in own):
            raise UserError(own[0]["refused"])
