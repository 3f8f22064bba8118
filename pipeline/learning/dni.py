"""Synthetic gradients (Jaderberg et al., 2017): each hidden layer has a model of the gradient that would come from above.

    s_L = g_L,        s_i = S_i(h_i) ∘ σ′(z_i) / B
    S_i(h) = A_iᵀ h + a_i + V_iᵀ q_i(h),        q_i(h) = √H softmax(U_iᵀ h + u_i)

S_i learns, by the mean square error over the batch, the gradient of each example's own loss as the layer above passes it down:
B W_{i+1}ᵀ s_{i+1}, in which s_{i+1} is itself synthetic but at the output.

On feature maps a synthesiser acts on the channels of each pixel, as a convolution of one pixel does, and B counts pixels.

A_i (P, width, width), a_i (P, width) and V_i (P, H, width) begin at 0, so that the synthetic gradient does, as in the paper;
U_i (P, width, H) is Glorot's uniform, u_i (P, H) begins at 0.

Ours: the paper's synthesisers are linear or have hidden layers of ReLU and BatchNorm. The gradient of the cross entropy holds a
softmax of something linear in h, and one hidden layer of H softmax units beside a linear part comes closer to it in few steps
than more units of tanh or ReLU do. ``hidden=0`` leaves the linear part alone. They learn by Adam; gradients are per example,
without the 1/B of the mean loss, so that a regression sees numbers of order one; all layers are updated in one step, so that no
layer is ahead of another. Conditioned on the label: :mod:`pipeline.learning.cdni`. With an oracle in the place of S it is
backpropagation.

P members, B examples, K classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pipeline.errors import UserError
from pipeline.learning.signal import SignalRule
from pipeline.learning.trained import Trained, Training
from pipeline.seeding import torch_stream
from pipeline.targets import Context, Target

Synthesisers = list[Trained]
"""of each hidden layer A, a, where labels are seen C (P, K, width), and of its own hidden layer U, u, where labels are seen
(P, K, H), and V"""


@dataclass(frozen=True, eq=False)
class SyntheticGradients(SignalRule):
    """What goes back is predicted from the layer's own h.

    Raises:
        UserError: fewer than no hidden units.
    """

    serves = "layers"
    columns = True
    synthesisers: Training = field(default_factory=Training)
    """how the synthesisers learn"""
    hidden: int = 64
    """H, softmax units of a synthesiser; 0: it is linear"""
    labels = False
    """whether they see the label"""

    def __post_init__(self) -> None:
        if self.hidden < 0:
            raise UserError(f"the synthesisers' hidden units are {self.hidden}; give at least 0.")

    def init(self, target: Target, seeds: Sequence[int]) -> Synthesisers:
        found = []
        for layer, width in enumerate(target.received.values()):
            seen, own = [width, *([target.classes] if self.labels else [])], []
            for outputs, drawn in ((width, False), (self.hidden, True)):
                if not outputs:
                    break
                weight, *of_labels = [self._start(seeds, (size, outputs), drawn, layer, n) for n, size in enumerate(seen)]
                own += [weight, torch.zeros(len(seeds), outputs), *of_labels]
            own += [torch.zeros(len(seeds), self.hidden, width)] if self.hidden else []
            found.append(self.synthesisers.start(own))
        return found

    def synthesise(self, context: Context, state: Synthesisers) -> Float[Tensor, "P width B"]:
        """S(h): the gradient of each example's loss with respect to h."""
        linear, inner, last = self._parts(state[context.layer].parameters)
        found = self._affine(context, linear, context.room)
        if last is not None:
            found.add_(_pull_each(last, self._units(context, inner)))
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
            slopes = self._slopes(context, error)
            _, inner, last = self._parts(state[context.layer].parameters)
            if last is not None:
                q, back = self._units(context, inner), torch.bmm(last, error)
                mean = (q * back).sum(1, keepdim=True).div_(math.sqrt(self.hidden))
                slopes += [*self._slopes(context, q * (back - mean)), context.outer(q, error)]
            self.synthesisers.step(state[context.layer], slopes)

    def _start(self, seeds: Sequence[int], shape: tuple[int, int], drawn: bool, layer: int, number: int) -> Tensor:
        """Zeros or Glorot's uniform, (P, *shape)."""
        if not drawn:
            return torch.zeros(len(seeds), *shape)
        streams = [torch_stream(int(seed), "synthesiser", layer, number) for seed in seeds]
        bound = math.sqrt(6 / sum(shape))
        return torch.stack([torch.rand(shape, generator=one).mul_(2).sub_(1).mul_(bound) for one in streams])

    def _parts(self, parameters: list[Tensor]) -> tuple[list[Tensor], list[Tensor], Tensor | None]:
        """Of the linear part, of the hidden layer, and V."""
        count = 3 if self.labels else 2
        return parameters[:count], parameters[count : 2 * count], parameters[-1] if self.hidden else None

    def _units(self, context: Context, inner: Sequence[Tensor]) -> Float[Tensor, "P H B"]:
        """q, of norm 1 where all units are alike."""
        return self._affine(context, inner).softmax(1).mul_(math.sqrt(self.hidden))

    def _affine(self, context: Context, parameters: Sequence[Tensor], out: Tensor | None = None) -> Tensor:
        """Aᵀ h + a, and Cᵀ y where the label is seen."""
        weight, bias, *of_labels = parameters
        found = context.pull(context.h, weight, out).add_(bias.unsqueeze(-1))
        for one in of_labels:
            found.add_(context.output.pull(_one_hot(context), one))
        return found

    def _slopes(self, context: Context, error: Tensor) -> list[Tensor]:
        """Of A, a and C, where ``error`` is the slope of what they make."""
        found = [context.outer(context.h, error), error.sum(-1)]
        return [*found, context.output.outer(_one_hot(context), error)] if self.labels else found


def _pull_each(weight: Float[Tensor, "P H width"], q: Float[Tensor, "P H B"]) -> Float[Tensor, "P width B"]:
    """Vᵀ q, member after member on the CPU: there a batched product of so many terms rounds otherwise for one member than for
    several, where layers and batches are small."""
    if weight.device.type != "cpu":
        return torch.bmm(weight.transpose(1, 2), q)
    return torch.stack([own.t() @ units for own, units in zip(weight, q, strict=True)])


def _one_hot(context: Context) -> Float[Tensor, "P K B"]:
    members, classes, examples = context.error.shape
    hot = F.one_hot(context.labels.long(), classes).to(context.error.dtype).transpose(-1, -2)
    return hot.expand(members, classes, examples)


SIGNAL = SyntheticGradients
