"""The instruction: the ENN's gradient with respect to the target's weights, added to backpropagation's.

The step is along ``∇θ [ loss − λ · V(θ, t) ]`` (Grad-Instructor, arXiv 2406.10559, the abstract's sum of the two gradients).
Our choices: one instruction is reused for ``refresh`` steps, and a trust region keeps ``learning_rate · λ · ‖∂V/∂θₖ‖`` within a
fraction of each tensor's norm ``‖θₖ‖``, because a critic is right only near what it has seen.

Letters: P members.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.enn import Critic, load_critic
from pipeline.enn.readers import Unreadable
from pipeline.instruction.rules import Batch, per_member, trust_radius
from pipeline.targets import MLP, Population


class Reading(NamedTuple):
    """What an ENN says about P targets."""

    value: Float[Tensor, " P"]
    """V(θ, t)"""
    hidden: Float[Tensor, "P hidden"]
    """of the critic, for its strength head"""
    gradients: list[Tensor]
    """∂V/∂θ, one tensor (P, …) per parameter"""


class Terms(NamedTuple):
    """What is added to P targets' gradients."""

    value: Float[Tensor, " P"]
    """V(θ, t)"""
    strength: Float[Tensor, " P"]
    """λ"""
    instruction: list[Tensor]
    """λ ∂V/∂θ within the trust region, one tensor (P, …) per parameter"""


def value_gradients(
    critic: Critic, parameters: Sequence[Tensor], progress: Tensor, activation: str | None = None, graph: bool = False
) -> Reading:
    """V and ∂V/∂θ of each member; what is not finite counts as 0.

    Args:
        graph: keep what is needed to differentiate them with respect to the ENN.
    """
    leaves = [(parameter.detach().clone() if graph else parameter.detach()).requires_grad_() for parameter in parameters]
    with torch.enable_grad():
        hidden = critic.hidden(critic.reader.read(leaves, progress, activation))
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
    """The factor on ∂V/∂θₖ (P, …): λ / (1 + λ s / r), where s is the step at λ = 1 and r the radius of the trust region.

    So it is λ for small steps, and the step never reaches r. (With the smaller of λ and r / s an ENN that chooses λ would have
    no gradient by which to lower it.)
    """
    radius = trust_radius(parameter, trust_region)
    step = learning_rate * gradient.flatten(1).norm(dim=1)
    return strength / (1 + strength * step / radius)


def instructions(
    critic: Critic,
    parameters: Sequence[Tensor],
    progress: Float[Tensor, " P"],
    strength: Float[Tensor, " P"] | None,
    learning_rate: float,
    activation: str | None = None,
    graph: bool = False,
) -> Terms:
    """The instruction of each member (``parameters``: each (P, …)).

    Args:
        strength: λ; the choice of the ENN's strength head if not given.
        graph: keep what is needed to differentiate the terms with respect to the ENN.
    """
    value, hidden, gradients = value_gradients(critic, parameters, progress, activation, graph)
    if strength is None:
        strength = critic.head_strengths(hidden) if graph else critic.head_strengths(hidden).detach()
    instruction = []
    for gradient, parameter in zip(gradients, parameters, strict=True):
        scale = instruction_scale(gradient, parameter, strength, learning_rate, critic.home.trust_region)
        instruction.append(gradient * per_member(scale, gradient) if graph else gradient.mul_(per_member(scale, gradient)))
    return Terms(value, strength, instruction)


@dataclass
class InstructState:
    """What :class:`Instruct` remembers between steps."""

    instruction: list[Tensor] = field(default_factory=list)
    """λ ∂V/∂θ within the trust region, one tensor (P, …) per parameter; empty while every λ is 0"""
    strength: Tensor = field(default_factory=lambda: torch.zeros(0))
    """λ of each member in this period (P,)"""


