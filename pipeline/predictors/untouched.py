"""A network that is used and left as it was."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from pipeline.learning.modules import gradient
from pipeline.predictors import recurrent
from pipeline.targets.nasbench201 import CellNetwork

NOISE = (nn.modules.dropout._DropoutNd, nn.RReLU, nn.MultiheadAttention)
"""modules that draw random numbers while they train"""
OTHERS_NOISE = ("StochasticDepth", "DropPath")
"""such modules of other libraries (torchvision, timm), by the names of their classes"""
DROPOUTS = {
    getattr(home, name)
    for home, names in (
        (F, "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout"),
        (torch, "dropout dropout_ alpha_dropout alpha_dropout_ feature_dropout feature_dropout_ feature_alpha_dropout"),
    )
    for name in names.split()
}
"""functions that leave their input as it is where there is no noise"""
AT = 4
"""place of the probability among the arguments of scaled_dot_product_attention"""


class Quiet(TorchFunctionMode):
    """Within, functions drop nothing out, whether a module calls them or a network's own ``forward``."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if func in DROPOUTS:
            return args[0] if args else kwargs["input"]
        if func in recurrent.LAYERS:
            args = recurrent.without_dropout(args)
        if func is F.scaled_dot_product_attention:
            args, kwargs = (*args[:AT], *([0.0] if len(args) > AT else []), *args[AT + 1 :]), dict(kwargs)
            kwargs |= {"dropout_p": 0.0} if "dropout_p" in kwargs else {}
        return func(*args, **kwargs)


@contextmanager
def untouched(network: nn.Module, seed: int) -> Iterator[None]:
    """Within, ``network`` is in training mode without noise, all of its parameters take gradients, by backpropagation whatever
    its learning rule is and in full precision, and torch's random numbers come from ``seed``; afterwards modes, buffers,
    ``requires_grad``, random numbers and the modules' attributes are what they were. (Gradients are asked for by
    ``torch.autograd.grad``, so that nothing comes into ``.grad``.)"""
    attributes = {module: _attributes(module) for module in network.modules()}
    buffers = {
        (module, name): (buffer, None if buffer is None else buffer.clone())
        for module in network.modules()
        for name, buffer in module._buffers.items()
    }
    frozen = [parameter for parameter in network.parameters() if not parameter.requires_grad]
    kinds = {parameter.device.type for parameter in network.parameters()}
    devices = {parameter.device for parameter in network.parameters() if parameter.device.type == "cuda"}
    with ExitStack() as within:
        within.enter_context(gradient(network))
        within.enter_context(torch.random.fork_rng(devices=list(devices)))
        for kind in sorted(kinds):
            within.enter_context(torch.autocast(kind, enabled=False))
        within.enter_context(torch.inference_mode(False))
        within.enter_context(torch.enable_grad())
        if not isinstance(network, CellNetwork):  # a cell's has none, and every call would cost some microseconds more
            within.enter_context(Quiet())
        if any(hasattr(module, "_orig_mod") or module._compiled_call_impl is not None for module in attributes):
            within.enter_context(torch.compiler.set_stance("force_eager"))  # what is compiled cannot be watched
        torch.manual_seed(seed)
        try:
            for module in attributes:
                module.training = not isinstance(module, NOISE) and type(module).__name__ not in OTHERS_NOISE
            for parameter in frozen:
                parameter.requires_grad_(True)
            yield
        finally:
            for parameter in frozen:
                parameter.requires_grad_(False)
            for module, before in attributes.items():
                _forget(module, before)
            for (module, name), (buffer, before) in buffers.items():
                _put_back(module, name, buffer, before)


def _attributes(module: nn.Module) -> dict[str, Any]:
    """What it has, and what is in its tables of parameters, buffers and the like; tensors as they are."""
    return {name: (value, dict(value) if isinstance(value, dict) else None) for name, value in vars(module).items()}


def _forget(module: nn.Module, before: dict[str, Any]) -> None:
    """Undo what a forward pass has set: features that are kept, a buffer that is made at the first call, a counter."""
    own = vars(module)
    for name in [name for name in own if name not in before]:
        del own[name]
    for name, (value, table) in before.items():
        own[name] = value
        if table is not None and (value.keys() != table.keys() or any(value[key] is not table[key] for key in table)):
            value.clear()
            value.update(table)


def _put_back(module: nn.Module, name: str, buffer: Tensor | None, before: Tensor | None) -> None:
    module._buffers[name] = buffer
    if buffer is not None and before is not None and not _same(buffer, before):
        with torch.no_grad():
            buffer.copy_(before)


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())
