"""One ENN in fine-tuning: its optimiser, the population that it instructs meanwhile, and the way back through a segment.

Letters: P members, S steps of a segment.
"""

import copy
import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pipeline.config import Config
from pipeline.data.dataset import Dataset
from pipeline.enn import Critic
from pipeline.instruction import instructions
from pipeline.seeding import stream
from pipeline.setting import LSUV_EXAMPLES, home_of, reward_data, target_of
from pipeline.targets import Population, initialise
from pipeline.targets.members import per_member
from rl.critics import frozen_copy
from rl.descent import Costate, Descent, Step, annealed
from rl.roles import STARTS, all_from_he, from_he, pair_of
from rl.state import load_optimiser, optimiser_tensors
from rl.unrolled.costates import _norm, log_loss_costate, shorten
from rl.unrolled.folds import Folds, Life

WARM_UP = 10
"""segments over which the learning rate rises"""
LARGEST_GRADIENT = 1.0
"""norm to which the gradient with respect to the ENN is shortened"""


@dataclass
class Trajectory:
    """What the way back needs of a segment: per step the parameters and batches, per reading the progress."""

    parameters: list[list[Tensor]]
    batches: list[tuple[Tensor, Tensor]]
    steps: list[Step]
    progress: list[Tensor]


class FineTuning:
    """An ENN, its optimiser, and the population that it instructs meanwhile."""

    def __init__(self, config: Config, dataset: Dataset, critic: Critic, device: str = "cpu") -> None:
        unroll, self.config, self.target = config.unroll, config, target_of(config, dataset)
        self.learning_rate, self.steps = config.training.learning_rate, config.training.steps
        self.refresh, self.decoupled = config.instruction.refresh, config.instruction.decoupled
        self.critic = copy.deepcopy(critic).to(device).train().requires_grad_(True)
        self.critic.home = dataclasses.replace(home_of(config, self.target), scale=unroll.strength)
        self.optimiser = torch.optim.Adam(self.critic.parameters(), lr=unroll.learning_rate)
        self.x, self.y = dataset.tensors("train", device)
        self.folds = Folds(config, self.x, self.y, reward_data(config, dataset, device))
        self.segments, self.births = 0, 0
        self.lives = [self._birth(self._first_span(member)) for member in range(unroll.members)]
        starts = [self._start(member) for member in range(unroll.members)]
        start = [torch.cat(tensors) for tensors in zip(*starts, strict=True)]
        self.population = Population(self.target, start)
        self.descent = Descent(config.training, self.population.parameters)
        self.failed = torch.zeros(unroll.members, dtype=torch.bool, device=self.x.device)

    # -- one segment ---------------------------------------------------------------------------------------------------

    def segment(self, number: int) -> dict[str, float]:
        """Train all members for S steps under the ENN, then the ENN by one step of Adam."""
        self._renew()
        path = self._forward()
        kept = (self.population.flat(), self.descent.copy()) if self.config.unroll.anneal else None
        self._anneal(path)
        costate, losses = self._end(number)
        alive = self._leave_out_failed(path, costate, losses)
        row = self._backward(path, costate, losses, alive, number)
        if kept is not None:  # the real run goes on from before the anneal
            self.population.load_flat(kept[0])
            self.descent.state = kept[1]
        for life in self.lives:
            life.age += self.config.unroll.steps
        self.segments = number + 1
        return row

    def _forward(self) -> "Trajectory":
        path = Trajectory([], [], [], [])
        instruction: list[Tensor] = []
        for step in range(self.config.unroll.steps):
            if step % self.refresh == 0:
                path.progress.append(self._progress(step))
                instruction = instructions(
                    self.critic, self.population.parameters, path.progress[-1], None, self.learning_rate
                ).instruction
            self._descend(path, step, self.descent.rates([life.age + step for life in self.lives]), instruction)
        return path

    def _anneal(self, path: "Trajectory") -> None:
        """On to where the learning rate is 0, without instruction: what the segment was worth once the noise has gone."""
        first, steps = self.config.unroll.steps, self.config.unroll.anneal
        rate = self.descent.rates([life.age + first for life in self.lives])
        for step in range(steps):
            self._descend(path, first + step, annealed(rate, step, steps), [])

    def _descend(self, path: "Trajectory", step: int, rate: Tensor, instruction: list[Tensor]) -> None:
        batch = self.folds.batch(self.lives, step, self.config.training.batch_size)
        gradients = self.population.grads(*batch)
        path.parameters.append([parameter.clone() for parameter in self.population.parameters])
        path.batches.append(batch)
        if not self.decoupled:
            for gradient, own in zip(gradients, instruction, strict=False):
                gradient.sub_(own)
        ages = [life.age + step for life in self.lives]
        path.steps.append(self.descent.step(self.population.parameters, gradients, rate, ages))
        if self.decoupled:
            for parameter, own in zip(self.population.parameters, instruction, strict=False):
                parameter.add_(per_member(rate, own) * own)

    def _end(self, number: int) -> tuple[Costate, Float[Tensor, " P"]]:
        """∂ log(loss) / ∂θ of each member after the segment, on data that it does not train on, and the losses."""
        costate = log_loss_costate(self.population, self.folds.reward(self.lives, number, self.config.unroll.score_examples))
        return costate, self.population.losses.clone()

    def _leave_out_failed(self, path: "Trajectory", costate: Costate, losses: Tensor) -> Bool[Tensor, " P"]:
        """Which members teach (P,): one that is not finite must not. It goes back as zero weights that no push can change, so
        that nothing which is computed beside the others is NaN, and whatever is averaged over members leaves it out."""
        failed = ~losses.isfinite() | ~_norm(costate.parameters).isfinite() | ~_norm(self.population.parameters).isfinite()
        self.failed |= failed
        if bool(failed.any()):
            slopes = [taken.slopes for taken in path.steps]
            for tensors in (costate.parameters, *path.parameters, *slopes):
                for tensor in tensors:
                    tensor[failed] = 0.0
        return ~failed

    def _backward(
        self, path: "Trajectory", costate: Costate, losses: Tensor, alive: Bool[Tensor, " P"], number: int
    ) -> dict[str, float]:
        """The costate back through the segment, and the ENN's gradient on the way; one step of its optimiser.

        Means are over the members that are alive; where none is, the ENN stays as it is and the row holds NaN.
        """
        unroll = self.config.unroll
        score, teachers = torch.exp(-losses).masked_fill(~alive, 0.0), alive.sum().clamp_min(1)
        self.optimiser.zero_grad()
        promised, error, strengths = 0.0, [], []
        for step in reversed(range(unroll.steps, len(path.steps))):
            self._back(path, step, costate)
        if unroll.anneal:
            shorten(costate, unroll.largest_costate)
        for read in reversed(range(unroll.steps // self.refresh)):
            summed = [torch.zeros_like(tensor) for tensor in costate.parameters]
            for step in reversed(range(read * self.refresh, (read + 1) * self.refresh)):
                for total, push in zip(summed, self._back(path, step, costate), strict=True):
                    total.sub_(push)
            shorten(costate, unroll.largest_costate)
            weights = path.parameters[read * self.refresh]
            terms = instructions(self.critic, weights, path.progress[read], None, self.learning_rate, graph=True)
            changes = [(total * own).flatten(1).sum(1) for total, own in zip(summed, terms.instruction, strict=True)]
            change = torch.stack(changes).sum(0)[alive].sum() / teachers
            wrong = ((terms.value - score)[alive] ** 2).sum() / teachers
            (change + wrong).backward()
            promised += float(change.detach())
            error.append(float(wrong.detach()))
            strengths.append(terms.strength.detach())
        for group in self.optimiser.param_groups:
            group["lr"] = unroll.learning_rate * min(1.0, (number + 1) / WARM_UP) * (1 - number / unroll.segments)
        length = torch.nn.utils.clip_grad_norm_(self.critic.parameters(), LARGEST_GRADIENT)
        if bool(alive.any()) and bool(length.isfinite()):
            self.optimiser.step()  # else one segment would make an ENN of NaN, for good
        taught = {"promised": promised, "error": float(np.sqrt(np.mean(error)))}
        if not bool(alive.any()):
            taught = dict.fromkeys(taught, math.nan)
        level = torch.stack(strengths).log10().mean(0)
        rows = {"loss": losses, "log10_strength": level}
        he = all_from_he(unroll.members, losses.device)
        return taught | {
            f"{name}/{start}": float(values[alive & chosen].mean())
            for name, values in rows.items()
            for start, chosen in zip(STARTS, (~he, he), strict=True)
        }

    def _back(self, path: "Trajectory", step: int, costate: Costate) -> list[Tensor]:
        """The costate back over one step; what a push added to its gradient would do, a list of (P, …).

        A decoupled push moves the weights after the step, by the learning rate times itself.
        """
        here, batch, taken = path.parameters[step], path.batches[step], path.steps[step]
        after = [own * per_member(-taken.rate, own) for own in costate.parameters] if self.decoupled else None
        pushes = self.descent.back(costate, taken, lambda vector: self.population.tangent(*batch, vector, here))
        return pushes if after is None else after

    # -- lives ---------------------------------------------------------------------------------------------------------

    def _progress(self, step: int) -> Float[Tensor, " P"]:
        ages = torch.tensor([life.age + step for life in self.lives], dtype=torch.float32, device=self.x.device)
        return (ages / self.steps).clamp_max(1.0)

    def _first_span(self, member: int) -> int:
        """The first lives end one after the other, so that all ages are seen together from then on."""
        return self.steps * (pair_of(member) + 1) // pair_of(self.config.unroll.members + 1)

    def _birth(self, span: int) -> Life:
        self.births += 1
        return Life(self.births, 0, span)

    def _start(self, member: int) -> list[Tensor]:
        """Fresh weights of a member, each (1, …)."""
        scheme = "he" if from_he(member) else self.config.target.initialisation
        seed = stream(self.config.seed, "unrolled", self.lives[member].birth)
        x = self.x[:LSUV_EXAMPLES]
        return initialise(self.target, scheme, [seed], self.config.target.sigma, x, device=str(self.x.device))

    def _renew(self) -> None:
        """Members that have come to their end, or that diverged, are replaced."""
        for member, life in enumerate(self.lives):
            if life.age + self.config.unroll.steps > max(life.span, self.config.unroll.steps) or bool(self.failed[member]):
                self.lives[member] = self._birth(self.steps)
                self.population.replace(member, [tensor[0] for tensor in self._start(member)])
                self.descent.forget(member)
                self.failed[member] = False

    # -- state ---------------------------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """All that a bit-identical continuation needs."""
        tensors = {f"critic/{name}": tensor for name, tensor in self.critic.state_dict().items()}
        tensors |= optimiser_tensors(self.optimiser)
        tensors["parameters"] = self.population.flat()
        tensors["failed"] = self.failed
        for name, own in self.descent.state.items():
            tensors |= {f"descent/{name}/{index}": tensor for index, tensor in enumerate(own)}
        tensors["lives"] = torch.tensor([[life.birth, life.age, life.span] for life in self.lives])
        tensors["counts"] = torch.tensor([self.segments, self.births])
        return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of :meth:`tensors`."""
        own = {name.removeprefix("critic/"): t for name, t in tensors.items() if name.startswith("critic/")}
        self.critic.load_state_dict(own)
        load_optimiser(self.optimiser, tensors)
        self.population.load_flat(tensors["parameters"].to(self.x.device))
        self.failed = tensors["failed"].to(self.x.device)
        for name, own in self.descent.state.items():
            for index, tensor in enumerate(own):
                tensor.copy_(tensors[f"descent/{name}/{index}"])
        self.lives = [Life(*row) for row in tensors["lives"].tolist()]
        self.segments, self.births = tensors["counts"].tolist()

    def exported(self) -> Critic:
        """A copy on the CPU."""
        return frozen_copy(self.critic)
