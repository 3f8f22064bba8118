"""Instruction in anyone's own training loop."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.enn import Critic, load_critic
from pipeline.enn.readers import Probes
from pipeline.instruction.guard import Guard
from pipeline.instruction.low_rank import LowRank, Product, Push, add
from pipeline.instruction.modules import Readable
from pipeline.instruction.reading import instructions, moving_rate


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

    def _reading(self, model: nn.Module) -> "Readable":
        if self.input_shape is not None:
            return Readable.of_any(model, self.critic, self.input_shape)
        return Readable.of_mlp(model, self.critic, check=self.step == 0)

    def _progress(self) -> Tensor:
        like = next(self.critic.parameters())
        return torch.full((1,), min(1.0, self.step / self.steps), dtype=like.dtype, device=like.device)

    def _refresh(self, read: "Readable") -> None:
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
