"""What a space of architectures is: decisions, each with a few choices. An architecture is a *code*, one choice per decision.

Where several codes name one architecture, one of them stands for it, and the others are *repeated*. Everything that searches
does (draw uniformly, edit one decision, look at neighbours, encode) follows from the number of
choices, so that a new space says only what its decisions are and which network a code stands for.

D decisions; decision d has choices 0 … C_d − 1.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from torch import nn

Code = tuple[int, ...]
"""one choice per decision"""


def _itself(code: Code) -> Code:
    return code


def _never(code: Code) -> bool:
    del code
    return False


@dataclass(frozen=True)
class Space:
    """A space of architectures."""

    name: str
    decisions: Mapping[str, tuple[Any, ...]]
    """by name, what may be chosen"""
    network: Callable[[Code, tuple[int, ...], int, int], "nn.Module"]
    """(code, shape of an input, classes, seed) → the network at its initialisation, which gives class scores"""
    text: Callable[[Code], str]
    """what people call an architecture"""
    code: Callable[[str], Code]
    """its inverse; UserError where a text names no architecture"""
    canonical: Callable[[Code], Any] = _itself
    """equal for codes that compute the same function; whoever scores does so once for each"""
    repeated: Callable[[Code], bool] = _never
    """whether another code names the same architecture and stands for it"""
    settings: Callable[[Code], dict[str, Any]] | None = None
    """of a target that can be trained here, by dotted name; None where a table knows its accuracy"""

    @property
    def counts(self) -> tuple[int, ...]:
        """C_d, the number of choices of each decision."""
        return tuple(map(len, self.decisions.values()))

    @property
    def size(self) -> int:
        """The number of codes."""
        return math.prod(self.counts)

    @cached_property
    def architectures(self) -> int:
        """The number of architectures: codes that are not repeated."""
        return self.size - sum(map(self.repeated, self)) if self.repeated is not _never else self.size

    def __iter__(self) -> Iterator[Code]:
        """All codes, in the order of :meth:`index`."""
        return itertools.product(*map(range, self.counts))

    def index(self, code: Sequence[int]) -> int:
        """Of a code, from 0: the last decision counts fastest."""
        place = 0
        for choice, count in zip(code, self.counts, strict=True):
            place = place * count + choice
        return place

    def at(self, index: int) -> Code:
        """The code of an index."""
        code: list[int] = []
        for count in reversed(self.counts):
            index, choice = divmod(index, count)
            code.append(choice)
        return tuple(reversed(code))

    def draw(self, draws: np.random.Generator, count: int) -> list[Code]:
        """``count`` codes, uniformly and independently."""
        return list(map(tuple, draws.integers(self.counts, size=(count, len(self.counts))).tolist()))

    def mutate(self, code: Code, draws: np.random.Generator, count: int) -> list[Code]:
        """``count`` codes that differ from ``code`` in one decision: a decision drawn uniformly, then another choice of it.

        Zhang and Jia's code draws the node first, then one of its edges; here every edge is as likely. A decision with one
        choice is never drawn.
        """
        open_ = [place for place, choices in enumerate(self.counts) if choices > 1]
        found = []
        for place, step in zip(draws.integers(len(open_), size=count).tolist(), draws.random(count).tolist(), strict=True):
            decision = open_[place]
            choices = self.counts[decision]
            other = (code[decision] + 1 + int(step * (choices - 1))) % choices
            found.append((*code[:decision], other, *code[decision + 1 :]))
        return found

    def neighbours(self, code: Code) -> list[Code]:
        """Every code that differs from ``code`` in one decision."""
        return [
            (*code[:place], other, *code[place + 1 :])
            for place, choices in enumerate(self.counts)
            for other in range(choices)
            if other != code[place]
        ]

    def encode(self, code: Code) -> Float[np.ndarray, " sum_of_C"]:
        """One-hot, decision after decision: what a model over architectures learns from."""
        rows = [np.eye(count)[choice] for count, choice in zip(self.counts, code, strict=True)]
        return np.concatenate(rows)
