"""Mean cross entropy and its gradients for P members at once, by hand.

Activations are (P, width, B), examples last. So a shared batch makes the first layer one matrix product over the stacked
weights (P·width, inputs), whose result and whose gradient already lie where the population keeps them; a member's numbers
meet only its own rows, so that a NaN of one never reaches another.

:func:`backprop` is the fused path: backpropagation alone, in place. :func:`signalled` is the same pass where a learning rule
says what goes backwards; it keeps z and h of every layer for the rule to read.

P members, B examples, K classes.
"""

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.targets.context import Context, Signals
from pipeline.targets.forward import Layer, affine, examples_last, outer, propagate, pull
from pipeline.targets.mlp import MLP


class Workspace:
    """Buffers for batches of B examples, reused from step to step.

    Args:
        keep_z: leave z as it is where h could take its place.
    """

    def __init__(self, target: MLP, members: int, examples: int, like: Tensor, keep_z: bool = False) -> None:
        hidden, classes = target.widths[1:-1], target.widths[-1]
        self.activation = target.nonlinearity
        self._new = lambda width: like.new_empty(members, width, examples)
        self.before = [self._new(width) for width in hidden]
        self.after = [self._new(width) for width in hidden] if self.activation.needs_z or keep_z else self.before
        self.examples = [h.transpose(1, 2) for h in self.after]
        self.logits, self.log_probabilities = self._new(classes), self._new(classes)
        self.minus_one = like.new_full((1, 1, 1), -1.0).expand(members, 1, examples)
        self._hidden, self._deltas = hidden, None
        self._outputs = [*self.before, self.logits]

    @property
    def deltas(self) -> list[Tensor]:
        """Gradients with respect to the hidden layers, made at the first use (an evaluation needs none)."""
        if self._deltas is None:
            self._deltas = [self._new(width) for width in self._hidden]
        return self._deltas

    def linear(self, number: int, layer: Layer, h: Tensor) -> Tensor:
        """z of a layer, in its buffer."""
        return affine(*layer, h, self._outputs[number])

    def activate(self, number: int, z: Tensor) -> Tensor:
        """h of a layer, in its buffer."""
        h = self.after[number]
        self.activation.forward(z, h)
        return h


def forward(
    layers: Sequence[Layer], x: Float[Tensor, "B inputs"] | Float[Tensor, "P B inputs"], work: Workspace
) -> Float[Tensor, "P K B"]:
    """Logits of every member, in ``work.logits``."""
    return propagate(layers, examples_last(x), work.linear, work.activate)


def log_likelihood(
    logits: Float[Tensor, "P K B"], y: Int[Tensor, " B"] | Int[Tensor, "P B"], work: Workspace
) -> tuple[Float[Tensor, "P 1 B"], Int[Tensor, "P 1 B"]]:
    """The log-probability of each example's label, and the labels' index into ``work.log_probabilities``."""
    index = y.long().unsqueeze(-2).expand(len(logits), 1, -1)
    torch.log_softmax(logits, 1, out=work.log_probabilities)
    return work.log_probabilities.gather(1, index), index


def error_at_the_output(
    layers: Sequence[Layer],
    x: Float[Tensor, "B inputs"] | Float[Tensor, "P B inputs"],
    y: Int[Tensor, " B"] | Int[Tensor, "P B"],
    work: Workspace,
) -> tuple[Float[Tensor, " P"], Float[Tensor, "P K B"]]:
    """Each member's mean cross entropy, and its gradient (p − y) / B with respect to the logits."""
    likelihood, index = log_likelihood(forward(layers, x, work), y, work)
    error = work.log_probabilities.exp_().scatter_add_(1, index, work.minus_one).mul_(1 / y.shape[-1])
    return likelihood.squeeze(1).mean(1).neg_(), error


def backprop(
    layers: Sequence[Layer],
    gradients: Sequence[Layer],
    x: Float[Tensor, "B inputs"] | Float[Tensor, "P B inputs"],
    y: Int[Tensor, " B"] | Int[Tensor, "P B"],
    work: Workspace,
) -> Float[Tensor, " P"]:
    """Each member's mean cross entropy; its gradients are written to ``gradients``, the weight's and the bias's per layer."""
    losses, delta = error_at_the_output(layers, x, y, work)
    for layer in reversed(range(len(layers))):
        weight_gradient, bias_gradient = gradients[layer]
        torch.sum(delta, -1, out=bias_gradient)
        if layer > 0:
            outer(delta, work.examples[layer - 1], weight_gradient)
            delta = pull(layers[layer][0], delta, out=work.deltas[layer - 1])
            work.activation.backward(delta, work.before[layer - 1], work.after[layer - 1], delta)
        else:
            outer(delta, x, weight_gradient)
    return losses


def signalled(
    layers: Sequence[Layer],
    gradients: Sequence[Layer],
    x: Float[Tensor, "B inputs"] | Float[Tensor, "P B inputs"],
    y: Int[Tensor, " B"] | Int[Tensor, "P B"],
    work: Workspace,
    signal: Signals,
) -> Float[Tensor, " P"]:
    """As :func:`backprop`, with what goes backwards from ``signal``, which gives every context its ``signal``.

    Raises:
        ValueError: a layer got no signal, or one of another shape than its z.
    """
    losses, error = error_at_the_output(layers, x, y, work)
    contexts = contexts_of(layers, x, y, error, work)
    signal(contexts)
    for context, examples, (weight_gradient, bias_gradient) in zip(contexts, [x, *work.examples], gradients, strict=True):
        if context.signal is None or context.signal.shape != context.z.shape:
            found = "none" if context.signal is None else f"one of shape {tuple(context.signal.shape)}"
            raise ValueError(f"layer {context.layer} needs a signal of shape {tuple(context.z.shape)} and got {found}")
        torch.sum(context.signal, -1, out=bias_gradient)
        outer(context.signal, examples, weight_gradient)
    return losses


def contexts_of(layers: Sequence[Layer], x: Tensor, y: Tensor, error: Tensor, work: Workspace) -> list[Context]:
    """What a learning rule may see of each layer after a forward pass in ``work``."""
    zs, hs, last = [*work.before, work.logits], [*work.after, work.logits], len(layers) - 1
    received = [examples_last(x), *work.after]
    contexts = [
        Context(number, weight, received[number], zs[number], hs[number], error, y, work.activation if number < last else None)
        for number, (weight, _) in enumerate(layers)
    ]
    for context, room in zip(contexts, work.deltas, strict=False):  # the output's signal needs none
        context.room = room
    for below, above in itertools.pairwise(contexts):
        below.above, above.below = above, below
    return contexts
