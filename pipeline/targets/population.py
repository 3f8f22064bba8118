"""P targets trained as one batch: equal, step for step, to P separate ``nn.Module``s with ``torch.optim``.

    gradients = population.grads(x, y)
    population.apply(gradients)          # or whatever a rule makes of them

A member whose loss, update or parameters become non-finite is recorded in ``diverged_at`` and frozen. Its neighbours never
notice: every product and every step keeps members apart.

P members, B examples, N parameters of one member.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipeline.errors import UserError
from pipeline.targets.backprop import Workspace, backprop, forward, log_likelihood, signalled
from pipeline.targets.context import Signals
from pipeline.targets.members import per_member
from pipeline.targets.mlp import MLP
from pipeline.targets.optimisers import OPTIMISERS, Piece, Settings
from pipeline.targets.schedules import SCHEDULES
from pipeline.targets.tangent import TangentWorkspace, tangent
from pipeline.targets.target import layers, unflatten

CHUNK = 1 << 16
"""Elements that an optimiser on the CPU steps at a time: what it reads and writes then stays in the core's cache"""


@dataclass(frozen=True)
class Evaluation:
    """How well each member does; a diverged member has loss +inf and accuracy 0."""

    loss: Float[Tensor, " P"]
    """mean cross entropy, in nats"""
    accuracy: Float[Tensor, " P"]
    """fraction of examples classified correctly"""