class Instruct:
    """The ENN's instruction as a rule for populations.

    Args:
        critic: the ENN. Its ``home`` gives λ, period, refresh and trust region.
        steps: T of the runs that are instructed.
        learning_rate: of their optimiser.
        strengths: λ at a decision, given the population and progress (P,); the critic's own choice if not given. Decisions are
            taken at the start of a period, or, where the critic has a strength head, at every reading.
    """

    def __init__(
        self, critic: Critic, steps: int, learning_rate: float, strengths: Callable[[Population, Tensor], Tensor] | None = None
    ) -> None:
        self.critic, self.steps, self.learning_rate = critic, steps, learning_rate
        self.strengths = strengths
        self.activation: str | None = None

    def init(self, population: Population) -> InstructState:
        self.critic.reader.check(population.target)
        self.activation = population.target.activation
        return InstructState()

    def update(self, population: Population, batch: Batch, state: InstructState) -> Sequence[Tensor]:
        if population.step % self.critic.home.period % self.critic.home.refresh == 0:
            self.refresh(population, state)
        gradients = population.grads(batch.x, batch.y)
        for gradient, instruction in zip(gradients, state.instruction, strict=False):
            gradient.sub_(instruction)
        return gradients

    def progress(self, population: Population) -> Float[Tensor, " P"]:
        """t / T of each member."""
        return torch.full(
            (population.members,), min(1.0, population.step / self.steps), dtype=population.dtype, device=population.device
        )

    def refresh(self, population: Population, state: InstructState) -> None:
        """Read the weights and make a new instruction."""
        progress, own = self.progress(population), None
        if self.strengths is not None or not self.critic.home.by_head:
            if self.critic.home.by_head or population.step % self.critic.home.period == 0:
                state.strength = self._decide(population, progress)
            if not bool((state.strength > 0).any()):
                state.instruction = []
                return
            own = state.strength
        terms = instructions(self.critic, population.parameters, progress, own, self.learning_rate, self.activation)
        state.strength, state.instruction = terms.strength, terms.instruction

    def _decide(self, population: Population, progress: Tensor) -> Float[Tensor, " P"]:
        if self.strengths is not None:
            return self.strengths(population, progress)
        return self.critic.strengths(population.parameters, progress, self.activation)


