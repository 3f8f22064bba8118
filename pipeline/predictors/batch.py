"""Gradients of the mean cross entropy of the whole batch, BatchNorm by its statistics.

Letters: N examples.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pipeline.predictors.weights import weights


def batch_gradients(network: nn.Module, x: Float[Tensor, "N ..."], y: Int[Tensor, " N"], graph: bool = False) -> list[Tensor]:
    """With respect to each weight, 0 where no path leads from it to the outputs.

    Args:
        graph: keep what is needed to differentiate them.
    """
    parameters = list(weights(network).values())
    loss = cross_entropy(network(x), y)
    return or_zeros(loss, parameters, graph)


def or_zeros(of: Tensor, parameters: Sequence[Tensor], graph: bool = False) -> list[Tensor]:
    """The gradients of a number, 0 where it does not depend on a tensor."""
    if not of.requires_grad:
        return [torch.zeros_like(parameter) for parameter in parameters]
    found = torch.autograd.grad(of, parameters, allow_unused=True, create_graph=graph)
    return [torch.zeros_like(own) if gradient is None else gradient for own, gradient in zip(parameters, found, strict=True)]
