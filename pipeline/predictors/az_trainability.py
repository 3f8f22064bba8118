"""AZ-NAS's trainability (Lee & Ham, CVPR 2024, eq. 7-9): the mean over blocks l of −σ_l − 1 / σ_l + 2, largest, 0, where
gradients keep their size. σ_l is the largest singular value of the mean over examples and positions of g_{l−1} g_lᵀ, where g_l
are random signs and g_{l−1} what they become when they are sent back through the block (Hutchinson's estimate of its
Jacobian). Where a block halves the image, g_{l−1} of 2 × 2 positions stand side by side. −∞ where a block is the identity, as
the authors have it.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from pipeline.predictors.az_nas import AZNAS, Feature, rows


@dataclass(frozen=True)
class Trainability(AZNAS):
    """mean of −σ − 1/σ + 2."""

    def value(self, network: nn.Module, x: Shaped[Tensor, "N ..."], y: Int[Tensor, " N"]) -> float:
        found = self.drawn_features(network, x)
        signs = [torch.randint(2, own.values.shape).to(own.values) * 2 - 1 for own in found]
        return trainability(found, signs)


def trainability(found: Sequence[Feature], signs: Sequence[Tensor]) -> float:
    """Of features and random signs of their shapes; NaN where no pair of features can be compared."""
    pairs = zip(itertools.pairwise(found), signs[1:], strict=True)
    scores = [_of_block(before, after, own) for (before, after), own in pairs]
    kept = [score for score in scores if score is not None]
    return sum(kept) / len(kept) if kept else math.nan


def _of_block(before: Feature, after: Feature, signs: Tensor) -> float | None:
    sent = _sent_back(before.values, after.values, signs)
    if sent is None:
        return None
    if sent.shape == signs.shape and torch.equal(sent, signs):
        return -math.inf
    signs = after.ordered(signs)
    below, above = _side_by_side(before.ordered(sent), signs.shape[2:]), rows(signs)
    if below is None:
        return None
    product = below.T @ above / len(above)
    product = product if product.dtype in (torch.float32, torch.float64) else product.float()  # no other is decomposed
    largest = float(torch.linalg.svdvals(product).max())
    return -largest - 1 / (largest + 1e-6) + 2


def _sent_back(before: Tensor, after: Tensor, signs: Tensor) -> Tensor | None:
    """None where no path leads from one to the other; zeros where a block is disconnected, and nothing comes back."""
    if not after.requires_grad:
        return torch.zeros_like(before)
    if not before.requires_grad:
        return None
    return torch.autograd.grad(after, before, signs, retain_graph=True, allow_unused=True)[0]


def _side_by_side(sent: Tensor, positions: Sequence[int]) -> Tensor | None:
    """(N · positions, C · …): what was sent back, in rows as the signs are; None where the sizes do not fit."""
    own = sent.shape[2:]
    if not positions and own:  # what was flattened
        return sent.flatten(1)
    if len(own) != len(positions) or any(a % b for a, b in zip(own, positions, strict=True)):
        return None
    for dimension, (size, count) in enumerate(zip(own, positions, strict=True)):
        sent = sent.unflatten(2 + 2 * dimension, (count, size // count))
    outer = [2 + 2 * dimension for dimension in range(len(own))]
    inner = [3 + 2 * dimension for dimension in range(len(own))]
    return sent.permute(0, *outer, 1, *inner).reshape(len(sent) * math.prod(positions), -1)


PREDICTOR = Trainability
