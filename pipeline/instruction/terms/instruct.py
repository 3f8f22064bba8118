"""The ENN's instruction as a term of an update.

Letters: P members.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.enn import Critic
from pipeline.instruction.guard import Guard
from pipeline.instruction.reading import instructions, moving_rate
from pipeline.instruction.update import Term
from pipeline.targets import Population
from pipeline.targets.members import per_member


@dataclass
class InstructState:
    """What :class:`Instruct` remembers between steps."""

    instruction: list[Tensor] = field(default_factory=list)
    """λ ∂V/∂θ within the trust region, one tensor (P, …) per parameter; empty while every λ is 0"""
    decided: Tensor = field(default_factory=lambda: torch.zeros(0))
    """λ of each member at the last decision (P,)"""
    strength: Tensor = field(default_factory=lambda: torch.zeros(0))
    """λ of each member now: as decided, times the guard's trust (P,)"""


class Instruct(Term):
    """The ENN's instruction of a population. One that is decoupled (``home``) moves the weights and leaves the gradients alone.

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

    @property
    def needs_gradient(self) -> str:
        return "a guarded instruction" if self.guard is not None else ""

    def read(self, population: Population, gradients: Sequence[Tensor], state: InstructState) -> None:
        if population.step % self.critic.home.period % self.critic.home.refresh != 0:
            return
        self.refresh(population, state)
        if self.guard is not None and state.instruction:
            self.guard.reading(gradients, state.instruction)
            factor = self.guard.factor
            state.strength = state.strength * factor
            for instruction in state.instruction:
                instruction.mul_(per_member(factor, instruction) if isinstance(factor, Tensor) else factor)

    def add(self, population: Population, gradients: Sequence[Tensor], state: InstructState) -> None:
        if not self.critic.home.decoupled:
            for gradient, instruction in zip(gradients, state.instruction, strict=False):
                gradient.sub_(instruction)

    def move(self, population: Population, state: InstructState) -> None:
        if self.critic.home.decoupled:
            population.move(state.instruction, moving_rate(self.critic, self.learning_rate, population.step / self.steps))

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
