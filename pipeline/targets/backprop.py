"""Mean cross entropy and its gradients for P members at once, by hand.

Activations are (P, width, B), examples last. So a shared batch makes the first layer one matrix product over the stacked
weights (P·width, inputs), whose result and whose gradient already lie where the population keeps them; a member's numbers
meet only its own rows, so that a NaN of one never reaches another.

P members, B examples, K classes.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.targets.activations import ACTIVATIONS
from pipeline.targets.mlp import MLP


class Workspace:
    """Buffers for batches of B examples, reused from step to step."""

    def __init__(self, target: MLP, members: int, examples: int, like: Tensor) -> None:
        hidden, classes = target.widths[1:-1], target.widths[-1]
        self._new = lambda width: like.new_empty(members, width, examples)
        self.before = [self._new(width) for width in hidden]
        self.after = [self._new(width) for width in hidden] if ACTIVATIONS[target.activation].needs_z else self.before
        self.logits, self.log_probabilities = self._new(classes), self._new(classes)
        self.minus_one = like.new_full((1, 1, 1), -1.0).expand(members, 1, examples)
        self._hidden, self._deltas = hidden, None

    @property
    def deltas(self) -> list[Tensor]:
        """Gradients with respect to the hidden layers, made at the first use (an evaluation needs none)."""
        if self._deltas is None:
            self._deltas = [self._new(width) for width in self._hidden]
        return self._deltas


def forward(
    target: MLP,
    parameters: Sequence[Tensor],
    x: Float[Tensor, "B inputs"] | Float[Tensor, "P B inputs"],
    work: Workspace,
) -> Float[Tensor, "P K B"]:
    """Logits of every member, in ``work.logits``."""
    outputs, last = [*work.before, work.logits], len(work.before)
    h = x.t() if x.dim() == 2 else x.transpose(1, 2)
    for layer, z in enumerate(outputs):
        weight, bias = parameters[2 * layer], parameters[2 * layer + 1]
        if h.dim() == 2:
            torch.addmm(bias.view(-1, 1), weight.view(-1, len(h)), h, out=z.view(-1, h.shape[1]))
        else:
            torch.baddbmm(bias.unsqueeze(-1), weight, h, out=z)
        if layer < last:
            h = work.after[layer]
            ACTIVATIONS[target.activation].forward(z, h)
    return work.logits


def log_likelihood(
    logits: Float[Tensor, "P K B"], y: Int[Tensor, " B"] | Int[Tensor, "P B"], work: Workspace
) -> tuple[Float[Tensor, "P 1 B"], Int[Tensor, "P 1 B"]]:
    """The log-probability of each example's label, and the labels' index into ``work.log_probabilities``."""
    index = y.long().unsqueeze(-2).expand(len(logits), 1, -1)
    torch.log_softmax(logits, 1, out=work.log_probabilities)
    return work.log_probabilities.gather(1, index), index


def backprop(
    target: MLP,
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    x: Float[Tensor, "B inputs"] | Float[Tensor, "P B inputs"],
    y: Int[Tensor, " B"] | Int[Tensor, "P B"],
    work: Workspace,
) -> Float[Tensor, " P"]:
    """Each member's mean cross entropy; its gradients are written to ``gradients``."""
    likelihood, index = log_likelihood(forward(target, parameters, x, work), y, work)
    delta = work.log_probabilities.exp_().scatter_add_(1, index, work.minus_one).mul_(1 / y.shape[-1])
    for layer in reversed(range(len(work.before) + 1)):
        weight_gradient, bias_gradient = gradients[2 * layer], gradients[2 * layer + 1]
        torch.sum(delta, -1, out=bias_gradient)
        if layer > 0:
            torch.bmm(delta, work.after[layer - 1].transpose(1, 2), out=weight_gradient)
            delta = torch.bmm(parameters[2 * layer].transpose(1, 2), delta, out=work.deltas[layer - 1])
            ACTIVATIONS[target.activation].backward(delta, work.before[layer - 1], work.after[layer - 1], delta)
        elif x.dim() == 2:
            torch.mm(delta.view(-1, len(x)), x, out=weight_gradient.view(-1, x.shape[1]))
        else:
            torch.bmm(delta, x, out=weight_gradient)
    return likelihood.squeeze(1).mean(1).neg_()
