"""Random search; assisted, the best of ten uniform draws."""

from pipeline.architectures.searches.search import Search
from pipeline.architectures.space import Code


class Random(Search):
    """Every proposal is drawn uniformly from the space."""

    def ask(self, number: int) -> Code:
        return self.assist.best(self.space.draw(self.draws(number), self.assist.count))

    def tell(self, number: int, reward: float | None) -> None:
        del number, reward


SEARCH = Random
