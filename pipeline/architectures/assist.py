"""What turns a search into its assisted form (Zhang & Jia 2021, §5): ten candidates are proposed, the one with the largest
score is kept, and only that one is trained."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pipeline.architectures.space import Code

Score = Callable[[Code], float]
"""larger is better; NaN is worse than any number"""


@dataclass
class Assist:
    """Chooses among candidates by a score, which is asked once for every code.

    Without a score (the plain form) one candidate is proposed and kept.
    """

    score: Score | None = None
    proposals: int = 10
    scored: dict[Code, float] = field(default_factory=dict)
    """what has been asked so far, in the order in which it was"""

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
                found = float(self.score(code))
                self.scored[code] = -math.inf if math.isnan(found) else found
        return max(codes, key=self.scored.__getitem__)
