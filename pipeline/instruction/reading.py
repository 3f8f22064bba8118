"""Reading targets with an ENN, and the instruction that follows: its gradient with respect to their weights.

The step is along ``∇θ [ loss − λ · V(θ, t) ]`` (Grad-Instructor, arXiv 2406.10559, the abstract's sum of the two gradients).
Our choices: one instruction is reused for ``refresh`` steps, and a trust region keeps ``learning_rate · λ · ‖∂V/∂θₖ‖`` within a
fraction of each tensor's norm ``‖θₖ‖``, because a critic is right only near what it has seen.

Letters: P members.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.enn import Critic
from pipeline.instruction.trust_region import trust_radius, within
from pipeline.targets.members import norm, per_member
from pipeline.targets.schedules import SCHEDULES


class Reading(NamedTuple):
    """What an ENN says about P targets."""

    value: Float[Tensor, " P"]
    """V(θ, t)"""
    hidden: Float[Tensor, "P hidden"]
    """of the critic, for its strength head"""
    gradients: list[Tensor]
    """∂V/∂θ, one tensor (P, …) per parameter"""


class Instruction(NamedTuple):
    """What is added to P targets' gradients."""

    value: Float[Tensor, " P"]
    """V(θ, t)"""
    strength: Float[Tensor, " P"]
    """λ"""
    instruction: list[Tensor]
    """λ ∂V/∂θ within the trust region, one tensor (P, …) per parameter"""


def value_gradients(
    critic: Critic,
    parameters: Sequence[Tensor],
    progress: Tensor,
    activation: str | None = None,
    graph: bool = False,
    features: Callable[[Sequence[Tensor], Tensor], Tensor] | None = None,
) -> Reading:
    """V and ∂V/∂θ of each member; what is not finite counts as 0.

    Args:
        graph: keep what is needed to differentiate them with respect to the ENN.
        features: reads parameters and progress in the reader's stead.
    """
    leaves = [(parameter.detach().clone() if graph else parameter.detach()).requires_grad_() for parameter in parameters]
    with torch.enable_grad():
        read = features(leaves, progress) if features else critic.reader.read(leaves, progress, activation)
        hidden = critic.hidden(read)
        value = critic.value_from(hidden)
        gradients = torch.autograd.grad(value.sum(), leaves, allow_unused=True, create_graph=graph)
    # contiguous, so that a sum over a member takes the same order whether or not a neighbour is finite
    found = [torch.zeros_like(leaf) if own is None else own.contiguous() for own, leaf in zip(gradients, leaves, strict=True)]
    if not graph and not torch.stack([gradient.sum() for gradient in found]).isfinite().all():
        found = [gradient.nan_to_num(0.0, 0.0, 0.0) for gradient in found]
    return Reading(value if graph else value.detach(), hidden.detach(), found)


def instruction_scale(
    gradient: Tensor, parameter: Tensor, strength: Float[Tensor, " P"], learning_rate: float, trust_region: float
) -> Float[Tensor, " P"]:
    """The factor on ∂V/∂θₖ (P, …) that keeps its step :func:`within` the trust region."""
    return within(strength, learning_rate * norm(gradient), trust_radius(parameter, trust_region))


def instructions(
    critic: Critic,
    parameters: Sequence[Tensor],
    progress: Float[Tensor, " P"],
    strength: Float[Tensor, " P"] | None,
    learning_rate: float,
    activation: str | None = None,
    graph: bool = False,
    features: Callable[[Sequence[Tensor], Tensor], Tensor] | None = None,
) -> Instruction:
    """The instruction of each member (``parameters``: each (P, …)).

    Args:
        strength: λ; the choice of the ENN's strength head if not given.
        graph: keep what is needed to differentiate it with respect to the ENN.
        features: reads parameters and progress in the reader's stead.
    """
    value, hidden, gradients = value_gradients(critic, parameters, progress, activation, graph, features)
    if strength is None:
        strength = critic.head_strengths(hidden) if graph else critic.head_strengths(hidden).detach()
    instruction = []
    for gradient, parameter in zip(gradients, parameters, strict=True):
        scale = instruction_scale(gradient, parameter, strength, learning_rate, critic.home.trust_region)
        instruction.append(gradient * per_member(scale, gradient) if graph else gradient.mul_(per_member(scale, gradient)))
    return Instruction(value, strength, instruction)


def moving_rate(critic: Critic, learning_rate: float, progress: float) -> float:
    """What a decoupled instruction is multiplied by where it moves the weights, at t / T."""
    return learning_rate * SCHEDULES[critic.home.schedule](min(1.0, progress))
