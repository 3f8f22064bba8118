"""What is computed member by member over lists of a population's tensors.

Letters: P members.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


def per_member(values: Shaped[Tensor, " P"], like: Tensor) -> Tensor:
    """``values`` shaped (P, 1, …) so that they multiply ``like`` (P, …) member by member."""
    return values.view(-1, *[1] * (like.dim() - 1))


def norm(tensor: Float[Tensor, "P ..."]) -> Float[Tensor, " P"]:
    """The Euclidean norm of each member's part of one tensor."""
    return tensor.flatten(1).norm(dim=1)


def norms(tensors: Sequence[Tensor]) -> Float[Tensor, " P"]:
    """The Euclidean norm over all tensors (P, …) of each member."""
    return torch.stack([norm(tensor) for tensor in tensors]).norm(dim=0)


def dot(one: Sequence[Tensor], other: Sequence[Tensor]) -> Float[Tensor, " P"]:
    """The inner product over all tensors (P, …) of each member."""
    return torch.stack([(a * b).flatten(1).sum(1) for a, b in zip(one, other, strict=True)]).sum(0)
