"""Synthetic gradients (Jaderberg et al., 2017): each hidden layer has a model of the gradient that would come from above.

    s_L = g_L,        s_i = S_i(h_i) ∘ σ′(z_i) / B,        S_i(h) = A_iᵀ h + a_i

S_i learns, by the mean square error over the batch, the gradient of each example's own loss as the layer above passes it down:
B W_{i+1}ᵀ s_{i+1}, in which s_{i+1} is itself synthetic but at the output.

On feature maps a synthesiser acts on the channels of each pixel, as a convolution of one pixel does, and B counts pixels.

Ours: linear synthesisers, A_i (P, width, width) and a_i (P, width), that begin at 0, as theirs do, and learn by Adam; gradients
are per example, without the 1/B of the mean loss, so that a regression sees numbers of order one; all layers are updated in
one step, so that no layer is ahead of another. Conditioned on the label: :mod:`pipeline.learning.cdni`. With an oracle in the
place of S it is backpropagation.

P members, B examples, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pipeline.learning.signal import SignalRule
from pipeline.learning.trained import Trained, Training
from pipeline.targets import Context, Target

Synthesisers = list[Trained]
"""A, a and, where labels are seen, C (P, K, width) of each hidden layer"""


@dataclass(frozen=True, eq=False)
class SyntheticGradients(SignalRule):
    """What goes back is predicted from the layer's own h."""

    serves = "layers"
    columns = True
    synthesisers: Training = field(default_factory=Training)
    """how the synthesisers learn"""
    labels = False
    """whether they see the label"""

    def init(self, target: Target, seeds: Sequence[int]) -> Synthesisers:
        hidden, last = target.received.values(), target.classes
        shapes = [[(width, width), (width,), *([(last, width)] if self.labels else [])] for width in hidden]
        return [self.synthesisers.start([torch.zeros(len(seeds), *shape) for shape in own]) for own in shapes]

    def synthesise(self, context: Context, state: Synthesisers) -> Float[Tensor, "P width B"]:
        """S(h): the gradient of each example's loss with respect to h."""
        weight, bias, *of_labels = state[context.layer].parameters
        found = context.pull(context.h, weight, context.room).add_(bias.unsqueeze(-1))
        for one in of_labels:
            found.add_(context.output.pull(_one_hot(context), one))
        return found

    def signal(self, context: Context, state: Synthesisers) -> Float[Tensor, "P out B"]:
        if context.above is None:
            return context.error
        found = self.synthesise(context, state)
        context.kept = found.clone()
        return context.through(found.mul_(1 / context.examples), context.room)

    def learn(self, contexts: Sequence[Context], state: Synthesisers) -> None:
        """One step of each synthesiser towards what the layer above passes down."""
        for context in contexts:
            above = context.above
            if above is None:  # the output, which has none
                continue
            assert above.signal is not None
            error = context.kept.sub_(above.pull(above.signal).mul_(context.examples)).mul_(2 / context.examples)
            slopes = [context.outer(context.h, error), error.sum(-1)]
            if self.labels:
                slopes.append(context.output.outer(_one_hot(context), error))
            self.synthesisers.step(state[context.layer], slopes)


def _one_hot(context: Context) -> Float[Tensor, "P K B"]:
    members, classes, examples = context.error.shape
    hot = F.one_hot(context.labels.long(), classes).to(context.error.dtype).transpose(-1, -2)
    return hot.expand(members, classes, examples)


SIGNAL = SyntheticGradients
