"""The parts of a search as plain values. Nothing here imports torch."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pipeline.names import COMBINATIONS, Acquisition, ArchitectureSearch, PredictorName, SamplerName, parts_of

TOGETHER = 20
"""candidates of a population, at most. It is no setting and does not depend on the workers: members of a population of another
size are rounded otherwise. Larger ones are hardly faster (see the speeds in docs/results/pblf.md)"""


class Failed(Exception):
    """A candidate cannot be judged, and it is its own settings' fault: that is a result."""


@dataclass(frozen=True)
class Dimension:
    """One setting and what it may be."""

    key: str
    choice: tuple[Any, ...] = ()
    """values to choose from"""
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    """an integer between low and high, both included"""
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    """other settings and the values at which this one matters; elsewhere it keeps its default"""

    @property
    def ends(self) -> tuple[Any, ...]:
        """The choices, or both ends of the range."""
        return self.choice or ((int(self.low), int(self.high)) if self.whole else (self.low, self.high))


@dataclass(frozen=True)
class Sampler:
    """Who proposes candidates."""

    name: SamplerName = "tpe"
    """who: see :mod:`pipeline.search.samplers`"""
    startup: int = 20
    """random candidates before the sampler learns from them"""
    population: int = 20
    """candidates of a generation"""
    acquisition: Acquisition = ""
    """what makes a candidate worth trying: pi, ei or ucb (default: the sampler's own)"""
    trade_off: float | None = None
    """of the acquisition: how much it explores, in standard deviations of what was told (default: 0.1)"""
    mutation: float | None = None
    """probability that a setting is drawn anew (default: 1 / number of settings)"""
    random_every: int = 0
    """every so many-th candidate is a random one (0: none)"""


@dataclass(frozen=True)
class Scheduler:
    """Who is stopped between the stages."""

    name: Literal["asha", "none"] = "asha"
    """asha: successive halving; none: every candidate goes through all stages"""
    reduction: float = 3.0
    """one candidate in so many goes on to the next stage"""


@dataclass(frozen=True)
class Budget:
    """How much is tried."""

    candidates: int = 100
    """in each group"""
    ahead: int = 4
    """a candidate is proposed when all but the last so many are judged; workers beyond this number have nothing to do"""
    batch: int = 1
    """above 1: so many candidates at a time are proposed, when all before them are judged (in place of ``ahead``); a kind that
    can judges each 20 of them as members of one population, so that workers beyond a twentieth of it have nothing to do"""

    def seen(self, number: int) -> int:
        """How many candidates are told before this one is proposed: the first ones."""
        return max(0, number - self.ahead + 1) if self.batch == 1 else number // self.batch * self.batch


@dataclass(frozen=True)
class Record:
    """The populations that are recorded once for each ladder of λ."""

    rounds: int = 2
    """populations of rl.members, each under the ENN that the ones before it taught"""
    updates: int = 100
    """gradient steps on that ENN (none on one that unroll.start names)"""


@dataclass(frozen=True)
class Stage:
    """One step of judging; counts are totals since the candidate's start."""

    name: str
    """as results are named by it"""
    updates: int = 0
    """off-policy gradient steps on recorded runs"""
    segments: int = 0
    """gradient steps of fine-tuning through unrolled training"""
    targets: int = 0
    """fresh targets that it instructs (or, in a search over targets or rules, that are trained)"""
    steps: int = 0
    """of a search over targets or rules: optimiser steps (0: training.steps)"""
    rank_by: str = ""
    """what the scheduler compares after this stage (default: the first objective, or rank_correlation without targets); in a
    search over ENNs also a predictor of architectures, or several with a plus between them, whose ranks are added"""

    @property
    def predictors(self) -> tuple[str, ...]:
        """Those that ``rank_by`` is made of; none where it is a result."""
        known = {*get_args(PredictorName), *COMBINATIONS}
        return parts_of(self.rank_by) if self.rank_by and known.issuperset(self.rank_by.split("+")) else ()


@dataclass(frozen=True)
class Predict:
    """Rank candidates after the first stage by the gain that they are predicted to give in the next stage with targets."""

    after: int = 12
    """candidates whose gain must be known before predictions are used; until then the first stage's own ``rank_by`` counts"""


@dataclass(frozen=True)
class Algorithm:
    """Who proposes architectures."""

    name: ArchitectureSearch = "random"
    """random; evolution (REA), reinforce or bohb"""


@dataclass(frozen=True)
class Assistance:
    """A predictor that chooses which of several proposed architectures is judged."""

    predictor: str
    """or several with a plus between them, whose ranks among the proposals are added, or az_nas"""
    proposals: int = 10
    """architectures of which the one with the largest score is judged"""
    examples: int = 128
    """training examples that the predictor looks at, at most"""
    seconds: float = 0.0
    """simulated, that a score is charged for on a table"""


@dataclass(frozen=True)
class Group:
    """Settings and a space of their own, with the same budget as every other group."""

    name: str
    settings: dict[str, Any]
    space: tuple[Dimension, ...]


def pairs_of(stages: Sequence[Stage]) -> Iterator[tuple[Stage, Stage]]:
    """Each stage with the one after it."""
    return itertools.pairwise(stages)
