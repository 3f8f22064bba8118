"""The instruction: the ENN's gradient with respect to the target's weights, added to backpropagation's.

The step is along ``∇θ [ loss − λ · V(θ, t) ]`` (Grad-Instructor, arXiv 2406.10559, the abstract's sum of the two gradients).
Our choices: one instruction is reused for ``refresh`` steps, and a trust region keeps ``learning_rate · λ · ‖∂V/∂θₖ‖`` within a
fraction of each tensor's norm ``‖θₖ‖``, because a critic is right only near what it has seen.

Letters: P members.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.enn import Critic, load_critic
from pipeline.enn.readers import Probes, Unreadable
from pipeline.instruction.guard import Guard
from pipeline.instruction.low_rank import LowRank, Product, Push, add
from pipeline.instruction.rules import Batch, per_member, trust_radius, within
from pipeline.targets import ACTIVATIONS, MLP, Population
from pipeline.targets.optimisers import SCHEDULES


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
    return within(strength, learning_rate * gradient.flatten(1).norm(dim=1), trust_radius(parameter, trust_region))


def instructions(
    critic: Critic,
    parameters: Sequence[Tensor],
    progress: Float[Tensor, " P"],
    strength: Float[Tensor, " P"] | None,
    learning_rate: float,
    activation: str | None = None,
    graph: bool = False,
    features: Callable[[Sequence[Tensor], Tensor], Tensor] | None = None,
) -> Terms:
    """The instruction of each member (``parameters``: each (P, …)).

    Args:
        strength: λ; the choice of the ENN's strength head if not given.
        graph: keep what is needed to differentiate the terms with respect to the ENN.
        features: reads parameters and progress in the reader's stead.
    """
    value, hidden, gradients = value_gradients(critic, parameters, progress, activation, graph, features)
    if strength is None:
        strength = critic.head_strengths(hidden) if graph else critic.head_strengths(hidden).detach()
    instruction = []
    for gradient, parameter in zip(gradients, parameters, strict=True):
        scale = instruction_scale(gradient, parameter, strength, learning_rate, critic.home.trust_region)
        instruction.append(gradient * per_member(scale, gradient) if graph else gradient.mul_(per_member(scale, gradient)))
    return Terms(value, strength, instruction)


def moving_rate(critic: Critic, learning_rate: float, progress: float) -> float:
    """What a decoupled instruction is multiplied by where it moves the weights, at t / T."""
    return learning_rate * SCHEDULES[critic.home.schedule](min(1.0, progress))


@dataclass
class InstructState:
    """What :class:`Instruct` remembers between steps."""

    instruction: list[Tensor] = field(default_factory=list)
    """λ ∂V/∂θ within the trust region, one tensor (P, …) per parameter; empty while every λ is 0"""
    decided: Tensor = field(default_factory=lambda: torch.zeros(0))
    """λ of each member at the last decision (P,)"""
    strength: Tensor = field(default_factory=lambda: torch.zeros(0))
    """λ of each member now: as decided, times the guard's trust (P,)"""


