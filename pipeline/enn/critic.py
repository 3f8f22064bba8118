"""The critic: a reader with a dueling head, bounded to [0, 1].

``Q(θ, t, a) = σ(v + a − max a)`` ranks the levels of λ (Wang et al., 2016, eq. 8, inside a sigmoid), and the ENN is
``V(θ, t) = σ(v) = max_a Q(θ, t, a)``: the discounted score from here on of a policy that is *greedy in every n-th period*, n =
``rl.n_step``: the level that the ENN ranks first, then for n − 1 periods those that the recorded runs went on with, and so
again. With n = 1 that is the greedy policy. (With the mean in place of the maximum, their eq. 9, σ(v) is the value of no
policy: one level that ruins a run would halve it. n-step returns are not corrected for what the runs chose in between.) The sum
is taken before the sigmoid, so that Q stays in [0, 1] as well; an unbounded head returned −10⁵ off its data. Once an ENN is
fine-tuned (:mod:`rl.unrolled`), the strength head is its policy, and V the score at the end of a segment under that.

Letters: P members, A levels of λ.
"""

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.config import ENNConfig
from pipeline.enn.readers import READERS
from pipeline.targets import MLP

STRENGTH_RANGE = 4.0
"""the strength head can make λ at most e⁴ ≈ 55 times larger or smaller"""


@dataclass(frozen=True)
class Home:
    """Where an ENN learned, which is also how it wants to be used."""

    target: MLP
    """the targets that it learned on"""
    steps: int
    """T, optimiser steps of a whole run"""
    period: int
    """optimiser steps between two decisions on λ"""
    learning_rate: float
    """of the targets' optimiser; the trust region is a bound on the step, hence on learning_rate × instruction"""
    ladder: tuple[float, ...]
    """levels of λ, the first of them 0"""
    refresh: int
    """optimiser steps for which one instruction is reused"""
    trust_region: float
    """largest instructed step as a fraction of each tensor's norm"""
    strength: float = -1.0
    """λ to use; -1 lets the ENN choose"""
    scale: float = 0.0
    """0: the advantages choose a level of λ at every period; else the strength head does at every reading, around this λ"""

    decoupled: bool = False
    """whether the instruction moves the weights beside the optimiser's step, and does not go through the optimiser"""
    schedule: str = "constant"
    """of the targets' learning rate, which a decoupled instruction follows too"""

    @property
    def by_head(self) -> bool:
        """Whether the strength head chooses λ."""
        return self.scale > 0 and self.strength < 0


class Critic(nn.Module):
    """An ENN: a reader, one hidden layer, a value, advantages, and a strength head (which only unrolled fine-tuning trains).

    Args:
        reader: a name of ``READERS``.
        config: its sizes.
        home: where it learns, and how it is to be used.
    """

    def __init__(self, reader: str, config: ENNConfig, home: Home) -> None:
        super().__init__()
        self.reader_name, self.config, self.home = reader, config, home
        self.reader = READERS[reader](config, home.target)
        self.hidden = nn.Sequential(nn.Linear(self.reader.features, config.hidden), nn.GELU())
        self.value_head = nn.Linear(config.hidden, 1)
        self.advantage_head = nn.Linear(config.hidden, len(home.ladder))
        # zeros, drawn from no stream, so that the other weights are the same with and without it
        self.strength_weight, self.strength_bias = nn.Parameter(torch.zeros(config.hidden)), nn.Parameter(torch.zeros(()))

    def value(
        self, parameters: Sequence[Tensor], progress: Float[Tensor, " P"], activation: str | None = None
    ) -> Float[Tensor, " P"]:
        """V(θ, t) in [0, 1], the discounted score from here on of greedy in every n-th period. Differentiable in ``parameters``
        (each (P, …))."""
        return self.value_of(self.reader.read(parameters, progress, activation))

    def q_values(
        self, parameters: Sequence[Tensor], progress: Float[Tensor, " P"], activation: str | None = None
    ) -> Float[Tensor, "P A"]:
        """Q(θ, t, a) in [0, 1] for every level of λ, (P, levels)."""
        return self._q(self.hidden(self.reader.read(parameters, progress, activation)))

    def _q(self, hidden: Float[Tensor, "P hidden"]) -> Float[Tensor, "P A"]:
        advantages = self.advantage_head(hidden)
        return torch.sigmoid(self.value_head(hidden) + advantages - advantages.amax(dim=-1, keepdim=True))

    def value_of(self, features: Float[Tensor, "P features"]) -> Float[Tensor, " P"]:
        """V (P,) from features already read, (P, features); Grad-CAM reads a weight image of its own."""
        return self.value_from(self.hidden(features))

    def value_from(self, hidden: Float[Tensor, "P hidden"]) -> Float[Tensor, " P"]:
        """V (P,) from the hidden layer's outputs, (P, hidden)."""
        return torch.sigmoid(self.value_head(hidden).squeeze(-1))

    def strengths(
        self, parameters: Sequence[Tensor], progress: Float[Tensor, " P"], activation: str | None = None
    ) -> Float[Tensor, " P"]:
        """λ of each member at a decision: the home strength if one is fixed, else the strength head's where there is one, else
        the level with the largest advantage."""
        with torch.no_grad():
            return self.strengths_of(self.reader.read(parameters, progress, activation))

    def strengths_of(self, features: Float[Tensor, "P features"]) -> Float[Tensor, " P"]:
        """λ of each member from features already read."""
        if self.home.strength >= 0:
            return torch.full_like(features[:, 0], self.home.strength)
        hidden = self.hidden(features)
        if self.home.by_head:
            return self.head_strengths(hidden)
        ladder = torch.tensor(self.home.ladder, dtype=features.dtype, device=features.device)
        return ladder[self._q(hidden).argmax(dim=-1)]

    def head_strengths(self, hidden: Float[Tensor, "P hidden"]) -> Float[Tensor, " P"]:
        """λ = scale · exp(4 tanh(w · h + b)), which is scale to begin with, from the hidden layer's outputs."""
        return self.home.scale * torch.exp(STRENGTH_RANGE * torch.tanh(hidden @ self.strength_weight + self.strength_bias))

    def with_strength(self, strength: float) -> "Critic":
        """A copy of this ENN with λ fixed, or with -1 left to the advantages."""
        other = copy.deepcopy(self)
        other.home = dataclasses.replace(self.home, strength=strength)
        return other
