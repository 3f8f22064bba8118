"""Rules that serve any module of linear and convolutional layers: they say what each layer sends to its inputs.

Everything else is autograd's: the layers' own gradients, and what lies between layers.

Letters: B examples, K values of one example at the output.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function, Variable

from pipeline.errors import UserError
from pipeline.learning.modules.contexts import NOTHING, Above, Between, by_channel, by_example, columns
from pipeline.learning.modules.description import ModuleTarget, slot
from pipeline.learning.modules.maps import batched, channels_of, pull
from pipeline.learning.modules.passing import Call, Pass, Seen, Way, only_first_order
from pipeline.learning.modules.reading import tensors_of, upwards
from pipeline.learning.signal import SignalRule


class Rerouted(Function):
    """What a layer gives, unchanged. Backwards it goes to the layer's own parameters as it came, and what a rule makes of it to
    the layer's inputs, which the layer itself has seen detached."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, received: Tensor, weight: Tensor, call: Call, way: "Layers") -> Tensor:
        ctx.call, ctx.way = call, way
        ctx.set_materialize_grads(False)  # what a layer does not get it does not send
        ctx.save_for_backward(received, weight)
        return given.detach()

    @staticmethod
    def backward(ctx: Any, *deltas: Tensor | None) -> tuple[Tensor | None, ...]:
        only_first_order()
        (delta,) = deltas
        below = None
        if delta is not None:
            received, weight = ctx.saved_tensors
            below = ctx.way.back(ctx.call, delta, received, weight, ctx.needs_input_grad[1])
        return delta, below, None, None, None


class Layers(Way):
    """Layers are numbered as they are first called, from 0; the last call is the output."""

    def __init__(self, rule: SignalRule, name: str) -> None:
        super().__init__(rule, name)
        self.numbers: dict[str, int] = {}
        self.around: str | None = None
        """a layer from which there is a way to the outputs around the last one"""
        self.learns = type(rule).learn is not SignalRule.learn

    def enter(self, call: Call, received: Tensor) -> Tensor:
        if received.dim() < batched(call.layer):
            raise UserError(
                f"layer {call.name!r} receives one example without a batch; the rule {self.name!r} takes a batch: give x[None]."
            )
        return received.detach() if received.requires_grad else received

    def leave(self, call: Call, received: Tensor, given: Tensor) -> Tensor:
        return Rerouted.apply(given, received, call.layer.weight.detach(), call, self)

    def describe(self, seen: Sequence[Seen], output: Any) -> ModuleTarget:
        names = list(dict.fromkeys(one.call.name for one in seen))
        calls = Counter(one.call.name for one in seen)
        before = seen[0].received
        pulls = calls[names[0]] > 1 or (before.requires_grad and not before.is_leaf)  # so that the first layer pulls as well
        self.numbers = {name: number for number, name in enumerate(names, start=int(pulls))}
        slots, widths = {}, {}
        for one in seen:
            number = self.numbers[one.call.name]
            slots[number] = slot(one.call.name, one.call.layer.weight.shape, number)
            if number > 0 and (one is not seen[0] or before.requires_grad):  # to the model's inputs nothing is sent
                axis = channels_of(one.call.layer)
                widths.setdefault(number, one.received.shape[axis] if self.rule.columns else math.prod(one.received.shape[1:]))
        last = seen[-1]
        assert last.given is not None
        nodes = {one.node: one.call for one in seen if one.node is not None and one is not last}
        starts = [tensor.grad_fn for tensor in tensors_of(output)]
        beside = [nodes[node] for node in upwards(starts, lambda node: node is last.node or node in nodes) if node in nodes]
        self.around = beside[0].name if beside else None
        return ModuleTarget(tuple(slots.values()), tuple(sorted(widths.items())), math.prod(last.given.shape[1:]))

    def check(self, seen: Sequence[Seen], output: Any) -> None:
        for one in seen:
            if one.call.name not in self.numbers:
                raise UserError(
                    f"layer {one.call.name!r} was not called when the rule {self.name!r} began to serve this model; restore "
                    "the model and begin again."
                )

    def back(self, call: Call, delta: Tensor, received: Tensor, weight: Tensor, wanted: bool) -> Tensor | None:
        """What the layer sends to its inputs where δ comes back to what it gave."""
        own, number = call.owner, self.numbers[call.name]
        if call.is_last:
            own.error, own.labels = columns(delta), None
        if len(received) == 0:  # of no example nothing is learned
            return torch.zeros_like(received)
        if self.learns and not own.learning:
            own.learning = True
            Variable._execution_engine.queue_callback(lambda: self._learn(call))  # pyright: ignore[reportAttributeAccessIssue]
        if not wanted:
            return None
        if number == 0:  # the model's inputs: of no layer
            return pull(call.layer, weight, delta, received).to(received.dtype)
        signal = self.rule.signal(self._between(call, number, delta, received, weight), self.state.state)
        if self.rule.columns:
            signal = by_example(signal, received, channels_of(call.layer))
        if signal.shape != received.shape:
            raise ValueError(
                f"layer {call.name!r} sends back {tuple(received.shape)}; the rule {self.name!r} gives {tuple(signal.shape)}"
            )
        return signal.to(received.device, received.dtype)

    def _between(self, call: Call, number: int, delta: Tensor, received: Tensor, weight: Tensor) -> Between:
        """What the rule sees: the layer and what it received."""
        own, h, by_pixel = call.owner, received, self.rule.columns
        error = NOTHING if own.error is None else own.error
        labels = self._labels(own, call.name) if self.rule.labels else received.new_empty(len(received), dtype=torch.int64)
        if by_pixel:
            axis = channels_of(call.layer)
            h, pixels = by_channel(received, axis).to(weight.dtype), received[0].numel() // received.shape[axis]
            labels, error = labels.repeat_interleave(pixels), error.to(weight.dtype)
            error = error.repeat_interleave(pixels, -1) if self.rule.labels else error
        above = Above(number, weight[None], received, NOTHING, NOTHING, error, labels, None, signal=delta, map=call.layer)
        between = Between(number - 1, NOTHING, NOTHING, h, h, error, labels, None, above=above, place=call.name)
        above.columns, between.unknown = by_pixel, self._unknown(own, call.name, len(received))
        if self.learns:
            own.contexts[call.index] = between if by_pixel else above
        return between

    def _labels(self, own: Pass, name: str) -> Tensor:
        if own.labels is None and own.error is not None:
            own.labels = self.labels(own.error)
        if own.labels is None:
            raise UserError(self._unknown(own, name))
        return own.labels

    def _unknown(self, own: Pass, name: str, examples: int = 0) -> str:
        """Why the error of the output is not what all layers learn by, or not what this one does; empty where it is."""
        if self.around is None and own.error is not None:
            if examples == own.error.shape[-1]:
                return ""
            return (
                f"layer {name!r} receives {examples} examples, and the output gives {own.error.shape[-1]}; the rule "
                f"{self.name!r} serves models that keep each example apart, on the first axis."
            )
        return (
            f"layer {self.around or name!r} reaches the model's outputs around the last layer, {own.last!r}; the rule "
            f"{self.name!r} serves models whose outputs all come from one last layer."
        )

    def _learn(self, call: Call) -> None:
        own = call.owner
        contexts = [own.contexts[index] for index in sorted(own.contexts)]
        own.contexts, own.learning = {}, False
        self.rule.learn(contexts, self.state.state)
