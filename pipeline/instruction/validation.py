"""The guard of one's own loop that is given validation data: an ENN is followed where these show that it leads downhill, and
only as far as its pushes turn out to help.

A batch of V examples, with labels, of which no gradient is ever followed, is looked at once in every period. Let ℓ be its mean
cross-entropy, θ the weights, p the push (what is subtracted from the gradient), and d = Σ ρ p what the pushes of the latest
reading have moved the weights by, with ρ the learning rate of each step.

*What backpropagation shows*: the cosine c of the push with −∇ℓ(θ), and m, the discounted mean of these. Trust by agreement is 0
below ``NONE`` and 1 above ``NONE + RANGE`` as it is for the gradients at hand (:mod:`pipeline.instruction.own_guard`), but V
examples are more than a batch: so that the first push is looked at, too, before it is followed.

*What backpropagation alone would have done*: g = ℓ(θ + d) − ℓ(θ), by how much the loss would be higher had the same steps of
the optimiser been made without the pushes. Where ℓ has risen since the period before, and would be lower without them (g < 0),
the pushes are made ``WEAKEN`` times as long, after a better period twice as long again, up to their own length. (g alone tells
little: with momentum the loss swings, and at home one g in three is below 0 while the runs end higher.)

Trust is the product of both, and never above that by the gradients at hand. Where it is 0 the weights are not read again
before the next period, and a loop in which it is 0 from the first on is to the bit the loop without an ENN. On layers that no
ENN has learned on nothing is followed: there a push may lead downhill for a while and the run end lower all the same.

*Cost*: ∇ℓ and, where a push was followed, one forward pass more: about (1 + 1/3) V / B steps of batches of B in a period.

Of an ENN that adds to the gradient d is what plain SGD would have made of it; what another optimiser made is not known.

Our choice, all of it; measured by ``python -m benchmarks.own_loop``.

Letters: N validation examples.
"""

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.instruction.copies import scores_of, with_copies
from pipeline.instruction.guard import LOWEST, STRENGTHEN, WEAKEN
from pipeline.instruction.modules import How, Readable
from pipeline.instruction.unseen import unseen

MEMORY = 0.5
"""discount per period on the mean agreement"""


class Validation:
    """Trust in an ENN by one validation batch, for one model.

    Args:
        x: inputs, (N, …), each as large as one of the model's.
        y: their classes, (N,).
        classes: how many there are.
    """

    def __init__(self, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"], classes: int) -> None:
        self.x, self.y, self.classes = x, y, classes
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self.checks, self.sum, self.kept = 0, 0.0, 1.0
        self.loss: float | None = None
        """ℓ at the latest check"""
        self.moved = 0.0
        """what the pushes of the latest reading were multiplied by where they moved the weights, summed over the steps since"""

    @property
    def agreement(self) -> float:
        """m, -1 before anything was seen."""
        return self.sum / (1 - MEMORY**self.checks) if self.checks else -1.0

    def check(
        self,
        read: Readable,
        how: How,
        pushes: Mapping[str, Tensor],
        followed: Mapping[str, Tensor],
        mean: Callable[[Tensor], Tensor],
    ) -> None:
        """Look at the validation batch.

        Args:
            pushes: the new ones by the tensor's name; they are subtracted from gradients.
            followed: d by the tensor's name, how far the pushes before these have moved the weights; none if they have not.
            mean: over several processes that train one model, of numbers that each has measured.

        Raises:
            Unreadable: the model cannot be called with the batch.
        """
        tensors = dict(zip(read.names, read.tensors, strict=True))
        at = {name: tensors[name].detach().clone().requires_grad_() for name in pushes}
        loss, slopes = self._loss(read, how, at)
        found = {"loss": loss, "cosine": _cosine(pushes, slopes), "gain": 0.0}
        if followed:
            before = {name: tensors[name].detach() - own.to(tensors[name]) for name, own in followed.items()}
            found["gain"] = self._loss(read, how, before)[0] - loss
        found = dict(zip(found, mean(torch.tensor(list(found.values()), dtype=torch.float64)).tolist(), strict=True))
        if followed:
            risen = self.loss is not None and not found["loss"] <= self.loss  # what is no number has risen
            harm = risen and not found["gain"] >= 0
            self.kept = min(1.0, max(LOWEST, self.kept * (WEAKEN if harm else STRENGTHEN)))
        agreement = found["cosine"] if math.isfinite(found["cosine"]) else -1.0
        self.checks, self.loss = self.checks + 1, found["loss"]
        self.sum = MEMORY * self.sum + (1 - MEMORY) * agreement

    def state_dict(self) -> dict[str, Any]:
        """What was seen."""
        return {"checks": self.checks, "sum": self.sum, "kept": self.kept, "moved": self.moved, "loss": self.loss}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state_dict` was called."""
        self.reset()
        self.checks, self.loss = int(state.get("checks", 0)), state.get("loss")
        self.sum, self.kept, self.moved = (float(state.get(key, getattr(self, key))) for key in ("sum", "kept", "moved"))

    def _loss(self, read: Readable, how: How, at: Mapping[str, Tensor]) -> tuple[float, dict[str, Tensor]]:
        """ℓ where these tensors of the model are as given, and its slopes along those that require gradients."""
        like = next(own for own in read.model.parameters() if own.is_floating_point())
        x, y = self.x.to(like.device, like.dtype), self.y.to(like.device)
        leaves = {name: own for name, own in at.items() if own.requires_grad}

        def inside(model: nn.Module) -> tuple[float, dict[str, Tensor]]:
            with torch.set_grad_enabled(bool(leaves)):
                loss = F.cross_entropy(scores_of(model, how.forward, x, tuple(x.shape[1:]), self.classes).float(), y)
                found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True) if loss.requires_grad else ()
            slopes = {name: own for name, own in zip(leaves, found, strict=False) if own is not None}
            return float(loss.detach()), slopes

        with unseen(read.model, how.hooks):
            return with_copies(read.model, dict(at), inside)


def _cosine(pushes: Mapping[str, Tensor], slopes: Mapping[str, Tensor]) -> float:
    """Of the pushes, which are subtracted, with minus the slopes."""
    pairs = [(own, slopes[name].to(own)) for name, own in pushes.items() if name in slopes]
    inner, one, other = (
        sum(float((a * b).sum()) for a, b in ways)
        for ways in (pairs, [(own, own) for own in pushes.values()], [(own, own) for _, own in pairs])
    )
    return -inner / max((one * other) ** 0.5, sys.float_info.min)
