"""A learning rule in anyone's own training loop::

    from grad_instructor.learning import replace, restore

    replace(model, "dfa", seed=0)
    loss_function(model(x), y).backward()   # each parameter's .grad is what the rule has in the gradient's place
    optimizer.step()
    restore(model)                          # backpropagation again, and no trace

The model computes what it computed. Hooks on it and on its layers see a forward pass, and autograd does backwards all but what
the rule says. Between a layer and its rule nothing may stand: hooks of others that change what a layer receives come before,
and those that change what it gives come after. A full backward hook of a layer sees no gradient of its inputs.
"""

import operator
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils.hooks import RemovableHandle

from pipeline.errors import UserError, shown
from pipeline.learning import SignalRule, named, require_gradient
from pipeline.learning.modules.chains import Chains
from pipeline.learning.modules.layers import Layers
from pipeline.learning.modules.passing import Call, Pass, Seen, Way
from pipeline.learning.modules.positions import Positions, positions_of
from pipeline.learning.modules.reading import check_products, check_seen, layers_of, tensors_of
from pipeline.learning.signal import Bound, to
from pipeline.targets import Target


def replace(model: nn.Module, rule: SignalRule | str, seed: int = 0, **settings: Any) -> "Replaced":
    """Make a module learn by a rule; one that it learned by before is restored first.

    The rule gets its state, such as random feedback, from the seed alone, at the first forward pass that autograd follows;
    layers are numbered as this pass calls them. There a rule that cannot serve the model says so. Lazy layers are served.

    Args:
        rule: a learning rule, or its name.
        settings: of a rule given by its name, such as ``phi`` of ``pblf``.

    Raises:
        UserError: no such rule or setting, or a layer that no rule serves; it is named.
    """
    if not isinstance(model, nn.Module):
        raise UserError(f"a learning rule serves an nn.Module, and this is of the kind {type(model).__name__}.")
    if isinstance(model, torch.jit.ScriptModule) or hasattr(model, "_orig_mod"):
        raise UserError(
            "a compiled model has no layers that a learning rule could serve; replace the rule of the model itself."
        )
    name = rule if isinstance(rule, str) else type(rule).__name__
    if settings and not isinstance(rule, str):
        raise UserError(f"the settings {', '.join(settings)} are those of a rule given by its name; make the rule with them.")
    found = named(rule, **settings) if isinstance(rule, str) else rule
    if not isinstance(found, SignalRule):
        raise UserError(f"{type(found).__name__} is no learning rule; give one, or the name of one.")
    own_seed, layers = _whole(seed), layers_of(model)
    restore(model)
    _leave_hooks_to_python()
    for layer, own in layers.items():
        if _of(layer, "leave") is not None:
            raise UserError(f"layer {own!r} learns by a rule of a part of this model, or of a larger one; restore that first.")
    return Replaced(model, found, name, own_seed, layers)


def restore(model: nn.Module) -> None:
    """Let a module learn by backpropagation again, as if :func:`replace` had never been called; else it stays as it is."""
    if (own := replaced(model)) is not None:
        own.remove()
        torch.compiler.reset()


def replaced(model: nn.Module) -> "Replaced | None":
    """The rule that a module learns by, with its state; of a copied module its own."""
    return _of(model, "begin")


def of_a_rule(hook: Any) -> bool:
    """Whether a forward hook is there for a learning rule; it changes nothing of what is computed."""
    return isinstance(getattr(hook, "__self__", None), Replaced)


def require_gradient_of(model: nn.Module, reader: str) -> None:
    """Nothing, if what goes back in a module is the gradient of the loss.

    Args:
        reader: what needs it, as the sentence begins.

    Raises:
        UserError: it learns by another rule, or a part of it does.
    """
    for layer in model.modules():
        if (own := replaced(layer)) is not None:
            require_gradient(own.rule, reader)


@contextmanager
def gradient(model: nn.Module) -> Iterator[None]:
    """Forward passes in this context are followed by backpropagation, whatever rule the module learns by."""
    own = {found for layer in model.modules() if (found := replaced(layer)) is not None}
    before = {one: one.paused for one in own}
    for one in own:
        one.paused = True
    try:
        yield
    finally:
        for one, paused in before.items():
            one.paused = paused


