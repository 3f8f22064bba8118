"""What turns a search into its assisted form (Zhang & Jia 2021, §5): ten candidates are proposed, the one with the largest
score is kept, and only that one is trained. Of a combination of predictors a score is each part's, and those of one draw are
ranked among each other: ranks need no other candidates."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.architectures.space import Code

Score = Callable[[Code], Any]
"""larger is better; NaN is worse than any number"""


def alone(scores: Sequence[float]) -> Sequence[float]:
    """Numbers, which need no other candidates."""
    return scores


@dataclass
class Assist:
    """Chooses among candidates by a score, which is asked once for every code.

    Without a score (the plain form) one candidate is proposed and kept.
    """

    score: Score | None = None
    proposals: int = 10
    scored: dict[Code, Any] = field(default_factory=dict)
    """what has been asked so far, in the order in which it was"""
    among: Callable[[Sequence[Any]], Sequence[float]] = alone
    """what the scores of one draw come to, as numbers"""

    @property
    def count(self) -> int:
        """How many candidates are proposed."""
        return self.proposals if self.score else 1

    def best(self, codes: Sequence[Code]) -> Code:
        """The code with the largest score; the first of equal ones."""
        if self.score is None:
            return codes[0]
        for code in codes:
            if code not in self.scored:
                self.scored[code] = self.score(code)
        found = [-math.inf if math.isnan(own) else own for own in self.among([self.scored[code] for code in codes])]
        return codes[max(range(len(codes)), key=found.__getitem__)]
