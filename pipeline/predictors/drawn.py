"""Parameters drawn anew for predictors that bring an initialisation of their own; the network's stay as they are."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.predictors.weights import weights

NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)

BIASES = ("in_proj_bias", "bias_ih", "bias_hh")
"""of attention and of recurrent layers, as their names begin"""


def drawn(network: nn.Module, how: Literal["unit", "he"]) -> dict[str, Tensor]:
    """Parameters by name: weights of convolutions and linear layers N(0, 1) or N(0, 2 / fan-in), their biases 0; scales of
    normalisations 1, their shifts 0; others as they are. From torch's own random numbers, drawn on the CPU."""
    parameters = {name: own.detach() for name, own in network.named_parameters()}
    for name, weight in weights(network).items():
        deviation = 1.0 if how == "unit" else math.sqrt(2 / weight[0].numel())
        parameters[name] = (torch.randn(weight.shape, dtype=weight.dtype) * deviation).to(weight.device)
    for name, module in network.named_modules():
        plain = isinstance(module, NORMALISATIONS)
        for own, value in module.named_parameters(name, recurse=False):
            kind = own.rpartition(".")[2]
            if own in parameters and (kind == "bias" or kind.startswith(BIASES)):
                parameters[own] = torch.zeros_like(value)
            elif plain and kind == "weight":
                parameters[own] = torch.ones_like(value)
    return parameters
