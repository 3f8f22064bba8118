"""The instruction that an :class:`pipeline.instruction.Instructor` follows from one reading of the weights to the next."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from pipeline.enn import Critic
from pipeline.instruction.guard import Guard
from pipeline.instruction.low_rank import LowRank, Product, Push, add
from pipeline.instruction.modules import Readable
from pipeline.instruction.own_guard import OwnGuard
from pipeline.instruction.reading import instruction_scale, moving_rate


class Held:
    """What an ENN said of one model when its weights were read last.

    Args:
        critic: the ENN.
        low_rank: a fast way of reading chains; None for none.
    """

    def __init__(self, critic: Critic, low_rank: LowRank | None) -> None:
        self.critic, self.low_rank = critic, low_rank
        self.pushes: dict[str, Push] = {}
        """λ ∂V/∂θ within the trust region, by the tensor's name"""
        self.lengths: dict[str, float] = {}
        """their norms"""
        self.strength = torch.zeros(1)
        """λ before the guard"""
        self.value = float("nan")
        """V(θ, t)"""

    def is_stale(self, read: Readable) -> bool:
        """Whether it is of tensors that are no longer there: a layer was pruned, say."""
        return not self.pushes.keys() <= set(read.names)

    def drop(self) -> None:
        """Follow nothing."""
        self.pushes = {}

    def read(self, read: Readable, step: int, progress: Tensor, rates: list[float], many: bool) -> None:
        """Read the weights.

        Args:
            step: of the run; λ and V, unless the head gives λ at every reading, are those of the period's first.
            progress: t / T, (1,), of the ENN's type.
            rates: the learning rate of each tensor, for the trust region.
            many: the pushes are used more than once, and are kept as they are added.
        """
        home, own = self.critic.home, None
        if not home.by_head:
            if step % home.period == 0:
                with torch.no_grad():
                    features = read.features(progress)
                    self.strength, self.value = self.critic.strengths_of(features), float(self.critic.value_of(features))
            if not bool((self.strength > 0).any()):
                self.drop()
                return
            own = self.strength
        if self.low_rank is not None and self._by_low_rank(self.low_rank, read, progress, own, rates, many):
            return
        value, hidden, gradients = read.slopes(progress)
        self.value = float(value)
        self.strength = self.critic.head_strengths(hidden).detach() if own is None else own
        self.drop()
        for name, tensor, gradient, rate in zip(read.names, read.tensors, gradients, rates, strict=True):
            if gradient is not None:
                there = tensor.detach().to(gradient)
                factor = instruction_scale(gradient[None], there[None], self.strength, rate, home.trust_region)
                self.pushes[name] = gradient.mul_(factor)
                self.lengths[name] = float(torch.linalg.vector_norm(gradient))

    def _by_low_rank(
        self, fast: LowRank, read: Readable, progress: Tensor, own: Tensor | None, rates: list[float], many: bool
    ) -> bool:
        """Whether the model is a chain that can be read so, and was."""
        if read.target is None:
            return False
        like = next(self.critic.parameters())
        parameters = [tensor.detach().to(like) for tensor in read.tensors]
        rate = rates[0] if len(set(rates)) == 1 else torch.tensor(rates, dtype=like.dtype, device=like.device)
        found = fast.instructions(read.target, parameters, progress, own, rate)
        if found is None:
            return False
        self.strength, pushes = found
        self.value = float(fast.value)
        if many:
            pushes = [_dense(push) for push in pushes]
        self.pushes = dict(zip(read.names, pushes, strict=True))
        self.lengths = dict(zip(read.names, fast.lengths.tolist(), strict=True))
        return True

    def compare(self, read: Readable, guard: Guard | OwnGuard) -> None:
        """Show it to a guard beside the gradients at hand."""
        pairs = []
        for name, tensor in zip(read.names, read.tensors, strict=True):
            own = self.pushes.get(name)
            if isinstance(own, Tensor) and tensor.grad is not None:
                pairs.append((tensor.grad.to(own)[None], own[None]))
        if pairs:
            guard.reading([grad for grad, _ in pairs], [own for _, own in pairs])

    def weaken(self, factor: float) -> None:
        """Follow it so far; by 0 not at all, so that what has no gradient gets none."""
        if factor == 0:
            self.drop()
        for own in self.pushes.values():
            if isinstance(own, Tensor):
                own.mul_(factor)
        self.lengths = {name: length * factor for name, length in self.lengths.items()}

    def followed(self, read: Readable, optimizer: Optimizer | None) -> dict[str, Tensor]:
        """The tensors that are pushed, by name: not those that are frozen, nor what is in no group of the optimiser."""
        groups = [] if optimizer is None else optimizer.param_groups
        known = {id(own) for group in groups for own in group["params"]}
        pairs = [(name, own) for name, own in zip(read.names, read.tensors, strict=True) if name in self.pushes]
        return {name: own for name, own in pairs if own.requires_grad and (not known or id(own) in known)}

    def moved(self, read: Readable, rates: list[float], times: float, optimizer: Optimizer | None) -> dict[str, Tensor]:
        """How far it has moved the weights, by name: ``times`` by so much of itself, and, where the optimiser does that, by
        each tensor's learning rate."""
        by = {name: 1.0 if self.critic.home.decoupled else rate for name, rate in zip(read.names, rates, strict=True)}
        return {name: push * (times * by[name]) for name, push in self.trained(read, optimizer).items()}

    def trained(self, read: Readable, optimizer: Optimizer | None) -> dict[str, Tensor]:
        """The pushes of what is trained, by name."""
        return {name: _dense(self.pushes[name]) for name in self.followed(read, optimizer)}

    def apply(self, read: Readable, scale: float, progress: float, optimizer: Optimizer | None) -> tuple[float, float]:
        """Add it to the gradients, or move the weights where the ENN's home is decoupled.

        Args:
            scale: by how much the gradients are scaled.
            progress: t / T.
            optimizer: what is in none of its groups is left alone.

        Returns:
            the norm of what was added, or of what moved the weights divided by its learning rate; and that rate, 1 where the
            optimiser has its own.
        """
        home, pushed = self.critic.home, self.followed(read, optimizer)
        rate = moving_rate(self.critic, home.learning_rate, progress) if home.decoupled else None
        for name, tensor in pushed.items():
            push = self.pushes[name]
            if rate is not None:
                with torch.no_grad():
                    add(tensor, push, rate)
                continue
            if tensor.grad is None:
                tensor.grad = torch.zeros_like(tensor)
            with torch.no_grad():
                add(tensor.grad, push, -scale)
        return sum(self.lengths[name] ** 2 for name in pushed) ** 0.5, 1.0 if rate is None else rate

    def state_dict(self) -> dict[str, Any]:
        """In tensors and numbers."""
        return {
            "strength": self.strength.clone(),
            "value": self.value,
            "instruction": {name: _dense(push).clone() for name, push in self.pushes.items()},
            "lengths": dict(self.lengths),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As it was, from what :meth:`state_dict` gave."""
        self.strength, self.value = state["strength"].clone(), state["value"]
        self.pushes = {str(name): push.clone() for name, push in state["instruction"].items()}
        self.lengths = {str(name): float(length) for name, length in state["lengths"].items()}


def _dense(push: Push) -> Tensor:
    return push.dense() if isinstance(push, Product) else push
