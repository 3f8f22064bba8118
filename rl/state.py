"""The state of an optimiser as plain tensors, for safetensors files: no pickle."""

import torch
from torch import Tensor


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """``optimiser/INDEX/NAME``: the state of each parameter that has one."""
    state = optimiser.state_dict()["state"]
    return {f"optimiser/{i}/{name}": torch.as_tensor(value) for i, values in state.items() for name, value in values.items()}


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The inverse of :func:`optimiser_tensors`; other tensors are left alone, and so are the settings of the optimiser."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimiser/"):
            _, index, name = key.split("/")
            state.setdefault(int(index), {})[name] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