class Instructor:
    """Instruction in anyone's own training loop::

        instructor = Instructor.load("enn.safetensors", steps=1000, learning_rate=0.1)
        loss.backward()
        instructor.instruct(model)     # adds −λ ∂V/∂θ to each parameter's .grad
        optimizer.step()

    Works on any ``nn.Module`` that is a chain of ``nn.Linear`` layers with biases and one kind of activation between them,
    of any floating type, on any device. Parameters that do not require gradients are left alone.
    """

    def __init__(
        self, critic: Critic, steps: int | None = None, learning_rate: float | None = None, strength: float | None = None
    ) -> None:
        if strength is not None:
            critic = critic.with_strength(strength)
        self.critic, self.step = critic.eval().requires_grad_(False), 0
        self.steps = steps or critic.home.steps
        self.learning_rate = learning_rate or critic.home.learning_rate
        self._instruction: list[Tensor] = []
        self._strength = torch.zeros(1)

    @classmethod
    def load(
        cls,
        path: str | Path,
        steps: int | None = None,
        learning_rate: float | None = None,
        strength: float | None = None,
        device: str = "cpu",
    ) -> "Instructor":
        """An instructor with the ENN saved at ``path``.

        Args:
            steps: T, optimiser steps of your whole run (default: that of the runs the ENN learned on).
            learning_rate: of your optimiser, for the trust region (default: likewise).
            strength: λ; 0 is conventional training, -1 lets the ENN choose (default: as saved).

        Raises:
            UserError: the file is missing, damaged or of another version.
        """
        return cls(load_critic(path, device), steps, learning_rate, strength)

    def instruct(self, model: nn.Module) -> None:
        """Add −λ ∂V/∂θ to the ``.grad`` of each of ``model``'s parameters, and count one step.

        Raises:
            Unreadable: the model, or one of its layers, is none that this ENN can read; the message names the layer.
        """
        target, tensors = as_mlp(model)
        if self.step == 0:
            self.critic.reader.check(target)
        home = self.critic.home
        if self.step % home.period % home.refresh == 0:
            self._refresh(target, self._stacked(tensors))
        for tensor, instruction in zip(tensors, self._instruction, strict=False):
            if not tensor.requires_grad:
                continue
            instruction = instruction.to(tensor)
            tensor.grad = -instruction.clone() if tensor.grad is None else tensor.grad.sub_(instruction)
        self.step += 1

    def predict(self, model: nn.Module) -> float:
        """V(θ, t) of the model now."""
        target, tensors = as_mlp(model)
        self.critic.reader.check(target)
        parameters = self._stacked(tensors)
        with torch.no_grad():
            return float(self.critic.value(parameters, self._progress(parameters[0]), target.activation))

    def _stacked(self, tensors: list[Tensor]) -> list[Tensor]:
        """A population of one, of the critic's type and on its device."""
        like = next(self.critic.parameters())
        return [tensor.detach()[None].to(like) for tensor in tensors]

    def _progress(self, like: Tensor) -> Tensor:
        return torch.full((1,), min(1.0, self.step / self.steps), dtype=like.dtype, device=like.device)

    def _refresh(self, target: MLP, parameters: list[Tensor]) -> None:
        progress, home, own = self._progress(parameters[0]), self.critic.home, None
        if not home.by_head:
            if self.step % home.period == 0:
                self._strength = self.critic.strengths(parameters, progress, target.activation)
            if not bool((self._strength > 0).any()):
                self._instruction = []
                return
            own = self._strength
        terms = instructions(self.critic, parameters, progress, own, self.learning_rate, target.activation)
        self._strength, self._instruction = terms.strength, [instruction[0] for instruction in terms.instruction]


ACTIVATIONS: dict[type[nn.Module], str] = {nn.ReLU: "relu", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid", nn.GELU: "gelu"}


def as_mlp(model: nn.Module) -> tuple[MLP, list[Tensor]]:
    """The target that ``model`` is, and its parameters in order (weight, bias, weight, …).

    Raises:
        Unreadable: a layer holds parameters or is an activation and is none that a reader knows, or layers do not fit.
    """
    tensors: list[Tensor] = []
    widths: list[int] = []
    activations: set[str] = set()
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            if layer.bias is None:
                raise Unreadable(f"layer {name!r} has no bias, which this reader expects; build it with bias=True.")
            if widths and layer.in_features != widths[-1]:
                raise Unreadable(
                    f"layer {name!r} takes {layer.in_features} inputs but the layer before it gives {widths[-1]}; "
                    "only a chain of linear layers can be read."
                )
            widths = widths or [layer.in_features]
            widths.append(layer.out_features)
            tensors += [layer.weight, layer.bias]
        elif type(layer) in ACTIVATIONS:
            activations.add(ACTIVATIONS[type(layer)])
        elif not _is_silent(layer):
            raise Unreadable(
                f"layer {name!r} is a {type(layer).__name__}, which no reader can read; only linear layers with "
                f"{', '.join(kind.__name__ for kind in ACTIVATIONS)} between them can be."
            )
    if not tensors:
        raise Unreadable("the model has no linear layer; only a chain of linear layers can be read.")
    if len(activations) > 1:
        raise Unreadable(f"the model mixes the activations {', '.join(sorted(activations))}; use one kind.")
    return MLP(tuple(widths), next(iter(activations), "relu")), tensors


def _is_silent(layer: nn.Module) -> bool:
    """Whether a layer that is neither linear nor a known activation may be overlooked: a container, Dropout, Softmax."""
    activation = type(layer).__module__ == nn.ReLU.__module__ and not isinstance(layer, nn.Softmax | nn.LogSoftmax)
    return not activation and not any(True for _ in layer.parameters(recurse=False))
