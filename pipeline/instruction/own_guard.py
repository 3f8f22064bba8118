"""The guard of one's own loop: an ENN is followed where backpropagation shows that it knows the way, and only there.

:mod:`pipeline.instruction.guard` weakens an instruction that leads uphill. In somebody's loop that is too late: an instruction
that leads nowhere (a cosine about 0 with the loss's gradient) moves the weights as far as the trust region allows, and costs
points. Here trust is in proportion to the agreement. The instruction depends on no batch, so that the gradient at every reading
is a test of it by data that it has not seen.

*Agreement*: the discounted mean m of the cosines between the instruction (which is subtracted) and minus the gradient. Trust is
0 below ``NONE``, 1 above ``NONE + RANGE``, in between (m − NONE) / RANGE. The first reading is followed whole, for want of
evidence.

*Far from home*: ENNs learned on a few linear layers. On convolutions and norms, or on many layers, an instruction leads
downhill for a while and the run ends lower all the same, which no cosine tells; there only the first reading is followed, at
``FIRST``.

*Validation data*, where there are any, can lower this trust further: :mod:`pipeline.instruction.validation`.

Our choice, all of it; measured by ``python -m benchmarks.own_loop``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.instruction.validation import Validation
from pipeline.targets.members import dot

NONE, RANGE = 0.08, 0.1
"""mean agreement up to which an ENN is not followed, and above that, within which trust rises to 1"""
MEMORY = 0.8
"""discount per reading on the mean"""
FIRST = 0.1
"""trust at the first reading far from home"""
EARLY = 5
"""readings after which an ENN that was never trusted again is called far from its home"""


class FarFromHome(UserWarning):
    """An ENN is used where it does not know the way, so that it is not followed there."""


def trust_by(agreement: float) -> float:
    """Trust in proportion to a mean cosine."""
    return min(1.0, max(0.0, (agreement - NONE) / RANGE))


class OwnGuard:
    """Trust in an ENN, for one model.

    Args:
        far: the model is of a kind that no ENN has learned on.
        validation: what validation data show, if there are any.
    """

    def __init__(self, far: bool = False, validation: Validation | None = None) -> None:
        self.far, self.validation = far, validation
        self.readings, self.sum, self.trusted = 0, 0.0, False
        self.known: float | None = None
        """trust by what was seen so far"""

    @property
    def trust(self) -> float:
        """Now, in [0, 1]."""
        first = FIRST if self.far else 1.0
        return first if self.known is None else self.known

    @property
    def shown(self) -> float:
        """Trust by validation data alone; 1 without any."""
        if self.validation is None:
            return 1.0
        return 0.0 if self.far else self.validation.kept * trust_by(self.validation.agreement)

    @property
    def factor(self) -> float:
        """On the instruction."""
        return min(self.trust, self.shown)

    @property
    def lost(self) -> bool:
        """Whether it is known by now, and was not before this reading, that the ENN does not know the way."""
        if self.validation is not None:
            return self.validation.checks == 1 and self.shown == 0
        return self.readings == EARLY and not self.trusted

    def rests(self, begins: bool) -> bool:
        """Whether there is no use in reading the weights now.

        Args:
            begins: a period begins.
        """
        if self.far:
            return self.readings > 0 and self.factor == 0
        return self.shown == 0 and not begins

    def reading(self, gradients: Sequence[Tensor], instruction: Sequence[Tensor]) -> None:
        """Take in a new instruction and the loss's gradient beside it; lists of (1, …). The instruction is subtracted."""
        lengths = dot(gradients, gradients).sqrt() * dot(instruction, instruction).sqrt()
        uphill = float((dot(gradients, instruction) / lengths.clamp_min(torch.finfo(lengths.dtype).tiny)).nan_to_num(1.0))
        self.readings += 1
        self.sum = MEMORY * self.sum - (1 - MEMORY) * uphill
        mean = self.sum / (1 - MEMORY**self.readings)
        if self.far:
            self.known = FIRST if self.readings == 1 else 0.0
        elif self.readings > 1:
            self.known = trust_by(mean)
            self.trusted = self.trusted or self.known > 0

    def state_dict(self) -> dict[str, Any]:
        """What it has seen."""
        shown = {} if self.validation is None else {"validation": self.validation.state_dict()}
        return {"readings": self.readings, "sum": self.sum, "known": self.known, "trusted": self.trusted} | shown

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state_dict` was called."""
        self.readings, self.sum = int(state.get("readings") or 0), float(state.get("sum") or 0.0)
        self.known, self.trusted = state.get("known"), bool(state.get("trusted"))
        if self.validation is not None:
            self.validation.load_state_dict(state.get("validation") or {})
