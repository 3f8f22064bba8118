"""Fine-tuning the ENN through unrolled instructed training. This goes beyond the paper.

RL learns V from scores alone, one number per period. But a target's training is itself differentiable: the *costate*
``a_t = ∂ log(loss at the end) / ∂θ_t`` of a run tells, for every weight at every step, how a push now changes the loss at the
end of the next ``unroll.steps`` steps. It runs backwards through gradient descent,

    a_t = a_{t+1} − η · H_t · a_{t+1},                    H_t the Hessian of step t's batch loss,

and likewise through momentum and Adam (:mod:`rl.descent`). This is Pontryagin's adjoint; in RL value-gradient learning,
Fairbank & Alonso 2012. The ENN φ is trained so that its instructions ``λ ∂V/∂θ`` lower the loss at the end of the segment: by
the gradient of ``Σ_t a_{t+1} · η λ_φ ∂V_φ/∂θ_t`` with respect to φ, beside the squared error of V as a prediction of that
score. Without the Hessians (greedily) nothing was learned that lasts.

Choices. The Hessian-vector products are exact (:meth:`pipeline.targets.Population.tangent`): a difference of two gradients
crosses ReLU's kinks, and costates made of such products explode where exact ones stay small. The instruction's own dependence
on θ is left out of the costate. λ is chosen by a head of the ENN, trained in the same way, from weights and progress. Reward:
each member trains without one fold of the training data and is scored on that fold, so that the ENN is paid for what holds on
data its target has not seen, and there are as many such data as training data. With 4,000 validation examples instead, the ENN
learned those examples (the score on them rose by 2.6 points, on others by none).

Letters: P members, S steps of a segment.
"""

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pipeline.config import Config
from pipeline.data.dataset import Dataset
from pipeline.enn import Critic
from pipeline.files import write_json
from pipeline.instruction import instructions
from pipeline.origin import Origin, read_checkpoint, read_history, write_checkpoint
from pipeline.seeding import numpy_stream, stream
from pipeline.setting import LSUV_EXAMPLES, home_of, reward_data, target_of
from pipeline.targets import Population, initialise
from pipeline.targets.members import dot, per_member
from rl.descent import Costate, Descent, Step, annealed
from rl.state import load_optimiser, optimiser_tensors

SMALLEST_LOSS = 1e-2
"""losses count as at least this where their logarithm is differentiated"""
KEEP = 25
"""segments between two checkpoints"""
WARM_UP = 10
"""segments over which the learning rate rises"""
LARGEST_GRADIENT = 1.0
"""norm to which the gradient with respect to the ENN is shortened"""


def fine_tune(
    config: Config,
    dataset: Dataset,
    critic: Critic,
    folder: Path,
    on_segment: Callable[[dict[str, Any]], None] | None = None,
    device: str = "cpu",
    origin: Origin | None = None,
) -> tuple[Critic, list[dict[str, Any]]]:
    """A fine-tuned copy of ``critic`` and the history, one row per :data:`KEEP` segments; its home is that of ``config``.

    Continues where an earlier call in the same folder stopped, and ends with the same numbers.

    Args:
        on_segment: called with every new row of the history (also for rows of an earlier call).
        origin: what the result is made from; what an earlier call left must be made from the same.
    """
    history_file = folder / "unrolled.json"
    history = read_history(history_file, origin)
    tuning = FineTuning(config, dataset, critic, device)
    if history:
        tuning.load(read_checkpoint(folder / f"unrolled-{history[-1]['segment']:06d}.safetensors", origin))
    for row in history:
        if on_segment:
            on_segment(row)
    started, rows = time.perf_counter(), []
    for number in range(tuning.segments, config.unroll.segments):
        rows.append(tuning.segment(number))
        if (number + 1) % KEEP == 0 or number + 1 == config.unroll.segments:
            row = {name: _mean([row[name] for row in rows]) for name in rows[0]}
            history.append({"segment": number + 1, **row, "seconds": time.perf_counter() - started})
            history[-1] |= origin.row() if origin else {}
            write_checkpoint(folder / f"unrolled-{number + 1:06d}.safetensors", tuning.tensors(), origin)
            write_json(history_file, history)
            for old in sorted(folder.glob("unrolled-*.safetensors"))[:-2]:
                old.unlink()
            started, rows = time.perf_counter(), []
            if on_segment:
                on_segment(history[-1])
    return tuning.exported(), history


def _mean(values: Sequence[float]) -> float:
    """Of the numbers among them; NaN where there is none."""
    found = [value for value in values if not math.isnan(value)]
    return float(np.mean(found)) if found else math.nan