class Population:
    """P stacked members of one target and their optimiser.

    Attributes:
        parameters: the target's tensors, each (P, *shape): contiguous views into ``flat_parameters``, which holds the first
            tensor of all members, then the second of all members, and so on.
        gradients: the same views into ``flat_gradients``; overwritten by each :meth:`grads`.
        losses: (P,), mean cross entropy at the last :meth:`grads`.
        diverged_at: (P,), the step at which a member was frozen, -1 while it lives.
        step: optimiser steps taken.
        seeds: one per member, from which a learning rule draws what it needs (default: 0, 1, …).

    Raises:
        UserError: parameters that are not the target's, an unknown optimiser, or learning rates or seeds that are not one per
            member.
    """

    def __init__(
        self,
        target: MLP,
        parameters: Sequence[Tensor],
        optimiser: str = "sgd",
        learning_rate: float | Tensor = 0.1,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        schedule: str = "constant",
        steps: int | None = None,
        seeds: Sequence[int] | None = None,
    ) -> None:
        if optimiser not in OPTIMISERS:
            raise UserError(f"unknown optimiser {optimiser!r}; choose from {', '.join(OPTIMISERS)}.")
        if schedule not in SCHEDULES or (schedule != "constant" and not steps):
            raise UserError(f"schedule {schedule!r}: choose from {', '.join(SCHEDULES)}, and say how many steps a run has.")
        _check_parameters(target, parameters)
        self.target, self.members, self.step = target, len(parameters[0]), 0
        self.seeds = list(range(self.members) if seeds is None else seeds)
        if len(self.seeds) != self.members:
            raise UserError(f"{len(self.seeds)} seeds for {self.members} members; give one for each.")
        self.device, self.dtype = parameters[0].device, parameters[0].dtype
        self.flat_parameters = torch.cat([tensor.detach().flatten() for tensor in parameters])
        self.flat_gradients = torch.zeros_like(self.flat_parameters)
        self.parameters, self.gradients = self._views(self.flat_parameters), self._views(self.flat_gradients)
        self._layers, self._layer_gradients = layers(self.parameters, target.slots), layers(self.gradients, target.slots)
        self.losses = self.flat_parameters.new_zeros(self.members)
        self.diverged_at = torch.full((self.members,), -1, device=self.device)
        if isinstance(learning_rate, Tensor):
            if learning_rate.shape != (self.members,):
                raise UserError(f"learning rates have shape {tuple(learning_rate.shape)}; give one, or {self.members}.")
            learning_rate = learning_rate.to(self.device, self.dtype).unsqueeze(1)
        self._settings = Settings(learning_rate, momentum, weight_decay)
        self._schedule, self._steps = (None if schedule == "constant" else SCHEDULES[schedule]), steps or 1
        self._optimise = OPTIMISERS[optimiser].step
        names = OPTIMISERS[optimiser].state(self._settings)
        self._state = {name: torch.zeros_like(self.flat_parameters) for name in names}
        self._pieces = self._by_member() if isinstance(learning_rate, Tensor) else self._by_chunk()
        self._workspaces: dict[tuple[int, bool], Workspace] = {}
        self._tangents: dict[int, tuple[TangentWorkspace, list[Tensor]]] = {}
        self._all_alive = True

    @torch.no_grad()
    def grads(
        self,
        x: Float[Tensor, "B inputs"] | Float[Tensor, "P B inputs"],
        y: Int[Tensor, " B"] | Int[Tensor, "P B"],
        signal: Signals | None = None,
    ) -> list[Tensor]:
        """Gradients of each member's mean cross entropy on a shared batch or on its own; returns ``self.gradients``.

        Args:
            signal: what goes backwards in place of backpropagation's deltas; then these are no gradients, but what a learning
                rule has in their place (:func:`pipeline.learning.bound` makes a signal of a rule).
        """
        if signal is None:
            work = self._workspace(x.shape[-2])
            self.losses = backprop(self._layers, self._layer_gradients, x, y, work)
        else:
            work = self._workspace(x.shape[-2], keep_z=True)
            self.losses = signalled(self._layers, self._layer_gradients, x, y, work, signal)
        return self.gradients

    @torch.no_grad()
    def tangent(
        self,
        x: Float[Tensor, "B inputs"] | Float[Tensor, "P B inputs"],
        y: Int[Tensor, " B"] | Int[Tensor, "P B"],
        vector: Sequence[Tensor],
        at: Sequence[Tensor] | None = None,
    ) -> list[Tensor]:
        """The exact product of the Hessian of each member's mean cross entropy with ``vector``, lists of (P, *shape).

        What is returned is overwritten by the next call. (Pearlmutter, 1994; :mod:`pipeline.targets.tangent`.)

        Args:
            at: parameters in place of the population's own.

        Raises:
            UserError: ``vector`` or ``at`` is no list of tensors of the population's shapes.
        """
        for tensors in (vector, at or vector):
            if [tensor.shape for tensor in tensors] != [own.shape for own in self.parameters]:
                raise UserError(
                    f"tensors of shapes {[tuple(t.shape) for t in tensors]} are none of this population; give its own."
                )
        slots = self.target.slots
        work, product = self._tangent_workspace(x.shape[-2])
        tangent(layers(at or self.parameters, slots), layers(vector, slots), layers(product, slots), x, y, work)
        return product

    @torch.no_grad()
    def apply(self, update: Sequence[Tensor]) -> None:
        """One optimiser step with ``update`` as the gradients; ``self.gradients`` holds it afterwards.

        A member that is not finite is frozen first: its parameters stay as they are. (Where the step before made parameters
        themselves overflow, they are clipped to the largest finite number.) On a GPU the test and the freezing are part of
        every step, so that the host never waits for the device.
        """
        for own, given in zip(self.gradients, update, strict=True):
            if own.data_ptr() != given.data_ptr():
                own.copy_(given)
        if self.device.type == "cpu" and self._all_alive and self._all_finite():
            self._descend()
        else:
            self._freeze_diverging()
            before = self._views(self.flat_parameters.nan_to_num())
            self._descend()
            alive = self.diverged_at < 0
            for now, old in zip(self.parameters, before, strict=True):
                torch.where(per_member(alive, now), now, old, out=now)
        self.step += 1

    @torch.no_grad()
    def move(self, directions: Sequence[Tensor], length: float) -> None:
        """Add ``length`` times ``directions``, one tensor (P, …) per parameter or none at all; frozen members stay."""
        for own, direction in zip(self.parameters, directions, strict=False):
            if not self._all_alive or self.device.type != "cpu":
                direction = direction.masked_fill(per_member(self.diverged_at >= 0, direction), 0.0)
            own.add_(direction, alpha=length)

    @torch.no_grad()
    def evaluate(self, x: Float[Tensor, "n inputs"], y: Int[Tensor, " n"], batch_size: int = 2048) -> Evaluation:
        """Mean cross entropy and accuracy of every member on the same examples, at most ``batch_size`` at a time."""
        loss, correct = self.flat_parameters.new_zeros(2, self.members)
        for xs, ys in zip(x.split(batch_size), y.split(batch_size), strict=True):
            work = self._workspace(len(xs))
            logits = forward(self._layers, xs, work)
            loss -= log_likelihood(logits, ys, work)[0].sum((1, 2))
            correct += (logits.max(1).indices == ys).sum(1)
        failed = ~torch.isfinite(loss) | (self.diverged_at >= 0)
        return Evaluation((loss / len(x)).masked_fill(failed, math.inf), (correct / len(x)).masked_fill(failed, 0.0))

    @torch.no_grad()
    def freeze(self, failed: Bool[Tensor, " P"]) -> None:
        """Members that ``failed`` diverged, at this step if not earlier. :meth:`apply` finds them only in the step after: a
        training that has ended says so itself."""
        self.diverged_at.masked_fill_(failed & (self.diverged_at < 0), self.step)
        self._all_alive = bool((self.diverged_at < 0).all())

    def flat(self) -> Float[Tensor, "P N"]:
        """A fresh copy of the parameters, one row per member."""
        return torch.cat([tensor.flatten(1) for tensor in self.parameters], dim=1)

    @torch.no_grad()
    def load_flat(self, flat: Float[Tensor, "P N"]) -> None:
        """Overwrite the parameters with the rows of ``flat``; optimiser state, step and frozen members stay as they are."""
        for own, given in zip(self.parameters, unflatten(flat, self.target.shapes), strict=True):
            own.copy_(given)

    @torch.no_grad()
    def replace(self, member: int, parameters: Sequence[Tensor]) -> None:
        """Put a fresh member, given by its tensors (without P), in the place of one; it lives, and has no optimiser state."""
        for own, given in zip(self.parameters, parameters, strict=True):
            own[member] = given
        for buffer in self._state.values():
            for view in self._views(buffer):
                view[member] = 0.0
        self.diverged_at[member] = -1
        self._all_alive = bool((self.diverged_at < 0).all())

    @torch.no_grad()
    def take(self, members: Tensor, state: dict[str, Any]) -> None:
        """Where ``members`` (P,) is true, become what ``state`` (of :meth:`state_dict`, at the same step) says."""
        for name, own in {"parameters": self.flat_parameters, **self._state}.items():
            for view, given in zip(self._views(own), self._views(state[name]), strict=True):
                view[members] = given[members]
        self.diverged_at[members] = state["diverged_at"][members]
        self._all_alive = bool((self.diverged_at < 0).all())

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that a bit-identical continuation needs: tensors and one int."""
        tensors = {"parameters": self.flat_parameters, "diverged_at": self.diverged_at, **self._state}
        return {name: tensor.clone() for name, tensor in tensors.items()} | {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`.

        Raises:
            UserError: the state of another target, number of members or optimiser.
        """
        tensors = {"parameters": self.flat_parameters, "diverged_at": self.diverged_at, **self._state}
        if state.keys() != tensors.keys() | {"step"} or any(state[key].shape != own.shape for key, own in tensors.items()):
            raise UserError("the saved population has another target, size or optimiser; start afresh or restore its settings.")
        for name, own in tensors.items():
            own.copy_(state[name])
        self.step = int(state["step"])
        self._all_alive = bool((self.diverged_at < 0).all())

    def _views(self, flat: Tensor) -> list[Tensor]:
        """The tensors, each (P, *shape), in a buffer laid out as ``flat_parameters``."""
        shapes = [(self.members, *shape) for shape in self.target.shapes]
        pieces = flat.split([math.prod(shape) for shape in shapes])
        return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]

    def _by_chunk(self) -> list[Piece]:
        size = CHUNK if self.device.type == "cpu" else len(self.flat_parameters)
        buffers = (self.flat_parameters, self.flat_gradients, *self._state.values())
        scratch = self.flat_parameters.new_empty(min(size, len(self.flat_parameters)) if self._state else 0)
        chunks = zip(*(buffer.split(size) for buffer in buffers), strict=True)
        return [Piece(p, u, tuple(state), scratch[: len(p)]) for p, u, *state in chunks]

    def _by_member(self) -> list[Piece]:
        buffers = (self.flat_parameters, self.flat_gradients, *self._state.values())
        rows = zip(*([view.flatten(1) for view in self._views(buffer)] for buffer in buffers), strict=True)
        scratch = self.flat_parameters.new_empty(max(view.numel() for view in self.parameters) if self._state else 0)
        return [Piece(p, u, tuple(s), scratch[: p.numel()].view(p.shape) if s else scratch) for p, u, *s in rows]

    def _workspace(self, examples: int, keep_z: bool = False) -> Workspace:
        key = examples, keep_z
        if key not in self._workspaces:
            if len(self._workspaces) == 4:  # training, evaluation and the rest of a last batch are three
                self._workspaces.clear()
            self._workspaces[key] = Workspace(self.target, self.members, examples, self.flat_parameters, keep_z)
        return self._workspaces[key]

    def _tangent_workspace(self, examples: int) -> tuple[TangentWorkspace, list[Tensor]]:
        if examples not in self._tangents:
            self._tangents.clear()
            work = TangentWorkspace(self.target, self.members, examples, self.flat_parameters)
            self._tangents[examples] = work, self._views(torch.empty_like(self.flat_parameters))
        return self._tangents[examples]

    def _all_finite(self) -> bool:
        """Cheap and safe: a sum is finite only if all its terms are; an overflowing sum costs no more than the exact test."""
        return all(math.isfinite(t.sum().item()) for t in (self.losses, self.flat_gradients, self.flat_parameters))

    def _freeze_diverging(self) -> None:
        total = self.losses.double()
        for parameters, update in zip(self.parameters, self.gradients, strict=True):
            total = total + (parameters + update).flatten(1).sum(1, dtype=torch.float64)
        newly = ~torch.isfinite(total) & (self.diverged_at < 0)
        self.diverged_at.masked_fill_(newly, self.step)
        if self.device.type == "cpu":
            self._all_alive = bool((self.diverged_at < 0).all())

    def _descend(self) -> None:
        settings = self._settings
        if self._schedule is not None:
            factor = self._schedule(min(1.0, self.step / self._steps))
            settings = dataclasses.replace(settings, learning_rate=settings.learning_rate * factor)
        for piece in self._pieces:
            self._optimise(piece, settings, self.step)


def _check_parameters(target: MLP, parameters: Sequence[Tensor]) -> None:
    shapes = [tuple(tensor.shape) for tensor in parameters]
    if not shapes or shapes != [(shapes[0][0], *shape) for shape in target.shapes]:
        raise UserError(f"parameters of shapes {shapes} are no population of {target}; give its tensors, each with P first.")