class Replaced:
    """A module's rule and what it remembers; made by :func:`replace`.

    Attributes:
        rule: the learning rule.
        seed: from which it drew what is random.
        paused: whether forward passes are left to backpropagation.
    """

    def __init__(self, model: nn.Module, rule: SignalRule, name: str, seed: int, layers: dict[nn.Module, str]) -> None:
        self.rule, self.name, self.seed, self.paused = rule, name, seed, False
        self._layers = layers
        self._target: Target | None = None
        self._given: Mapping[str, Tensor] = {}
        self._pass: Pass | None = None
        self._seen: list[Seen] = []
        positions = positions_of(model) if rule.serves == "positions" else {}
        self._watched = positions or layers
        self._way: Way = (
            Layers(rule, name)
            if rule.serves == "layers"
            else Chains(rule, name)
            if rule.serves == "chains"
            else Positions(rule, name, bool(positions))
        )
        self._handles: list[RemovableHandle] = [model.register_forward_pre_hook(self.begin)]
        for layer in self._watched:
            self._handles.append(layer.register_forward_pre_hook(self.enter, with_kwargs=True))
            self._handles.append(layer.register_forward_hook(self.leave, prepend=True))  # before what changes its outputs
        self._handles.append(model.register_forward_hook(self.end, always_call=True))

    def remove(self) -> None:
        """What :func:`restore` does."""
        for handle in self._handles:
            handle.remove()

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of what the rule remembers, such as its feedback, by name. With the model's and the optimiser's own it
        continues a run to the bit."""
        bound = self._way.bound
        return {"seed": torch.tensor(self.seed)} | ({} if bound is None else bound.state_dict())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of :meth:`state_dict`; before the first forward pass it is kept until then.

        Raises:
            UserError: the state of another rule or model (before the first forward pass: there).
        """
        if "seed" not in state:
            raise UserError(
                "the saved state of the learning rule is none of a model's; give what state_dict() of its rule gave."
            )
        given = {name: tensor for name, tensor in state.items() if name != "seed"}
        if self._way.bound is None:
            self.seed, self._given = int(state["seed"]), given
        else:
            self._way.bound, self.seed = self._bound(int(state["seed"]), given), int(state["seed"])

    # hooks

    def begin(self, model: nn.Module, arguments: Any) -> None:
        """A forward pass begins."""
        self._pass, self._seen = None if self.paused else Pass(), []
        bound, like = self._way.bound, next(iter(self._layers)).weight
        if bound is not None and isinstance(like, Tensor):
            bound.state = to(bound.state, like)

    def enter(self, layer: nn.Module, arguments: Any, named_arguments: dict[str, Any]) -> Any:
        """A layer, or a position, is called."""
        if self._pass is not None:
            self._pass.called.add(self._watched.get(layer, ""))
        if self.paused or not torch.is_grad_enabled():
            return None
        if layer not in self._watched:
            raise UserError(
                f"a replica of the model is called, as nn.DataParallel makes them, which the rule {self.name!r} does not "
                "serve; use DistributedDataParallel."
            )
        if self._pass is None:
            raise UserError(
                f"layer {self._watched[layer]!r} is called outside of its model's forward pass, where the rule {self.name!r} "
                "cannot serve it; call the whole model, without checkpointing."
            )
        if torch._C._functorch.peek_interpreter_stack() is not None:  # pyright: ignore[reportAttributeAccessIssue]
            raise UserError(
                f"torch.func takes its own way backwards, which the rule {self.name!r} cannot serve; use backward(), or "
                "restore the model first."
            )
        first = arguments[0] if arguments else named_arguments["input"]
        call = Call(self._watched[layer], layer, self._pass.count, self._pass)
        self._check_numbers(call, first)
        self._pass.count, self._pass.last = self._pass.count + 1, call.name
        seen = Seen(call, first, self._way.enter(call, first))
        self._seen.append(seen)
        return (seen.entered, *arguments[1:]), {key: value for key, value in named_arguments.items() if key != "input"}

    def _check_numbers(self, call: Call, received: Tensor) -> None:
        if received.is_complex():
            raise UserError(f"layer {call.name!r} receives complex numbers, which no learning rule serves; give it real ones.")
        if forward_ad._current_level >= 0:
            raise UserError(
                f"forward-mode differentiation takes its own way through layer {call.name!r}, which the rule {self.name!r} "
                "cannot serve; restore the model first."
            )

    def leave(self, layer: nn.Module, arguments: Any, given: Tensor) -> Tensor | None:
        """It has done."""
        if self.paused or not torch.is_grad_enabled() or self._pass is None:
            return None
        seen = next(one for one in reversed(self._seen) if one.call.layer is layer)
        if self._way.reroutes:
            self._check_hooks(seen, arguments)
        seen.given = given = self._way.leave(seen.call, seen.received, given)
        seen.node = given.grad_fn
        return given

    def _check_hooks(self, seen: Seen, arguments: Any) -> None:
        """Nothing, if the layer has received what the rule has seen and gives it what it has computed."""
        if arguments[0] is not seen.entered:
            raise UserError(
                f"a hook changes what layer {seen.call.name!r} receives after the rule {self.name!r} has seen it; register the "
                "hook before the rule is replaced."
            )
        if getattr(next(iter(seen.call.layer._forward_hooks.values())), "__self__", None) is not self:
            raise UserError(
                f"a hook sees what layer {seen.call.name!r} gives before the rule {self.name!r} does; register the hook "
                "without prepend=True, or before the rule is replaced."
            )

    def end(self, model: nn.Module, arguments: Any, output: Any) -> None:
        """A forward pass is over; the first one that autograd follows tells the rule what it serves."""
        own, seen, self._pass, self._seen = self._pass, self._seen, None, []
        if own is None or not any(tensor.requires_grad for tensor in tensors_of(output)):
            return
        if self._way.bound is None:
            if missing := [name for name in self._watched.values() if name not in own.called]:
                raise UserError(
                    f"layer {missing[0]!r} is not called in the model's forward pass, so that the rule {self.name!r} cannot "
                    "serve it; leave it out of the model, or call it."
                )
            starts = [*(tensor.grad_fn for tensor in tensors_of(output)), *(one.received.grad_fn for one in seen)]
            check_seen(starts)
            if not isinstance(self._way, Positions):
                check_products(starts, {one.node for one in seen}, model)
            self._target = self._way.describe(seen, output)
            self._way.bound, self._given = self._bound(self.seed, self._given), {}
        self._way.check(seen, output)

    def _bound(self, seed: int, given: Mapping[str, Tensor]) -> Bound:
        """The rule with a state from the seed, or with the one that is given."""
        assert self._target is not None
        like = next(iter(self._layers)).weight
        assert isinstance(like, Tensor)
        bound = Bound(self.rule, to(self.rule.init(self._target, [seed]), like))
        if given:
            bound.load_state_dict(given)
        return bound


def _whole(seed: Any) -> int:
    """The seed, of which a saved state has 64 bits."""
    try:
        found = operator.index(seed)
    except TypeError:
        found = None
    if found is None or not -(1 << 63) <= found < 1 << 63:
        raise UserError(f"the seed of a learning rule is {shown(seed)}; give a whole number of at most 64 bits.")
    return found


def _leave_hooks_to_python() -> None:
    """What is compiled has its graph broken at hooks, and is compiled anew where it was before there were any: it would not
    look for them. (Done at the first need, as it imports the compiler.)"""
    for name in ("begin", "enter", "leave", "end"):
        method = getattr(Replaced, name)
        if not hasattr(method, "_torchdynamo_disable"):
            setattr(Replaced, name, torch.compiler.disable(method))
    torch.compiler.reset()


def _of(layer: nn.Module, method: str) -> "Replaced | None":
    """The one of which a hook on the layer is this method."""
    for hook in [*layer._forward_pre_hooks.values(), *layer._forward_hooks.values()]:
        own = hook.__self__ if isinstance(hook, MethodType) and hook.__name__ == method else None
        if isinstance(own, Replaced):
            return own
    return None
