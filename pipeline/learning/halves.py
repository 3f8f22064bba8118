"""A network in two halves that need not wait for each other: the lower one has synthetic gradients (Jaderberg et al., 2017).

The lower half is the first hidden layer. It hands its h up and, where it has a rule, is updated at once by what the rule's
synthesiser says; the gradient with respect to h comes back steps later and teaches the synthesiser. Without a rule it waits for
the gradient, which is backpropagation. The halves may be in one process (:func:`here`) or be two Ray actors
(:func:`on_actors`): who does what in which order is fixed, so that both give the same weights to the bit.

With a lag of 0 and nothing but the output above, this is the rule ``dni`` or ``cdni`` as a population trains by it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pipeline.learning.backprop import Backpropagation
from pipeline.learning.signal import Bound, SignalRule
from pipeline.learning.trained import Training
from pipeline.targets import MLP, Batches, Context, Population
from pipeline.targets.activations import ACTIVATIONS
from pipeline.targets.forward import affine, examples_last, outer

AHEAD = 8
"""steps that are given to the actors before the oldest of them is waited for"""


@dataclass
class Above(Context):
    """What the lower half knows of the upper: how it pulls labels, and the gradient that it was sent."""

    sent: Tensor | None = None

    def pull(self, delta: Tensor, weights: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        if weights is not None:
            return super().pull(delta, weights, out)
        assert self.sent is not None
        return self.sent / self.examples


@dataclass
class Lower:
    """The first hidden layer with its optimiser and, unless it waits for gradients, a rule that says them beforehand."""

    batches: Batches
    weights: Sequence[Tensor]
    """of the layer, (1, out, in) and (1, out)"""
    classes: int
    seed: int
    activation: str
    rate: float
    """of Adam"""
    rule: SignalRule | None = None
    """synthetic gradients; None: it waits"""
    waiting: dict[int, Context] = field(default_factory=dict)

    def __post_init__(self) -> None:
        torch.set_num_threads(1)
        self.training = Training(self.rate)
        self.layer = self.training.start([own.clone() for own in self.weights])
        width, inputs = self.weights[0].shape[1:]
        if self.rule is not None:
            self.state = self.rule.init(MLP((inputs, width, self.classes), self.activation), [self.seed])

    def step(self, number: int) -> Tensor:
        """h (1, width, B) of a batch; where there is a rule, the layer is updated at once."""
        x, y = self.batches(number)
        weight, bias = self.layer.parameters
        z = affine(weight, bias, examples_last(x), x.new_empty(1, weight.shape[1], len(y)))
        activation = ACTIVATIONS[self.activation]
        h, nothing = activation.function(z), x.new_empty(1, self.classes, len(y))
        context = Context(0, weight, examples_last(x), z, h, nothing, y, activation)
        unknown = x.new_empty(1, self.classes, weight.shape[1])  # the weights above are never read here
        context.above = Above(1, unknown, h, nothing, nothing, nothing, y, None, below=context)
        self.waiting[number] = context
        if self.rule is not None:
            self._update(context, self.rule.signal(context, self.state))
        return h

    def learn(self, number: int, gradient: Tensor) -> None:
        """What a batch's gradient with respect to h teaches: of each example's own loss, (1, width, B)."""
        context = self.waiting.pop(number)
        if self.rule is None:
            self._update(context, context.through(gradient / context.examples))
            return
        assert isinstance(context.above, Above)
        context.above.sent, context.above.signal = gradient, gradient
        self.rule.learn([context, context.above], self.state)

    def parameters(self) -> list[Tensor]:
        return self.layer.parameters

    def _update(self, context: Context, signal: Tensor) -> None:
        weight = torch.empty_like(self.layer.parameters[0])
        self.training.step(self.layer, [outer(signal, context.received.t(), weight), signal.sum(-1)])


@dataclass
class Upper:
    """All layers above, with their optimiser and the loss."""

    batches: Batches
    weights: Sequence[Tensor]
    """of all layers but the first, each with its bias"""
    activation: str
    rate: float

    def __post_init__(self) -> None:
        torch.set_num_threads(1)
        target = MLP.of_shapes([tuple(own.shape[1:]) for own in self.weights], self.activation)
        self.population = Population(target, self.weights, "adam", self.rate)
        self.signal = _Handing(Backpropagation(), None)

    def step(self, number: int, h: Tensor) -> Tensor:
        """One step; the gradient of each example's own loss with respect to h."""
        _, y = self.batches(number)
        self.population.apply(self.population.grads(h.transpose(1, 2), y.expand(1, -1), self.signal))
        return self.signal.down

    def parameters(self) -> list[Tensor]:
        return self.population.parameters


@dataclass
class _Handing(Bound):
    """Backpropagation that keeps what would go further down."""

    down: Tensor = field(default_factory=lambda: torch.empty(0))

    def __call__(self, contexts: Sequence[Context]) -> None:
        super().__call__(contexts)
        first = contexts[0]
        assert first.signal is not None
        self.down = first.pull(first.signal) * first.examples


def halves(
    target: MLP,
    start: Sequence[Tensor],
    batches: Batches,
    rate: float,
    rule: SignalRule | None = None,
    seed: int = 0,
    make: Callable[..., Any] = lambda kind, *of: kind(*of),
) -> tuple[Any, Any]:
    """The lower and the upper half of a network.

    Args:
        start: its weights and biases, each (1, *shape).
        batches: shared ones, which both halves read.
        rate: Adam's, of both halves.
        seed: of what the rule draws.
        make: makes one of its class and what that is made of: here, unless told otherwise.
    """
    lower = make(Lower, batches, start[:2], target.widths[-1], seed, target.activation, rate, rule)
    return lower, make(Upper, batches, start[2:], target.activation, rate)


def schedule(steps: int, lag: int) -> Iterator[tuple[str, int]]:
    """("step", n): both halves take step n; ("learn", n): the lower half learns from that batch's gradient."""
    for number in range(steps + lag):
        if number < steps:
            yield "step", number
        if number >= lag:
            yield "learn", number - lag


def here(lower: Lower, upper: Upper, steps: int, lag: int) -> None:
    """Both halves in this process."""
    gradients: dict[int, Tensor] = {}
    for what, number in schedule(steps, lag):
        if what == "step":
            gradients[number] = upper.step(number, lower.step(number))
        else:
            lower.learn(number, gradients.pop(number))


def on_actors(lower: Any, upper: Any, steps: int, lag: int) -> None:
    """Each half an actor: it does what it is given in this order, as soon as what that needs is there."""
    import ray

    gradients: dict[int, Any] = {}
    learnt: list[Any] = []
    for what, number in schedule(steps, lag):
        if what == "step":
            gradients[number] = upper.step.remote(number, lower.step.remote(number))
        else:
            learnt.append(lower.learn.remote(number, gradients.pop(number)))
        if len(learnt) > AHEAD:
            ray.get(learnt.pop(0))
    ray.get(learnt)
