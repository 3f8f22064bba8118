"""Initial weights: normal(σ), Glorot, He and LSUV; biases are 0.

A member's weights depend on its own seed alone and are drawn on the CPU in float32, so that a member is the same in any
population, on any device.

B examples.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from pipeline.errors import UserError
from pipeline.seeding import torch_stream
from pipeline.targets.activations import ACTIVATIONS
from pipeline.targets.mlp import MLP


def initialise(
    target: MLP,
    scheme: str,
    seeds: Sequence[int],
    sigma: float = 0.01,
    x: Float[Tensor, "B inputs"] | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> list[Tensor]:
    """One member per seed: the target's tensors, each (len(seeds), *shape).

    Args:
        scheme: normal, glorot (uniform; Glorot & Bengio 2010, eq. 16), he (normal, fan in, gain √2; He et al. 2015, eq. 10) or
            lsuv (Mishkin & Matas 2016, algorithm 1).
        sigma: standard deviation of ``normal``.
        x: the batch on which ``lsuv`` measures each layer's variance.

    Raises:
        UserError: no seeds, an unknown scheme, or ``lsuv`` without a batch on which the layers' outputs vary.
    """
    if scheme not in (*_WEIGHTS, "lsuv"):
        raise UserError(f"unknown initialisation {scheme!r}; choose from {', '.join((*_WEIGHTS, 'lsuv'))}.")
    if not seeds:
        raise UserError("a population has at least one member; give at least one seed.")
    if scheme == "lsuv":
        if x is None:
            raise UserError("LSUV measures the layers' outputs; give it a batch of training examples.")
        batch = x.detach().to("cpu", torch.float32)
        members = [_lsuv(target, _generator(seed), batch) for seed in seeds]
    else:
        members = [_member(target, _generator(seed), _WEIGHTS[scheme], sigma) for seed in seeds]
    return [torch.stack(tensors).to(device, dtype) for tensors in zip(*members, strict=True)]


def _generator(seed: int) -> Generator:
    return torch_stream(int(seed), "initial weights")


def _member(target: MLP, generator: Generator, draw: Callable[..., Tensor], sigma: float = 0.0) -> list[Tensor]:
    """One member's tensors: weights from ``draw``, biases 0."""
    return [draw(*shape, generator, sigma) if len(shape) == 2 else torch.zeros(shape) for shape in target.shapes]


def _normal(outputs: int, inputs: int, generator: Generator, sigma: float) -> Tensor:
    return sigma * torch.randn(outputs, inputs, generator=generator)


def _glorot(outputs: int, inputs: int, generator: Generator, _: float) -> Tensor:
    return math.sqrt(6 / (inputs + outputs)) * (2 * torch.rand(outputs, inputs, generator=generator) - 1)


def _he(outputs: int, inputs: int, generator: Generator, _: float) -> Tensor:
    return math.sqrt(2 / inputs) * torch.randn(outputs, inputs, generator=generator)


_WEIGHTS: dict[str, Callable[..., Tensor]] = {"normal": _normal, "glorot": _glorot, "he": _he}


def _orthonormal(outputs: int, inputs: int, generator: Generator, _: float) -> Tensor:
    """A uniformly distributed matrix with orthonormal rows, or columns where it has more rows than columns."""
    tall = torch.randn(max(outputs, inputs), min(outputs, inputs), generator=generator)
    q, r = torch.linalg.qr(tall)
    q = q * r.diagonal().sign()
    return q if outputs >= inputs else q.t().contiguous()


def _lsuv(target: MLP, generator: Generator, x: Float[Tensor, "B inputs"]) -> list[Tensor]:
    """Orthonormal weights, each layer scaled so that its outputs before the activation have variance 1 over batch and units.

    Algorithm 1 repeats the scaling until the variance is within a tolerance. With zero biases a layer is linear in its
    weights, so that one division is exact.
    """
    parameters = _member(target, generator, _orthonormal)
    h = x
    for number, weight in enumerate(parameters[::2], start=1):
        z = h @ weight.t()
        deviation = z.std(correction=0)
        if not (deviation > 0 and deviation.isfinite()):
            raise UserError(f"LSUV: the outputs of layer {number} do not vary on the batch given; give other or more examples.")
        weight /= deviation
        h = ACTIVATIONS[target.activation].function(z / deviation)
    return parameters
