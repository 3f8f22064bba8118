"""Product feedback alignment (Li & Benna, 2024): a fixed matrix and a learned one go backwards, whose product grows to W.

    s_L = g_L,        s_i = (R_{i+1}ᵀ B_{i+1}ᵀ s_{i+1}) ∘ σ′(z_i)
    ΔR_{i+1} ∝ (B_{i+1}ᵀ s_{i+1}) h_iᵀ

B (P, out, mid) is random and fixed, with B Bᵀ ≈ 1; R (P, mid, in) is random at first and learns by the same optimiser, rate and
weight decay as W. As ΔR = Bᵀ ΔW under plain SGD, B R becomes B Bᵀ W ≈ W as weight decay forgets the starts: backward and
forward paths align although no two neurons are connected both ways.

Taken from "Deep Learning without Weight Symmetry" (arXiv 2405.20594) and from its authors' code for linear layers: the
equations, Glorot's uniform for R, the variance 1/mid for B, mid = expansion × out, and orthogonal B where the expansion is 1
(the authors' PFA-o). Ours: expansion 1 is the default, which costs two products in place of one; R has an optimiser of its own
(``backward``), which should be set as the target's; biases have no feedback; no sparse connections.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from pipeline.errors import UserError
from pipeline.learning.feedback import Feedback, draw, matrix, pulling
from pipeline.learning.signal import SignalRule
from pipeline.learning.trained import Trained, Training
from pipeline.seeding import torch_stream
from pipeline.targets import Context, Slot, Target


class Products(NamedTuple):
    """B and R by the number of the layer that pulls."""

    fixed: Feedback
    trained: list[Trained | None]


@dataclass(frozen=True, eq=False)
class ProductFeedbackAlignment(SignalRule):
    """What goes back is pulled by B and then by R, which learns as W does.

    Raises:
        UserError: an expansion below 1.
    """

    serves = "layers"
    expansion: int = 1
    """neurons between the two matrices, for each output of the layer; 1: B is orthogonal"""
    backward: Training = field(default_factory=lambda: Training(0.1, "sgd", weight_decay=1e-3))
    """how R learns"""

    def __post_init__(self) -> None:
        if self.expansion < 1:
            raise UserError(f"the expansion of product feedback is {self.expansion}; give at least 1.")

    def init(self, target: Target, seeds: Sequence[int]) -> Products:
        slots = pulling(target)
        fixed: Feedback = [None] * target.depth
        trained: list[Trained | None] = [None] * target.depth
        starts = draw([_between(slot, self.expansion) for slot in slots], seeds, "R")
        for slot in slots:
            streams = [torch_stream(int(seed), "feedback", slot.layer, "B") for seed in seeds]
            fixed[slot.layer] = torch.stack([_fixed(slot, self.expansion, generator) for generator in streams])
            trained[slot.layer] = self.backward.start([matrix(starts, slot.layer)])
        return Products(fixed, trained)

    def signal(self, context: Context, state: Products) -> Float[Tensor, "..."]:
        above = context.above
        if above is None or above.signal is None:
            return context.error
        trained = state.trained[above.layer]
        assert trained is not None
        above.kept = above.pull(above.signal, matrix(state.fixed, above.layer))
        return context.through(above.pull(above.kept, trained.parameters[0], context.room), context.room)

    def learn(self, contexts: Sequence[Context], state: Products) -> None:
        """One step of every R that has pulled; a layer that a module calls twice has pulled twice."""
        slopes: dict[int, Tensor] = {}
        for context in contexts:
            if context.kept is not None:
                slope = context.outer(context.kept, context.received)
                slopes[context.layer] = slopes[context.layer] + slope if context.layer in slopes else slope
        for layer, slope in slopes.items():
            trained = state.trained[layer]
            assert trained is not None
            self.backward.step(trained, [slope])


def _between(slot: Slot, expansion: int) -> Slot:
    """R, as if it were the weight of a layer."""
    return Slot(slot.name, (slot.shape[0] * expansion, *slot.shape[1:]), "weight", slot.fan_in, slot.layer)


def _fixed(slot: Slot, expansion: int, generator: Generator) -> Tensor:
    """One member's B, (out, mid)."""
    outputs, middle = slot.shape[0], slot.shape[0] * expansion
    if expansion == 1:
        return torch.nn.init.orthogonal_(torch.empty(outputs, middle), generator=generator)
    return torch.nn.init.uniform_(torch.empty(outputs, middle), -((3 / middle) ** 0.5), (3 / middle) ** 0.5, generator)


SIGNAL = ProductFeedbackAlignment