class Instruct:
    """The ENN's instruction as a rule for populations. One that is decoupled (``home``) moves their weights in ``update``,
    whose gradients are then backpropagation's alone.

    Args:
        critic: the ENN. Its ``home`` gives λ, period, refresh and trust region.
        steps: T of the runs that are instructed.
        learning_rate: of their optimiser.
        strengths: λ at a decision, given the population and progress (P,); the critic's own choice if not given. Decisions are
            taken at the start of a period, or, where the critic has a strength head, at every reading.
        guard: lowers λ where the ENN is wrong. Its trials are the loop's (:func:`pipeline.instruction.loop.advance_guarded`).
    """

    def __init__(
        self,
        critic: Critic,
        steps: int,
        learning_rate: float,
        strengths: Callable[[Population, Tensor], Tensor] | None = None,
        guard: Guard | None = None,
    ) -> None:
        self.critic, self.steps, self.learning_rate = critic, steps, learning_rate
        self.strengths, self.guard = strengths, guard
        self.activation: str | None = None

    def init(self, population: Population) -> InstructState:
        self.critic.reader.check(population.target)
        self.activation = population.target.activation
        return InstructState()

    def update(self, population: Population, batch: Batch, state: InstructState) -> Sequence[Tensor]:
        read = population.step % self.critic.home.period % self.critic.home.refresh == 0
        if read:
            self.refresh(population, state)
        gradients = population.grads(batch.x, batch.y)
        if read and self.guard is not None and state.instruction:
            self.guard.reading(gradients, state.instruction)
            factor = self.guard.factor
            state.strength = state.strength * factor
            for instruction in state.instruction:
                instruction.mul_(per_member(factor, instruction) if isinstance(factor, Tensor) else factor)
        if self.critic.home.decoupled:
            population.move(state.instruction, moving_rate(self.critic, self.learning_rate, population.step / self.steps))
            return gradients
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
                state.decided = state.strength = self._decide(population, progress)
            if not bool((state.decided > 0).any()):
                state.instruction = []
                return
            own = state.decided
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

    Works on any ``nn.Module`` that is a chain of ``nn.Linear`` layers with biases and one kind of activation between them, of
    any floating type, on any device; and, where the ENN reads by probes, on any ``nn.Module`` at all that turns inputs of
    ``input_shape`` into the home target's classes. Parameters that do not require gradients are left alone.

    The instruction is weakened while it leads uphill on the batches at hand (see :mod:`pipeline.instruction.guard`; its trials
    need a loop of their own and are not made here).
    """

    def __init__(
        self,
        critic: Critic,
        steps: int | None = None,
        learning_rate: float | None = None,
        strength: float | None = None,
        input_shape: tuple[int, ...] | None = None,
        guarded: bool = True,
    ) -> None:
        if strength is not None:
            critic = critic.with_strength(strength)
        self.critic, self.step = critic.eval().requires_grad_(False), 0
        self.steps = steps or critic.home.steps
        self.learning_rate = learning_rate or critic.home.learning_rate
        self.input_shape = input_shape
        self.guard = Guard() if guarded else None
        chain = input_shape is None and isinstance(self.critic.reader, Probes)
        self._low_rank = LowRank(self.critic) if chain else None
        self._instruction: Sequence[Push] = []
        self._strength = torch.zeros(1)

    @classmethod
    def load(
        cls,
        path: str | Path,
        steps: int | None = None,
        learning_rate: float | None = None,
        strength: float | None = None,
        device: str = "cpu",
        input_shape: tuple[int, ...] | None = None,
        guarded: bool = True,
    ) -> "Instructor":
        """An instructor with the ENN saved at ``path``, or with one that comes with the package, by its name.

        Args:
            steps: T, optimiser steps of your whole run (default: that of the runs the ENN learned on).
            learning_rate: of your optimiser, for the trust region (default: likewise).
            strength: λ; 0 is conventional training, -1 lets the ENN choose (default: as saved).
            input_shape: of one input of a model that is no chain of linear layers, for example (1, 28, 28).
            guarded: weaken the instruction while it leads uphill on the batches at hand.

        Raises:
            UserError: the file is missing, damaged or of another version.
        """
        return cls(load_critic(path, device), steps, learning_rate, strength, input_shape, guarded)

    def instruct(self, model: nn.Module) -> None:
        """Add −λ ∂V/∂θ to the ``.grad`` of each of ``model``'s parameters, and count one step. An ENN whose home is decoupled
        leaves the gradients alone and moves the parameters themselves.

        Raises:
            Unreadable: the model, or one of its layers, is none that this ENN can read; the message names the layer.
        """
        read = self._reading(model)
        tensors = read.tensors
        home = self.critic.home
        if self.step % home.period % home.refresh == 0:
            self._refresh(read)
            if self.guard is not None and self._instruction:
                self._weaken(tensors, self.guard)
        rate = moving_rate(self.critic, self.learning_rate, self.step / self.steps) if home.decoupled else None
        for tensor, instruction in zip(tensors, self._instruction, strict=False):
            if not tensor.requires_grad:
                continue
            if rate is not None:
                with torch.no_grad():
                    add(tensor, instruction, rate)
                continue
            if tensor.grad is None:
                tensor.grad = torch.zeros_like(tensor)
            add(tensor.grad, instruction, -1.0)
        self.step += 1

    def predict(self, model: nn.Module) -> float:
        """V(θ, t) of the model now."""
        read = self._reading(model)
        with torch.no_grad():
            return float(self.critic.value_of(read.features([tensor.detach() for tensor in read.stacked()], self._progress())))

    def _reading(self, model: nn.Module) -> "_Readable":
        if self.input_shape is not None:
            return _Readable.of_any(model, self.critic, self.input_shape)
        return _Readable.of_mlp(model, self.critic, check=self.step == 0)

    def _progress(self) -> Tensor:
        like = next(self.critic.parameters())
        return torch.full((1,), min(1.0, self.step / self.steps), dtype=like.dtype, device=like.device)

    def _refresh(self, read: "_Readable") -> None:
        progress, home, own = self._progress(), self.critic.home, None
        parameters = read.stacked()
        if not home.by_head:
            if self.step % home.period == 0:
                with torch.no_grad():
                    self._strength = self.critic.strengths_of(read.features(parameters, progress))
            if not bool((self._strength > 0).any()):
                self._instruction = []
                return
            own = self._strength
        if self._low_rank is not None and read.target is not None:
            single = [parameter[0] for parameter in parameters]
            found = self._low_rank.instructions(read.target, single, progress, own, self.learning_rate)
            if found is not None:
                self._strength, self._instruction = found
                if home.refresh > 1 or self.guard is not None:  # it is used more than once
                    self._instruction = [push.dense() if isinstance(push, Product) else push for push in self._instruction]
                return
        terms = instructions(self.critic, parameters, progress, own, self.learning_rate, features=read.features)
        self._strength, self._instruction = terms.strength, [instruction[0] for instruction in terms.instruction]

    def _weaken(self, tensors: list[Tensor], guard: Guard) -> None:
        instruction = [push for push in self._instruction if isinstance(push, Tensor)]
        pairs = [(t.grad, own) for t, own in zip(tensors, instruction, strict=True) if t.grad is not None]
        if not pairs:
            return
        guard.reading([grad.to(own)[None] for grad, own in pairs], [own[None] for _, own in pairs])
        for own in instruction:
            own.mul_(float(guard.factor))


@dataclass(frozen=True)
class _Readable:
    """A module, as an ENN reads it."""

    tensors: list[Tensor]
    features: Callable[[Sequence[Tensor], Tensor], Tensor]
    """of parameters, each (1, …), and progress (1,)"""
    like: Tensor
    target: MLP | None = None
    """what the module is, if it is a chain of linear layers"""

    def stacked(self) -> list[Tensor]:
        """A population of one, of the critic's type and on its device."""
        return [tensor.detach()[None].to(self.like) for tensor in self.tensors]

    @classmethod
    def of_mlp(cls, model: nn.Module, critic: Critic, check: bool) -> "_Readable":
        target, tensors = as_mlp(model)
        if check:
            critic.reader.check(target)
        return cls(
            tensors,
            lambda parameters, progress: critic.reader.read(parameters, progress, target.activation),
            next(critic.parameters()),
            target,
        )

    @classmethod
    def of_any(cls, model: nn.Module, critic: Critic, input_shape: tuple[int, ...]) -> "_Readable":
        if not isinstance(critic.reader, Probes):
            raise Unreadable(
                f"only an ENN that reads by probes can read any module, and this one reads by {critic.reader_name}; "
                "leave input_shape out for a chain of linear layers."
            )
        inputs, classes = critic.reader.home.widths[0], critic.reader.home.widths[-1]
        if math.prod(input_shape) != inputs:
            raise Unreadable(f"input_shape {input_shape} is not {inputs} values, which this ENN's probes have; give another.")
        reader, names = critic.reader, [name for name, _ in model.named_parameters()]
        probes = reader.probes.view(-1, *input_shape)

        def features(parameters: Sequence[Tensor], progress: Tensor) -> Tensor:
            own = {name: tensor[0] for name, tensor in zip(names, parameters, strict=True)}
            training = model.training
            model.eval()  # no dropout, and running statistics where there are any
            try:
                logits = torch.func.functional_call(model, own, (probes,))
            finally:
                model.train(training)
            if logits.shape != (len(probes), classes):
                raise Unreadable(
                    f"the model makes outputs of shape {tuple(logits.shape[1:])} and this ENN reads {classes} classes; "
                    "train an ENN on such targets."
                )
            return reader.read_logits(logits[None], progress)

        return cls([tensor for _, tensor in model.named_parameters()], features, next(critic.parameters()))


KNOWN = {activation.module: name for name, activation in ACTIVATIONS.items()}


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
        elif type(layer) in KNOWN:
            activations.add(KNOWN[type(layer)])
        elif not _is_silent(layer):
            raise Unreadable(
                f"layer {name!r} is a {type(layer).__name__}, which no reader can read; only linear layers with "
                f"{', '.join(kind.__name__ for kind in KNOWN)} between them can be."
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
