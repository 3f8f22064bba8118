"""The instruction of one target by probes, without autograd and without forming it.

Of a layer's weights ``∂V/∂W = δᵀ a``, where a (K, in) is what the layer receives of the K probes and δ (K, out) the slope of V
with respect to what it gives. The rank is at most K. So its norm, which the trust region asks for, is
``‖δᵀ a‖² = Σ (δ δᵀ) ∘ (a aᵀ)``, two K × K matrices of which the first layer's second one never changes; and adding it to
weights or gradients is one matrix product that accumulates. It equals :func:`pipeline.instruction.reading.instructions` but for
rounding. (A population's matrix products leave nothing to be gained by this.)

Letters: K probes.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.enn import Critic
from pipeline.enn.readers import Probes
from pipeline.instruction.trust_region import least_norm, within
from pipeline.targets import MLP
from pipeline.targets.forward import propagate
from pipeline.targets.target import in_order, layers


class Product(NamedTuple):
    """The matrix ``leftᵀ right``."""

    left: Float[Tensor, "K out"]
    right: Float[Tensor, "K in_"]

    def dense(self) -> Float[Tensor, "out in_"]:
        return self.left.t() @ self.right


Push = Product | Tensor
"""an instruction of one tensor"""


def add(tensor: Tensor, push: Push, factor: float) -> None:
    """``tensor += factor · push``, in the tensor's own precision and on its device."""
    if isinstance(push, Product):
        if tensor.dtype == push.left.dtype and tensor.device == push.left.device:
            tensor.addmm_(push.left.t(), push.right, alpha=factor)
            return
        push = push.dense()
    tensor.add_(push.to(tensor), alpha=factor)


class LowRank:
    """Readings of one MLP by an ENN whose weights do not change any more.

    Raises:
        TypeError: the ENN does not read by probes.
    """

    def __init__(self, critic: Critic) -> None:
        if not isinstance(critic.reader, Probes):
            raise TypeError(f"only probes have gradients of low rank; this ENN reads by {critic.reader_name}")
        self.critic, self.reader, self.trust_region = critic, critic.reader, critic.home.trust_region
        first, last = cast(nn.Linear, critic.hidden[0]), critic.value_head
        self.probes, self.weight, self.bias = critic.reader.probes.detach(), first.weight.detach(), first.bias.detach()
        self.last, self.last_bias = last.weight.detach()[0], last.bias.detach()[0]
        self.gram = self.probes @ self.probes.t()
        self.value = self.lengths = self.last_bias
        """once there was a reading: V, and the norms of the instruction's tensors"""

    @torch.no_grad()
    def instructions(
        self,
        target: MLP,
        parameters: Sequence[Tensor],
        progress: Float[Tensor, "1"],
        strength: Float[Tensor, "1"] | None,
        learning_rate: float | Float[Tensor, " slots"],
    ) -> tuple[Float[Tensor, "1"], list[Push]] | None:
        """λ and the instruction λ ∂V/∂θ within the trust region, one per tensor; None where something is not finite.

        Args:
            parameters: of one target, of the ENN's own type and on its device, without P.
            strength: λ; the choice of the ENN's strength head if not given.
            learning_rate: of all tensors, or of each.
        """
        chain, activation = layers(parameters, target.slots), target.nonlinearity
        received, before = [self.probes], []

        def linear(_: int, layer: tuple[Tensor, Tensor], h: Tensor) -> Tensor:
            before.append(F.linear(h, *layer))
            return before[-1]

        def activate(_: int, z: Tensor) -> Tensor:
            received.append(activation.function(z))
            return received[-1]

        log_p = propagate(chain, self.probes, linear, activate).log_softmax(dim=-1)[None]
        hidden, slope = self._head(self.reader.squashed(log_p, progress)[0])
        if strength is None:
            strength = self.critic.head_strengths(hidden[None])
        delta, pushes, squares = self.reader.slope_of_logits(slope[None], log_p)[0], [], []
        for layer in reversed(range(len(chain))):
            right = received[layer]
            gram = right @ right.t() if layer else self.gram
            bias = delta.sum(0)
            pushes.append((Product(delta, right), bias))
            squares.append(((delta @ delta.t()).mul_(gram).sum(), bias.dot(bias)))
            if layer:
                delta = delta @ chain[layer][0]
                activation.backward(delta, before[layer - 1], right, delta)
        norms = torch.stack(in_order(squares[::-1], target.slots)).clamp_min_(0).sqrt_()
        if not bool(norms.sum().isfinite()):
            return None
        sizes = torch.stack([torch.linalg.vector_norm(parameter) for parameter in parameters])
        least = norms.new_tensor([least_norm(parameter.numel()) for parameter in parameters])
        scales = within(strength, learning_rate * norms, torch.maximum(sizes, least).mul_(self.trust_region))
        self.lengths = norms * scales
        found: list[Push] = []
        for push, scale in zip(in_order(pushes[::-1], target.slots), scales.unbind(), strict=True):
            found.append(Product(push.left * scale, push.right) if isinstance(push, Product) else push * scale)
        return strength, found

    def _head(self, features: Float[Tensor, " features"]) -> tuple[Float[Tensor, " hidden"], Float[Tensor, " features"]]:
        """The hidden layer's outputs, and ∂V/∂features. GELU is z Φ(z), and its slope Φ(z) + z φ(z)."""
        z = torch.addmv(self.bias, self.weight, features)
        below = torch.special.ndtr(z)
        hidden = z * below
        value = self.value = torch.sigmoid(hidden.dot(self.last) + self.last_bias)
        density = (z * z).mul_(-0.5).exp_().mul_((2 * math.pi) ** -0.5)
        slope = below.addcmul_(z, density).mul_(self.last).mul_(value * (1 - value))
        return hidden, slope @ self.weight
