"""Initial weights, one file each: normal(σ), Glorot, He and LSUV; biases are 0. A new one is a file with a ``SCHEME``, and its
line in :data:`pipeline.names.Initialisation`.

A member's weights depend on its own seed alone and are drawn on the CPU in float32, so that a member is the same in any
population, on any device.

B examples.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from pipeline import names
from pipeline.errors import UserError
from pipeline.seeding import torch_stream
from pipeline.targets.initialise.scheme import Scheme
from pipeline.targets.mlp import MLP
from pipeline.targets.target import Slot

SCHEMES: dict[str, Scheme] = names.registered(names.Initialisation, __name__, "SCHEME")


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
        scheme: a name of ``SCHEMES``.
        sigma: standard deviation of ``normal``.
        x: the batch that a scheme such as ``lsuv``, which measures what its weights make of one, is fitted to.

    Raises:
        UserError: no seeds, an unknown scheme, or one that measures without a batch on which the layers' outputs vary.
    """
    if scheme not in SCHEMES:
        raise UserError(f"unknown initialisation {scheme!r}; choose from {', '.join(SCHEMES)}.")
    if not seeds:
        raise UserError("a population has at least one member; give at least one seed.")
    batch = None
    if SCHEMES[scheme].fit is not None:
        if x is None:
            raise UserError(f"{scheme.upper()} measures the layers' outputs; give it a batch of training examples.")
        batch = x.detach().to("cpu", torch.float32)
    members = [_member(target, SCHEMES[scheme], torch_stream(int(seed), "initial weights"), sigma, batch) for seed in seeds]
    return [torch.stack(tensors).to(device, dtype) for tensors in zip(*members, strict=True)]


def _member(target: MLP, scheme: Scheme, generator: Generator, sigma: float, x: Tensor | None) -> list[Tensor]:
    """One member's tensors."""
    tensors = [_tensor(slot, scheme, generator, sigma) for slot in target.slots]
    if scheme.fit is not None and x is not None:
        scheme.fit(target, tensors, x)
    return tensors


def _tensor(slot: Slot, scheme: Scheme, generator: Generator, sigma: float) -> Tensor:
    if slot.kind == "weight":
        return scheme.draw(slot, generator, sigma)
    return torch.zeros(slot.shape) if slot.kind == "bias" else torch.ones(slot.shape)
