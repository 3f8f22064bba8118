"""A search on a table: training takes the table's seconds, and nothing is trained.

As such tables are used (NAS-Bench-201's own scripts, Zhang and Jia's): proposals follow one another until the budget of
simulated seconds is spent; an architecture whose training would end later does not count. Scoring costs time too, once for
every distinct architecture that is scored; the sources left that out, so that it is charged or not as the caller says.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from pipeline.architectures.searches import Search
from pipeline.architectures.space import Code


@dataclass(frozen=True)
class Trace:
    """What a search trained, in order. N architectures."""

    indices: Int[np.ndarray, " N"]
    """of codes"""
    rewards: Float[np.ndarray, " N"]
    seconds: Float[np.ndarray, " N"]
    """simulated, at the end of each training"""

    @property
    def best(self) -> int:
        """The index of the code with the largest reward, the first of equal ones."""
        return int(self.indices[int(self.rewards.argmax())])


def simulate(
    search: Search,
    reward: Callable[[int], float],
    cost: Callable[[int], float],
    budget: float,
    scoring: float = 0.0,
    distinct: Callable[[Code], object] | None = None,
) -> Trace:
    """Let a search run on a table.

    Args:
        reward, cost: of an architecture's index: validation accuracy, and the seconds that training it takes.
        budget: simulated seconds.
        scoring: seconds that scoring one architecture takes; 0 does not charge it.
        distinct: equal for codes that are scored once.

    Raises:
        ValueError: the first training would end after the budget.
    """
    spent, charged, seen = 0.0, 0, set()
    indices, rewards, ends = [], [], []
    while True:
        code = search.ask(len(indices))
        if scoring:
            fresh = list(search.assist.scored)[charged:]
            charged += len(fresh)
            keys = {distinct(one) if distinct else one for one in fresh} - seen
            seen |= keys
            spent += scoring * len(keys)
        index = search.space.index(code)
        spent += cost(index)
        if spent > budget:
            break
        search.tell(len(indices), found := reward(index))
        indices.append(index)
        rewards.append(found)
        ends.append(spent)
    if not indices:
        raise ValueError(f"the first training takes longer than the budget of {budget:g} s")
    return Trace(np.array(indices), np.array(rewards, dtype=np.float64), np.array(ends, dtype=np.float64))
