"""The training loop of a population under a rule, and the trace that it leaves.

Letters: P members, D decisions (periods), so D + 1 points at which a run is measured.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.enn import Critic
from pipeline.instruction.angles import angles
from pipeline.instruction.rule import Batch, Rule
from pipeline.instruction.terms import Instruct, InstructState
from pipeline.instruction.update import Update, parts, without
from pipeline.learning import Bound
from pipeline.targets import Batches, Evaluation, Population
from pipeline.targets.members import norms


@dataclass
class Trace:
    """What was measured at every period boundary of a run; lists over points, arrays over members (P,)."""

    steps: list[int] = field(default_factory=list)
    """optimiser steps taken by then"""
    seconds: list[float] = field(default_factory=list)
    """training time per member since the start, without the time spent on measuring (CPU seconds, or a GPU's wall seconds)"""
    times: list[int] = field(default_factory=list)
    """when each point was measured, in ms since epoch"""
    loss: list[np.ndarray] = field(default_factory=list)
    """mean cross entropy on the validation data, in nats"""
    accuracy: list[np.ndarray] = field(default_factory=list)
    """on the validation data, in [0, 1]"""
    strength: list[np.ndarray] = field(default_factory=list)
    """λ in the period that ended here (from the second point on)"""
    gradient_norm: list[np.ndarray] = field(default_factory=list)
    """of the loss of the batch that comes next, over all tensors"""
    instruction_norm: list[np.ndarray] = field(default_factory=list)
    """of the instruction that is followed; 0 without one"""
    predicted: dict[str, list[np.ndarray]] = field(default_factory=dict)
    """V(θ, t) by each ENN"""
    angles: list[np.ndarray] = field(default_factory=list)
    """between what a learning rule gives and the gradient, (P, layers) in degrees; empty for backpropagation"""


def advance(population: Population, rule: Rule, state: Any, batches: Batches, steps: int) -> None:
    """``steps`` optimiser steps of all members."""
    for _ in range(steps):
        batch = Batch(*batches(population.step))
        population.apply(rule.update(population, batch, state))


def advance_guarded(population: Population, rule: Rule, state: Any, batches: Batches, steps: int) -> int:
    """One period under the guard of a rule's instruction: in a trial with and without the instruction, each member going on
    from the better.

    Returns:
        The optimiser steps taken per member: ``steps``, twice that in a trial.
    """
    instruct = guarded(rule, state)
    assert instruct is not None and instruct.guard is not None
    guard, last = instruct.guard, population.step + steps >= instruct.steps
    if guard.score is None or not guard.is_trial(population.step // instruct.critic.home.period, last):
        advance(population, rule, state, batches, steps)
        return steps
    before, guard.allowed = population.state_dict(), None
    advance(population, rule, state, batches, steps)
    scores, instructed = guard.score(population), population.state_dict()
    population.load_state_dict(before)
    advance(population, *without(rule, state, instruct), batches, steps)
    won = scores > guard.score(population)
    population.take(won, instructed)
    guard.allowed = won.to(population.dtype)
    return 2 * steps


def guarded(rule: Rule, state: Any) -> Instruct | None:
    """The instruction of a rule that has a guard."""
    terms = [term for term, _ in parts(rule, state) if isinstance(term, Instruct) and term.guard is not None]
    return terms[0] if terms else None


def train(
    population: Population,
    rule: Rule,
    batches: Batches,
    steps: int,
    period: int,
    validation: tuple[Tensor, Tensor],
    critics: Mapping[str, Critic] | None = None,
    at_point: Callable[[int], None] | None = None,
) -> Trace:
    """Train all members, and measure them at the start and after every period.

    Args:
        population: trained in place; from the step on that it has reached.
        rule: an :class:`Update`, a term, or whatever makes updates.
        batches: x and y of a step, by its number.
        steps: T, optimiser steps of the whole run.
        period: optimiser steps between two measurements.
        validation: x (n, in) and y (n,), on which members are measured.
        critics: ENNs by name, whose predictions are to be traced.
        at_point: called with the step after each measurement, for checkpoints and progress.

    Returns:
        What was measured.
    """
    trace, state, elapsed = Trace(), rule.init(population), 0.0
    signal = state.signal if isinstance(rule, Update) else None
    instruction = next((own for _, own in parts(rule, state) if isinstance(own, InstructState)), None)
    _measure(trace, population, instruction, signal, batches, elapsed, steps, validation, critics or {})
    while population.step < steps:
        if at_point:
            at_point(population.step)
        started = _clock(population)
        if guarded(rule, state) is not None:
            advance_guarded(population, rule, state, batches, min(period, steps - population.step))
        else:
            advance(population, rule, state, batches, min(period, steps - population.step))
        elapsed += (_clock(population) - started) / population.members
        _measure(trace, population, instruction, signal, batches, elapsed, steps, validation, critics or {})
    population.freeze(torch.from_numpy(~np.isfinite(trace.loss[-1])).to(population.device))
    if at_point:
        at_point(population.step)
    return trace


def _measure(
    trace: Trace,
    population: Population,
    state: InstructState | None,
    signal: Bound | None,
    batches: Batches,
    elapsed: float,
    steps: int,
    validation: tuple[Tensor, Tensor],
    critics: Mapping[str, Critic],
) -> None:
    evaluation = population.evaluate(*validation)
    trace.steps.append(population.step)
    trace.seconds.append(elapsed)
    trace.times.append(time.time_ns() // 1_000_000)
    trace.loss.append(evaluation.loss.cpu().numpy())
    trace.accuracy.append(evaluation.accuracy.cpu().numpy())
    batch = batches(population.step)
    trace.gradient_norm.append(norms(population.grads(*batch)).cpu().numpy())
    if signal is not None:
        trace.angles.append(angles(population, *batch, signal).cpu().numpy())
    zeros = np.zeros(population.members)
    trace.instruction_norm.append(norms(state.instruction).cpu().numpy() if state and state.instruction else zeros)
    if population.step > 0:
        trace.strength.append(state.strength.cpu().numpy() if state else zeros)
    progress = torch.full((population.members,), population.step / steps, device=population.device, dtype=population.dtype)
    with torch.no_grad():
        for name, critic in critics.items():
            values = critic.value(population.parameters, progress, population.target.activation)
            trace.predicted.setdefault(name, []).append(values.cpu().numpy())


def score(evaluation: Evaluation, kind: str) -> Float[Tensor, " P"]:
    """The score in [0, 1]: ``exp(−loss)`` (kind ``loss``) or accuracy; 0 for a member that diverged."""
    return torch.exp(-evaluation.loss) if kind == "loss" else evaluation.accuracy


def returns(scores: np.ndarray, gamma: float) -> np.ndarray:
    """The discounted score from every point on, the last one persisting; what V(θ, t) predicts.

    ``G_t = (1 − γ) s_{t+1} + γ G_{t+1}`` with ``G_T = s_T``. So γ = 0 gives the next score and a constant score gives itself.

    Args:
        scores: (D + 1, P), the score at every point.

    Returns:
        (D + 1, P).
    """
    values = scores.copy()
    for point in range(len(scores) - 2, -1, -1):
        values[point] = (1 - gamma) * scores[point + 1] + gamma * values[point + 1]
    return values


def _clock(population: Population) -> float:
    """Seconds of work: this thread's on the CPU, where other processes share the cores; by the wall on a GPU."""
    if population.device.type == "cuda":
        torch.cuda.synchronize(population.device)
        return time.perf_counter()
    return time.thread_time()
