"""Rules that read whole layers: they serve modules that are chains of linear layers, as if these were a population of one.

As soon as the error at the output is known, the contexts of all layers are made, and the rule gives every signal at once. What
autograd would bring to a layer from above is not even computed.

Letters: B examples, P = 1 members.
"""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from pipeline.errors import UserError
from pipeline.learning.modules.contexts import columns
from pipeline.learning.modules.description import ModuleTarget, slot
from pipeline.learning.modules.maps import Linear
from pipeline.learning.modules.passing import Call, Seen, Way, only_first_order
from pipeline.learning.modules.reading import LAYOUTS, activation_of, said
from pipeline.learning.signal import SignalRule
from pipeline.targets import ACTIVATIONS, Context


class Link(Function):
    """What a layer gives, unchanged; backwards the rule's signal, to the layer's own parameters alone.

    It keeps what all layers so far received and gave and their weights, so that the last one's has everything.
    """

    @staticmethod
    def forward(ctx: Any, given: Tensor, received: Tensor, anchor: Tensor, call: Call, way: "Chains", kept: Any) -> Tensor:
        ctx.call, ctx.way = call, way
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*kept)
        return given.clone()  # which an activation in place may overwrite

    @staticmethod
    def backward(ctx: Any, *deltas: Tensor | None) -> tuple[Tensor | None, ...]:
        only_first_order()
        own, below = ctx.way.back(ctx.call, deltas[0], ctx.saved_tensors, ctx.needs_input_grad[1])
        return own, below, None, None, None, None


class Chains(Way):
    """A rule over a chain of linear layers, numbered as they are called."""

    def __init__(self, rule: SignalRule, name: str) -> None:
        super().__init__(rule, name)
        self.activations: list[str] = []

    def enter(self, call: Call, received: Tensor) -> Tensor:
        return received.detach() if received.requires_grad else received

    def leave(self, call: Call, received: Tensor, given: Tensor) -> Tensor:
        if not _is_linear(call.layer, received):
            raise UserError(
                f"layer {call.name!r}, of the kind {type(call.layer).__name__}, receives examples of shape "
                f"{tuple(received.shape[1:])}; the rule {self.name!r} serves chains of linear layers."
            )
        kept: list[Tensor] = call.owner.contexts.setdefault(-1, [])
        kept += [received.detach(), given.detach(), call.layer.weight.detach()]
        anchor = torch.empty(0, requires_grad=True)  # so that the graph is there even where parameters are frozen
        return Link.apply(given, received, anchor, call, self, tuple(kept))

    def describe(self, seen: Sequence[Seen], output: Any) -> ModuleTarget:
        shapes = [tuple(one.call.layer.weight.flatten(1).shape) for one in seen]
        slots = [slot(one.call.name, shape, number) for number, (one, shape) in enumerate(zip(seen, shapes, strict=True))]
        self.names = [one.call.name for one in seen]
        return ModuleTarget(tuple(slots), tuple(enumerate([shape[1] for shape in shapes]))[1:], shapes[-1][0])

    def check(self, seen: Sequence[Seen], output: Any) -> None:
        seen[0].call.owner.contexts.clear()
        twice = [name for name, count in Counter(one.call.name for one in seen).items() if count > 1]
        if twice:
            raise UserError(f"layer {twice[0]!r} is called twice; the rule {self.name!r} serves chains of layers called once.")
        if [one.call.name for one in seen] != self.names:
            raise UserError(
                f"layers {', '.join(one.call.name for one in seen)} were called, and {', '.join(self.names)} when the rule "
                f"{self.name!r} began to serve this model; restore it and begin again."
            )
        last = seen[-1]
        if moved := [one for one in seen if len(one.received) != len(last.received)]:
            raise UserError(
                f"layer {moved[0].call.name!r} receives {len(moved[0].received)} examples, and the last one, "
                f"{last.call.name!r}, {len(last.received)}; the rule {self.name!r} serves chains of layers that keep each "
                "example apart."
            )
        self.activations = [self._between(below, above) for below, above in itertools.pairwise(seen)]

    def _between(self, below: Seen, above: Seen) -> str:
        """The activation between two layers.

        Raises:
            UserError: there is something else.
        """
        node, found, other = above.received.grad_fn, [], []
        while node is not None and node is not below.node:
            name = activation_of(node)
            if name is not None:
                found.append(name)
            elif isinstance(call := getattr(node, "call", None), Call):
                other.append(f"layer {call.name!r}")
            elif not node.name().startswith(LAYOUTS):
                other.append(said(node))
            node = node.next_functions[0][0] if len(node.next_functions) == 1 and not other else None
        if node is None or len(found) != 1:
            between = ", ".join([*found, *other]) or "nothing"
            raise UserError(
                f"between layers {below.call.name!r} and {above.call.name!r} lies {between}; the rule {self.name!r} serves "
                f"chains of linear layers with one of {', '.join(ACTIVATIONS)} between them."
            )
        return found[0]

    def back(
        self, call: Call, delta: Tensor | None, kept: Sequence[Tensor], wanted: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """What goes to a layer's own parameters; to the model's inputs, where they ask for it, what the first layer pulls."""
        own = call.owner
        received, given, weight = kept[-3:]
        if call.is_last:
            if delta is None or len(delta) == 0:  # of no example nothing is learned
                return delta, None
            self._signals(call, delta, kept)
        elif delta is not None:
            raise UserError(
                f"layer {call.name!r} gets a gradient that does not come from the layer above; the rule {self.name!r} serves "
                "models whose outputs all come from one last layer."
            )
        signal = own.signals.pop(call.index, None)
        if signal is None:
            return None, None
        signal = signal[0].t().reshape(given.shape).to(given.dtype)
        below = (signal.flatten(1) @ weight.flatten(1).to(signal)).view(received.shape) if wanted and call.index == 0 else None
        return signal, below

    def _signals(self, call: Call, delta: Tensor, kept: Sequence[Tensor]) -> None:
        """Every layer's signal, by the index of its call."""
        like = kept[-1]
        layers = [[tensor.to(like.dtype) for tensor in kept[start : start + 3]] for start in range(0, len(kept), 3)]
        error = columns(delta.to(like.dtype))
        labels, received = self.labels(error), [columns(x) for x, _, _ in layers]
        zs = [columns(z) for _, z, _ in layers]
        hs = [*received[1:], zs[-1]]
        activations = [*(ACTIVATIONS[name] for name in self.activations), None]
        contexts = [
            Context(
                number, weight.flatten(1)[None], received[number], zs[number], hs[number], error, labels, activations[number]
            )
            for number, (_, _, weight) in enumerate(layers)
        ]
        for below, above in itertools.pairwise(contexts):
            below.above, above.below = above, below
        self.state(contexts)
        for context in contexts:
            if context.signal is None or context.signal.shape != context.z.shape:
                found = "none" if context.signal is None else f"one of shape {tuple(context.signal.shape)}"
                raise ValueError(f"layer {context.layer} needs a signal of shape {tuple(context.z.shape)} and got {found}")
            call.owner.signals[context.layer] = context.signal
            context.above = context.below = None  # so that nothing of them outlives this pass


def _is_linear(layer: Linear, received: Tensor) -> bool:
    """Whether a layer multiplies each example by one matrix: a linear one, or a convolution of one pixel."""
    if isinstance(layer, nn.Linear):
        return received.dim() == 2
    space = len(layer.kernel_size)
    one_pixel = received.dim() == space + 2 and received[0].numel() == received.shape[1] and math.prod(layer.kernel_size) == 1
    return one_pixel and layer.groups == 1 and layer.padding in ((0,) * space, "valid", "same")
