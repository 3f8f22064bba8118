"""Regularised evolution (REA; Real et al. 2019, arXiv 1802.01548), with Zhang and Jia's assisted form.

The first ten architectures are random and, also in the assisted form, unscored. After them, three of the population's ten are
drawn without replacement, the best of them is the parent, and its child differs from it in one decision; assisted, the child is
the best-scored of ten such children. The child joins the population and the oldest member leaves.
"""

import math
from collections import deque

from pipeline.architectures.searches.search import Search
from pipeline.architectures.space import Code

POPULATION, SAMPLE = 10, 3


class Evolution(Search):
    """A child is proposed from the members that have been told by then; with none, a random architecture."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.asked: dict[int, Code] = {}
        self.members: deque[tuple[float, Code]] = deque(maxlen=POPULATION)
        """with their rewards, oldest first"""

    def ask(self, number: int) -> Code:
        self.asked[number] = self._proposed(number)
        return self.asked[number]

    def _proposed(self, number: int) -> Code:
        draws = self.draws(number)
        if number < POPULATION or not self.members:
            return self.space.draw(draws, 1)[0]
        sample = draws.permutation(len(self.members))[:SAMPLE]
        _, parent = max((self.members[place] for place in sample.tolist()), key=lambda member: member[0])
        return self.assist.best(self.space.mutate(parent, draws, self.assist.count))

    def tell(self, number: int, reward: float | None) -> None:
        code = self.asked.pop(number)
        self.members.append((-math.inf if reward is None else reward, code))


SEARCH = Evolution
