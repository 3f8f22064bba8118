"""What a search over architectures is."""

import abc

import numpy as np

from pipeline.architectures.assist import Assist
from pipeline.architectures.space import Code, Space
from pipeline.seeding import numpy_stream


class Search(abc.ABC):
    """Proposes architectures, one after the other, and is told what came of them.

    Args:
        seed: of all that is drawn; what is drawn for the n-th proposal depends on the seed and n alone, so that paired searches
            (one with, one without a predictor) begin with the same architectures.
        assist: chooses among several candidates, or proposes plainly.
    """

    def __init__(self, space: Space, seed: int, assist: Assist) -> None:
        self.space, self.seed, self.assist = space, seed, assist

    def draws(self, number: int) -> np.random.Generator:
        """Of the n-th proposal."""
        return numpy_stream(self.seed, "architectures", number)

    @abc.abstractmethod
    def ask(self, number: int) -> Code:
        """The n-th architecture, from 0; asked in order. Some before it may still be untold."""

    @abc.abstractmethod
    def tell(self, number: int, reward: float | None) -> None:
        """What came of the n-th (larger is better; None where it could not be trained); told in order."""
