"""Rules that change what goes back at points of a module, and nothing else: layers pull as they are.

A module says where by its :class:`pipeline.targets.position.Position`s. One without any has a position before each linear or
convolutional layer but the first: in a multilayer perceptron each hidden layer's h. Positions count as they are called.

Letters: B examples.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.autograd import Function

from pipeline.errors import UserError
from pipeline.learning.modules.contexts import NOTHING, Above, Between
from pipeline.learning.modules.description import ModuleTarget, slot
from pipeline.learning.modules.passing import Call, Seen, Way, only_first_order
from pipeline.learning.modules.reading import activations_of
from pipeline.learning.signal import SignalRule
from pipeline.targets import ACTIVATIONS
from pipeline.targets.position import Position


class Point(Function):
    """h, unchanged; backwards what a rule makes of δ."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, call: Call, way: "Positions") -> Tensor:
        ctx.call, ctx.way = call, way
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(h)
        return h.detach()

    @staticmethod
    def backward(ctx: Any, *deltas: Tensor | None) -> tuple[Tensor | None, ...]:
        only_first_order()
        (delta,) = deltas
        (h,) = ctx.saved_tensors
        return None if delta is None else ctx.way.back(ctx.call, delta, h), None, None


class Positions(Way):
    """A rule at positions."""

    reroutes = False

    def __init__(self, rule: SignalRule, name: str, own: bool) -> None:
        super().__init__(rule, name)
        self.own = own
        """whether the module has positions"""
        self.activation: str | None = None
        self.count = 0

    def enter(self, call: Call, received: Tensor) -> Tensor:
        point = received.requires_grad and (self.own or call.index > 0)
        return Point.apply(received, call, self) if point else received

    def describe(self, seen: Sequence[Seen], output: Any) -> ModuleTarget:
        points = seen if self.own else seen[1:]
        self.count = len(points)
        found = activations_of([points[-1].received.grad_fn]) if points else []
        if points and len(found) != 1:
            among = f"uses {' and '.join(found)}" if found else f"has none of {', '.join(ACTIVATIONS)}"
            raise UserError(f"the rule {self.name!r} reads the one activation that a model has, and this one {among}.")
        self.activation = found[0] if found else None
        slots = tuple(slot(f"position{number + 1}", (1, 1), number) for number in range(len(points) + 1))
        return ModuleTarget(slots, (), 1)

    def check(self, seen: Sequence[Seen], output: Any) -> None:
        if len(seen) - (not self.own) != self.count:
            raise UserError(
                f"the model passes {len(seen) - (not self.own)} positions and passed {self.count} when the rule {self.name!r} "
                "began to serve it; restore it and begin again."
            )

    def back(self, call: Call, delta: Tensor, h: Tensor) -> Tensor:
        """What comes before the position where δ comes back to it."""
        index = call.index - (not self.own)
        activation = None if self.activation is None else ACTIVATIONS[self.activation]
        above = Above(index + 1, NOTHING, h, NOTHING, NOTHING, NOTHING, NOTHING, None, signal=delta)
        between = Between(index, NOTHING, NOTHING, h, h, NOTHING, NOTHING, activation, above=above, place=call.name)
        return self.rule.signal(between, self.state.state).to(h.dtype)


def positions_of(model: nn.Module) -> dict[nn.Module, str]:
    """The names of a module's positions."""
    return {layer: name for name, layer in model.named_modules() if isinstance(layer, Position)}
