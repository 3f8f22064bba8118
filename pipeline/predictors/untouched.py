"""A network that is used and left as it was."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from pipeline.learning.modules import gradient

NOISE = (nn.modules.dropout._DropoutNd, nn.RReLU, nn.MultiheadAttention)
"""modules that draw random numbers while they train"""


@contextmanager
def untouched(network: nn.Module, seed: int) -> Iterator[None]:
    """Within, ``network`` is in training mode without noise, all of its parameters take gradients, by backpropagation whatever
    its learning rule is and in full precision, and torch's random numbers come from ``seed``; afterwards modes, buffers,
    ``requires_grad`` and random numbers are what they were. (Gradients are asked for by ``torch.autograd.grad``, so that
    nothing comes into ``.grad``.)"""
    modes = {module: module.training for module in network.modules()}
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
        torch.manual_seed(seed)
        try:
            for module in modes:
                module.training = not isinstance(module, NOISE)
            for parameter in frozen:
                parameter.requires_grad_(True)
            yield
        finally:
            for parameter in frozen:
                parameter.requires_grad_(False)
            for module, training in modes.items():
                module.training = training
            for (module, name), (buffer, before) in buffers.items():
                _put_back(module, name, buffer, before)


def _put_back(module: nn.Module, name: str, buffer: Tensor | None, before: Tensor | None) -> None:
    module._buffers[name] = buffer
    if buffer is not None and before is not None and not _same(buffer, before):
        with torch.no_grad():
            buffer.copy_(before)


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())
