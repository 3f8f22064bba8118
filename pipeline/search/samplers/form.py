"""What a sampler is: what it says of itself, which options it takes, and how Optuna's form of it is made.

:class:`pipeline.search.propose.Proposals` makes a fresh one for every proposal, with a seed of the candidate's number. What a
sampler knows is the study: what was proposed and told before. So its proposals are a function of seed, number and what was
told, and a search that was killed goes on with the same ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.search.values import Sampler

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

    Space = Mapping[str, BaseDistribution]
    """by dotted name, of all settings that are searched"""


@dataclass(frozen=True, kw_only=True)
class Form:
    """One way of proposing candidates."""

    says: str
    """what it does, in one line"""
    takes: tuple[str, ...] = ()
    """fields of :class:`pipeline.search.values.Sampler` that it reads, beside its name"""
    one_objective: bool = False
    """whether it can compare candidates by one objective only"""
    make: "Callable[[Sampler, Space, int], BaseSampler]"
    """from the options, the space and a seed below 2³²

    Raises:
        UserError: a package is not installed.
    """