@dataclass
class Life:
    """One member's run: who it is and how far it has come."""

    birth: int
    """number of the run; names its seed and its fold"""
    age: int
    """steps taken"""
    span: int
    """steps after which another takes its place"""


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
        he = torch.arange(unroll.members, device=losses.device) % 2 == 1
        return taught | {
            f"{name}/{start}": float(values[alive & chosen].mean())
            for name, values in rows.items()
            for start, chosen in (("small", ~he), ("he", he))
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
        pairs = (self.config.unroll.members + 1) // 2
        return self.steps * (member // 2 + 1) // pairs

    def _birth(self, span: int) -> Life:
        self.births += 1
        return Life(self.births, 0, span)

    def _start(self, member: int) -> list[Tensor]:
        """Fresh weights of a member, each (1, …): odd members start from He, even ones as configured."""
        scheme = "he" if member % 2 else self.config.target.initialisation
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
        return copy.deepcopy(self.critic).cpu().eval().requires_grad_(False)


@dataclass
class Trajectory:
    """What the way back needs of a segment: per step the parameters and batches, per reading the progress."""

    parameters: list[list[Tensor]]
    batches: list[tuple[Tensor, Tensor]]
    steps: list[Step]
    progress: list[Tensor]


class Folds:
    """Who trains on what, and is scored on what."""

    def __init__(self, config: Config, x: Tensor, y: Tensor, reward: tuple[Tensor, Tensor]) -> None:
        self.config, self.x, self.y, self.kept = config, x, y, reward
        self.fold_of = numpy_stream(config.seed, "folds").permutation(len(x)) % config.unroll.folds
        folds = range(config.unroll.folds)
        self.inside = [np.flatnonzero(self.fold_of == fold) for fold in folds]
        self.outside = [np.flatnonzero(self.fold_of != fold) if len(folds) > 1 else np.arange(len(x)) for fold in folds]
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    def batch(self, lives: Sequence[Life], step: int, size: int) -> tuple[Tensor, Tensor]:
        """Each member's own batch at ``step`` of the segment: (P, B, inputs), (P, B)."""
        return self._take([self._indices(life.birth, life.age + step, size) for life in lives])

    def reward(self, lives: Sequence[Life], segment: int, size: int) -> tuple[Tensor, Tensor]:
        """Examples that each member does not train on: (P, n, inputs), (P, n)."""
        draws = numpy_stream(self.config.seed, "unrolled reward", segment)
        if self.config.unroll.folds == 1:
            chosen = torch.from_numpy(draws.integers(len(self.kept[1]), size=(len(lives), size))).to(self.x.device)
            return self.kept[0][chosen], self.kept[1][chosen]
        return self._take([draws.choice(self.inside[self._fold(life.birth)], size) for life in lives])

    def _fold(self, birth: int) -> int:
        return birth // 2 % self.config.unroll.folds

    def _indices(self, birth: int, step: int, size: int) -> np.ndarray:
        pool = self.outside[self._fold(birth)]
        size = min(size, len(pool))
        epoch, position = divmod(step, len(pool) // size)
        if self._orders.get(birth, (-1, None))[0] != epoch:
            self._orders = {
                other: order for other, order in self._orders.items() if other > birth - 10 * self.config.unroll.members
            }
            seed = stream(self.config.seed, "unrolled", birth)
            self._orders[birth] = (epoch, numpy_stream(seed, "data order", epoch).permutation(pool))
        return self._orders[birth][1][position * size : (position + 1) * size]

    def _take(self, rows: list[np.ndarray]) -> tuple[Tensor, Tensor]:
        index = torch.from_numpy(np.stack(rows)).to(self.x.device)
        return self.x[index], self.y[index].long()


def _norm(tensors: Sequence[Tensor]) -> Float[Tensor, " P"]:
    return dot(tensors, tensors).sqrt()


def log_loss_costate(population: Population, examples: tuple[Tensor, Tensor]) -> Costate:
    """∂ log(loss) / ∂θ of each member on its own examples, (P, n, inputs) and (P, n); where a way back begins."""
    gradients = population.grads(*examples)
    weight = 1 / population.losses.clamp_min(SMALLEST_LOSS)
    return Costate([gradient * per_member(weight, gradient) for gradient in gradients])


def shorten(costate: Costate, largest: float) -> None:
    """Each member's costate to a norm of at most ``largest``; what is not finite becomes 0."""
    costate.scale((largest / _norm(costate.parameters).clamp_min(1e-9)).clamp_max(1.0))
