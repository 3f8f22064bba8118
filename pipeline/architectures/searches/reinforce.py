"""REINFORCE (Williams 1992) as NAS-Bench-201 has it, with Zhang and Jia's assisted form.

The policy is one softmax per decision. A sample is drawn from it and trained; the logits follow the gradient of
(reward − baseline) · log p(sample) by Adam. The baseline is the moving average of rewards at momentum 0.9, without bias (the
first reward is its own baseline). Assisted, the best-scored of ten one-decision edits of the sample is trained in its place,
and the gradient keeps the log-probability of the sample itself.
"""

import numpy as np

from pipeline.architectures.searches.search import Search
from pipeline.architectures.space import Code

RATE, MOMENTUM = 0.01, 0.9
"""of Adam (NATS-Bench's choice for this space); of the baseline"""
BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Adam's own"""


class Reinforce(Search):
    """Logits start at 0 (NAS-Bench-201: normal with a standard deviation of 0.001), so that the first sample is uniform."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        widest = max(self.space.counts)
        self.there = np.arange(widest) < np.array(self.space.counts)[:, None]
        """(D, C) which choices there are"""
        self.logits = np.zeros(self.there.shape)
        self.mean, self.square, self.steps = np.zeros_like(self.logits), np.zeros_like(self.logits), 0
        self.average, self.weight = 0.0, 0.0
        self.samples: dict[int, tuple[Code, np.ndarray]] = {}
        """by number, the sample and the probabilities that it was drawn with"""

    def ask(self, number: int) -> Code:
        draws, probabilities = self.draws(number), self.probabilities()
        edges = probabilities.cumsum(1)
        drawn = (draws.random((len(edges), 1)) >= edges).sum(1)
        sample = tuple(np.minimum(drawn, np.array(self.space.counts) - 1).tolist())
        self.samples[number] = sample, probabilities
        if self.assist.score is None:
            return sample
        return self.assist.best(self.space.mutate(sample, draws, self.assist.count))

    def probabilities(self) -> np.ndarray:
        """(D, C) of each choice; 0 where there is none."""
        raised = np.where(self.there, np.exp(self.logits - self.logits.max(1, keepdims=True)), 0.0)
        return raised / raised.sum(1, keepdims=True)

    def tell(self, number: int, reward: float | None) -> None:
        sample, probabilities = self.samples.pop(number)
        if reward is None:
            return
        self.average = MOMENTUM * self.average + (1 - MOMENTUM) * reward
        self.weight = MOMENTUM * self.weight + 1 - MOMENTUM
        advantage = reward - self.average / self.weight
        chosen = np.zeros_like(probabilities)
        chosen[np.arange(len(sample)), sample] = 1.0
        self._ascend(advantage * (chosen - probabilities))  # ∂ log p(sample) / ∂ logits = chosen − p

    def _ascend(self, gradient: np.ndarray) -> None:
        """One step of Adam uphill."""
        self.steps += 1
        self.mean = BETAS[0] * self.mean + (1 - BETAS[0]) * gradient
        self.square = BETAS[1] * self.square + (1 - BETAS[1]) * gradient**2
        mean, square = self.mean / (1 - BETAS[0] ** self.steps), self.square / (1 - BETAS[1] ** self.steps)
        self.logits = self.logits + RATE * mean / (np.sqrt(square) + EPSILON)


SEARCH = Reinforce
