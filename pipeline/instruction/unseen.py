"""A forward pass of somebody's module that leaves no trace.

While it lasts every submodule is in evaluation mode, hooks of others and those of a learning rule are out of the way, autocast,
inference mode and compilation are off, and chance is drawn from a stream of its own. Afterwards all is as it was, whatever
happened: modes, attributes, lists and dictionaries of every submodule, hooks, the random state of torch, numpy and Python.
(Parameters and buffers are the caller's: it gives the forward pass copies.)
"""

import contextlib
import random
import sys
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks

from pipeline.enn.readers import Unreadable
from pipeline.learning.modules import of_a_rule

BEFORE, AFTER = "_forward_pre_hooks", "_forward_hooks"
BACKWARD = ("_backward_hooks", "_backward_pre_hooks")
HOOKS = ("refuse", "ignore", "fire")
"""what becomes of forward hooks that are not torch's own"""
SEED = 0
"""of the stream in which a module that draws at random even in evaluation mode does so, the same at every reading"""


@contextlib.contextmanager
def unseen(model: nn.Module, hooks: str = "refuse") -> Iterator[None]:
    """Within it ``model`` may be called, and differentiated, without a trace.

    Args:
        hooks: of ``HOOKS``.

    Raises:
        Unreadable: a layer has a forward hook, and hooks are refused.
    """
    modules = [(name, module) for name, module in model.named_modules()]
    if hooks == "refuse":
        _refuse_hooks(modules)
    kept = [_Kept(module) for _, module in modules]
    try:
        for _, module in modules:
            module.__dict__["training"] = False  # no dropout, and running statistics where there are any
            _silence(module, fire=hooks == "fire")
        with _chance(model), _plain(model):
            yield
    finally:
        for own in kept:
            own.restore()


@contextlib.contextmanager
def undisturbed(hooks: str) -> Iterator[None]:
    """Without hooks that were registered for every module there is, the ENN's own among them; and outside of inference mode.

    Raises:
        Unreadable: there are forward hooks of this kind, and they are not ignored.
    """
    everywhere = [getattr(global_hooks, name) for name in _GLOBAL]
    if hooks != "ignore" and any(everywhere[:2]):
        raise Unreadable(
            "a forward hook is registered for every layer of every module, the ENN's too; remove it, or give hooks='ignore' if "
            "it only looks on."
        )
    kept = [hook.copy() for hook in everywhere]
    try:
        for hook in everywhere:
            hook.clear()
        with torch.inference_mode(False):
            yield
    finally:
        for hook, before in zip(everywhere, kept, strict=True):
            _put_back(hook, before)


_GLOBAL = ("_global_forward_pre_hooks", "_global_forward_hooks", "_global_backward_hooks", "_global_backward_pre_hooks")


class _Kept:
    """What one module is made of."""

    def __init__(self, module: nn.Module) -> None:
        self.attributes, self.own = module.__dict__, dict(module.__dict__)
        held = self.own.values()
        self.containers = [(value, value.copy()) for value in held if isinstance(value, dict | list | set | deque)]
        self.tensors = [
            (value, value._version, value.detach().clone())
            for value in held
            if isinstance(value, Tensor) and not value.is_inference()
        ]

    def restore(self) -> None:
        self.attributes.clear()
        self.attributes.update(self.own)
        for value, before in self.containers:
            _put_back(value, before)
        for value, version, before in self.tensors:
            if value._version != version:
                with torch.no_grad():
                    value.detach().copy_(before)


def _put_back(value: Any, before: Any) -> None:
    """The same members in the same order, in place."""
    if len(value) == len(before):
        pairs = zip(value.items(), before.items(), strict=True) if isinstance(value, dict) else zip(value, before, strict=True)
        if not isinstance(value, set) and all(one is other or _same_item(one, other) for one, other in pairs):
            return
        if isinstance(value, set) and value == before:
            return
    value.clear()
    value.extend(before) if isinstance(value, list | deque) else value.update(before)


def _same_item(one: Any, other: Any) -> bool:
    """Whether two entries of a dictionary are one."""
    pair = isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other) == 2
    return pair and all(own is its for own, its in zip(one, other, strict=True))


def _of_torch(hook: Any) -> bool:
    """Whether a hook is part of what the module computes: pruning, weight_norm and spectral_norm make their weights so."""
    return any(kind.__module__.startswith("torch.nn.utils") for kind in type(hook).__mro__)


def _refuse_hooks(modules: list[tuple[str, nn.Module]]) -> None:
    found = [
        name or "the model itself"
        for name, own in modules
        for kind in (BEFORE, AFTER)
        for hook in getattr(own, kind).values()
        if not _of_torch(hook) and not of_a_rule(hook)
    ]
    if found:
        raise Unreadable(
            f"layer {found[0]!r} has a forward hook, which may change what is computed and would see the ENN's probes; remove "
            "it, or give hooks='ignore' if it only looks on, hooks='fire' if it belongs to the model."
        )


def _silence(module: nn.Module, fire: bool) -> None:
    own = module.__dict__
    own.update({name: OrderedDict() for name in BACKWARD})
    for name in (BEFORE, AFTER):
        kept = [(key, hook) for key, hook in own[name].items() if (fire or _of_torch(hook)) and not of_a_rule(hook)]
        own[name] = OrderedDict(kept)


@contextlib.contextmanager
def _chance(model: nn.Module) -> Iterator[None]:
    """Randomness of its own, torch's from ``SEED``; afterwards every generator is where it was."""
    devices = sorted({own.device for own in model.parameters() if own.device.type not in ("cpu", "meta")}, key=str)
    accelerators = [getattr(torch, device.type) for device in devices]
    before, numpy = random.getstate(), sys.modules.get("numpy")
    of_numpy = numpy.random.get_state() if numpy else None
    of_torch = torch.get_rng_state()
    of_devices = [own.get_rng_state(device) for own, device in zip(accelerators, devices, strict=True)]
    try:
        torch.default_generator.manual_seed(SEED)
        for own, device in zip(accelerators, devices, strict=True):
            with own.device(device):
                own.manual_seed(SEED)
        yield
    finally:
        random.setstate(before)
        torch.set_rng_state(of_torch)
        for own, device, state in zip(accelerators, devices, of_devices, strict=True):
            own.set_rng_state(state, device)
        if numpy:
            numpy.random.set_state(of_numpy)


@contextlib.contextmanager
def _plain(model: nn.Module) -> Iterator[None]:
    """Gradients on, autocast and compilation off."""
    kinds = sorted({own.device.type for own in model.parameters()} | {"cpu"})
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in kinds:
            if torch.amp.is_autocast_available(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if "torch._dynamo" in sys.modules:  # else nothing was compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield
