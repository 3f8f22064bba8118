"""What somebody's module is wrapped in, the processes that train it together, and what cannot be read at all."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from pipeline.enn.readers import Unreadable
from pipeline.errors import UserError

SHARDED = ("FullyShardedDataParallel", "FSDPModule")
"""classes whose modules hold a part of their weights each"""


def unwrapped(model: Any) -> nn.Module:
    """The module itself, out of ``torch.compile`` and of (distributed) data parallelism.

    Raises:
        Unreadable: it is no module, or its weights are not all here.
    """
    while isinstance(model, nn.Module):
        _check_whole(model)
        if isinstance(inner := model._modules.get("_orig_mod"), nn.Module):
            model = inner
        elif isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        else:
            break
    if not isinstance(model, nn.Module):
        raise Unreadable(f"what is to be instructed is a {type(model).__name__}; give a torch.nn.Module.")
    for name, tensor in model.named_parameters():
        _check(name, tensor)
    return model


def mean_over(model: Any) -> Callable[[Tensor], Tensor]:
    """The mean, over the processes that train ``model``, of numbers that each has measured; they wait for each other.

    Raises:
        UserError: there are several processes, and the model is not what they have in common.
    """
    while isinstance(model, nn.Module) and not isinstance(model, nn.parallel.DistributedDataParallel):
        model = model._modules.get("_orig_mod")
    several = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
    if not several:
        return lambda own: own
    if model is None:
        raise UserError(
            "there are several processes, whose validation data may tell each something else; give the "
            "DistributedDataParallel module to instruct, not the one inside, or leave validation out."
        )

    def mean(own: Tensor) -> Tensor:
        there = own.to(next(model.parameters()).device)
        distributed.all_reduce(there, group=model.process_group)
        return (there / distributed.get_world_size(model.process_group)).to(own.device)

    return mean


def _check_whole(model: nn.Module) -> None:
    for name, module in model.named_modules():
        where, kinds = f"layer {name!r}" if name else "the model", [kind.__name__ for kind in type(module).__mro__]
        if isinstance(module, torch.jit.ScriptModule):
            raise Unreadable(
                f"{where} is a TorchScript module, which cannot be read without a trace; give what it was made of."
            )
        if any(kind in SHARDED for kind in kinds):
            raise Unreadable(
                f"{where} is sharded (FSDP), so that no process has all weights that the ENN would read; train it with "
                "DistributedDataParallel, or without an ENN."
            )


def _check(name: str, tensor: Tensor) -> None:
    if isinstance(tensor, UninitializedParameter | UninitializedBuffer):
        raise Unreadable(f"{name} of a lazy layer has no values yet; call the model once before it is instructed.")
    if tensor.device.type == "meta":
        raise Unreadable(f"{name} is on the meta device and has no values; move the model to a device first.")
    if tensor.is_complex():
        raise Unreadable(f"{name} is complex, which no ENN can read; use real weights.")
    kinds = [kind.__name__ for kind in type(tensor).__mro__]
    if "DTensor" in kinds or hasattr(tensor, "ds_id"):
        raise Unreadable(
            f"{name} is spread over several processes (FSDP, tensor parallelism or ZeRO), and no process has all weights that "
            "the ENN would read; train it with DistributedDataParallel, or without an ENN."
        )
