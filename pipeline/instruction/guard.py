"""The guard: an ENN that is wrong must not hurt.

It holds a *trust* in [0, 1] per member, the factor on the instruction, and lowers it on two kinds of evidence.

*Agreement*, free and at every reading: does the instruction lead downhill on the batch at hand? At home a good instruction does
on average, though it is no gradient of that loss (cosines of 0.1 to 0.5); under permuted or random labels it leads uphill.

*Trials*, at doubling distances (periods 0, 1, 3, 7, …), at every second period and the last while a member is instructed: the
same period is trained with and without the instruction, from the same weights on the same batches, and each member goes on from
where validation data show the better score. An ENN whose promise was broken is not followed until the next trial. A trial costs
one more period.

Letters: P members.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.targets import Population
from pipeline.targets.members import dot

WEAKEN, STRENGTHEN = 0.25, 2.0
"""factors on the trust, at each reading"""
UPHILL, DOWNHILL = 0.02, 0.0
"""mean cosines with the loss's gradient above which trust falls and below which it rises"""
MEMORY = 0.7
"""discount per reading on the mean cosine"""
GAP = 2
"""periods between two trials while the ENN is followed"""
LOWEST = 1e-3
"""trust never falls below this, from where it can rise again"""


class Guard:
    """Trust in an ENN, for each of P members.

    Args:
        score: the score of every member now, (P,) in [0, 1], on validation data; without it there are no trials.
    """

    def __init__(self, score: Callable[[Population], Float[Tensor, " P"]] | None = None) -> None:
        self.score = score
        self.agreement: Tensor | None = None
        self.trust: Tensor | None = None
        self.allowed: Tensor | None = None
        """1 where the last trial was won, else 0 (P,)"""

    @property
    def factor(self) -> Float[Tensor, " P"] | float:
        """On the instruction."""
        trust = 1.0 if self.trust is None else self.trust
        return trust if self.allowed is None else trust * self.allowed

    def reading(self, gradients: Sequence[Tensor], instruction: Sequence[Tensor]) -> None:
        """Take in a new instruction and the loss's gradient beside it; lists of (P, …). The instruction is subtracted."""
        lengths = dot(gradients, gradients).sqrt() * dot(instruction, instruction).sqrt()
        cosine = (dot(gradients, instruction) / lengths.clamp_min(1e-30)).nan_to_num(1.0)
        if self.agreement is None or self.trust is None:
            self.agreement, self.trust = torch.zeros_like(cosine), torch.ones_like(cosine)
        self.agreement = MEMORY * self.agreement + (1 - MEMORY) * cosine
        trust = torch.where(self.agreement > UPHILL, self.trust * WEAKEN, self.trust)
        self.trust = torch.where(self.agreement < DOWNHILL, trust * STRENGTHEN, trust).clamp(LOWEST, 1.0)

    def state_dict(self) -> dict[str, Tensor | None]:
        """What it has seen."""
        return {"agreement": self.agreement, "trust": self.trust, "allowed": self.allowed}

    def load_state_dict(self, state: Mapping[str, Tensor | None]) -> None:
        """Go on where :meth:`state_dict` was called."""
        self.agreement, self.trust, self.allowed = (state.get(name) for name in ("agreement", "trust", "allowed"))

    def is_trial(self, period: int, last: bool = False) -> bool:
        """Whether this period (from 0) is trained twice; ``last``: it is the run's last."""
        followed = self.allowed is None or bool(self.allowed.any())
        return (period + 1).bit_count() == 1 or (followed and (last or (period + 1) % GAP == 0))
