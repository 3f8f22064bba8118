"""Work whose results should not depend on the device that does it, and how they are compared (:mod:`benchmarks.gpu` does both).

A new case is one entry of :func:`cases`. Needs torch, numpy and jaxtyping alone.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.config import (
    Config,
    ENNConfig,
    InstructionConfig,
    RLConfig,
    TargetConfig,
    TrainingConfig,
    UnrollConfig,
)
from pipeline.data.dataset import Dataset
from pipeline.enn import Critic, Home
from pipeline.enn.readers import READERS
from pipeline.instruction import L1, L2, Backprop, Growth, Instruct, Instructor, RandomPush, Rule
from pipeline.instruction.guard import Guard
from pipeline.instruction.loop import advance
from pipeline.instruction.reading import value_gradients
from pipeline.targets import ACTIVATIONS, MLP, Batches, Population, initialise
from pipeline.targets.optimisers import OPTIMISERS
from rl.unrolled import FineTuning

TOLERANCES = {torch.float64: 1e-9, torch.float32: 3e-4, torch.bfloat16: 0.1}
"""on the relative difference; on the CPU, float32 against float64 gives up to 3e-5, bfloat16 against float32 3e-2"""

SMALL, STEPS, MEMBERS = (12, 9, 7, 5), 20, 3
TRAININGS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "momentum": {"momentum": 0.9, "weight_decay": 0.01},
    "adam": {"optimiser": "adam", "learning_rate": 0.01, "weight_decay": 0.01},
    "adamw": {"optimiser": "adamw", "learning_rate": 0.01, "weight_decay": 0.1},
    "cosine": {"momentum": 0.9, "schedule": "cosine", "steps": STEPS},
    "a rate per member": {"learning_rate": torch.tensor([0.02, 0.1, 0.3])},
}


@dataclass(frozen=True)
class Case:
    """Work whose results, a list of tensors, should not depend on the device."""

    name: str
    run: Callable[[str, torch.dtype], Sequence[Tensor]]
    dtypes: tuple[torch.dtype, ...] = (torch.float64, torch.float32)


def cases() -> Iterator[Case]:
    """All that is compared. Every optimiser, activation and reader that is registered is among it."""
    assert {kind.get("optimiser", "sgd") for kind in TRAININGS.values()} == set(OPTIMISERS), "an optimiser has no case"
    every = (torch.float64, torch.float32, torch.bfloat16)
    for name, activation, shared in itertools.product(TRAININGS, ACTIVATIONS, (False, True)):
        yield Case(
            f"training, {name}, {activation}, {order(shared)}",
            lambda device, dtype, own=(name, activation, shared): trained(device, dtype, *own),
        )
    for activation, shared in itertools.product(ACTIVATIONS, (False, True)):
        yield Case(
            f"gradients, {activation}, {order(shared)}",
            lambda device, dtype, own=(activation, shared): gradients(device, dtype, *own),
            every,
        )
        yield Case(
            f"tangent, {activation}, {order(shared)}",
            lambda device, dtype, own=(activation, shared): tangents(device, dtype, *own),
        )
    yield Case("a member that diverges", diverging)
    yield Case("evaluation", evaluated)
    for name in RULES:
        yield Case(f"rule, {name}", lambda device, dtype, own=name: moved(device, dtype, RULES[own](device, dtype)))
    for reader, activation in itertools.product(READERS, ACTIVATIONS):
        yield Case(
            f"reading, {reader}, {activation}", lambda device, dtype, own=(reader, activation): read(device, dtype, *own)
        )
    for reader, decoupled, scale in itertools.product(READERS, (False, True), (0.0, 3.0)):
        use = {"decoupled": decoupled, "scale": scale}
        name = f"{'decoupled' if decoupled else 'coupled'}, {'λ by its head' if scale else 'λ by its advantages'}"
        yield Case(
            f"instruction, {reader}, {name}",
            lambda device, dtype, own=(reader, use): instructed(device, dtype, *own),
        )
    for name in ("sgd", "momentum", "adamw"):
        yield Case(f"fine-tuning, {name}", lambda device, dtype, own=name: fine_tuned(device, own), (torch.float32,))
    for kind in MODULES:
        yield Case(f"instructor, {kind}", lambda device, dtype, own=kind: instructed_module(device, dtype, own), every)


def order(shared: bool) -> str:
    return "one batch for all" if shared else "a batch each"


def small_batches(device: str, dtype: torch.dtype, shared: bool = False) -> Batches:
    generator = torch.Generator().manual_seed(0)
    x, y = (
        torch.randn(60, SMALL[0], generator=generator, dtype=torch.float64),
        torch.randint(SMALL[-1], (60,), generator=generator),
    )
    return Batches(x.to(device, dtype), y.to(device), 16, range(MEMBERS), shared)


def weights(device: str, dtype: torch.dtype, target: MLP, scheme: str = "he") -> list[Tensor]:
    return initialise(target, scheme, range(MEMBERS), device=device, dtype=dtype)


def moved(device: str, dtype: torch.dtype, rule: Rule, shared: bool = False, **settings: Any) -> list[Tensor]:
    """How far each member goes in a few steps."""
    target = MLP(SMALL, settings.pop("activation", "relu"))
    population = Population(target, weights(device, dtype, target), **{"learning_rate": 0.1} | settings)
    before = population.flat()
    advance(population, rule, rule.init(population), small_batches(device, dtype, shared), STEPS)
    return list((population.flat() - before).unbind())


def trained(device: str, dtype: torch.dtype, name: str, activation: str, shared: bool) -> list[Tensor]:
    return moved(device, dtype, Backprop(), shared, activation=activation, **TRAININGS[name])


def gradients(device: str, dtype: torch.dtype, activation: str, shared: bool) -> list[Tensor]:
    """Losses and gradients at He's weights."""
    target = MLP(SMALL, activation)
    population = Population(target, weights(device, dtype, target))
    return [*population.grads(*small_batches(device, dtype, shared)(0)), population.losses]


def tangents(device: str, dtype: torch.dtype, activation: str, shared: bool) -> list[Tensor]:
    """Hessian-vector products of small weights and of He's, with a fixed vector."""
    target, found = MLP(SMALL, activation), []
    x, y = small_batches(device, dtype, shared)(0)
    for scheme in ("normal", "he"):
        generator = torch.Generator().manual_seed(1)
        own = weights(device, dtype, target, scheme)
        vector = [torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(device, dtype) for tensor in own]
        population = Population(target, own)
        population.grads(x, y)
        found += [tensor.clone() for tensor in population.tangent(x, y, vector)]
    return found


def diverging(device: str, dtype: torch.dtype) -> list[Tensor]:
    """When the second member ends, and how far the others go."""
    target, rates = MLP(SMALL), torch.tensor([0.1, 1e30, 0.1])
    population = Population(target, weights(device, dtype, target), learning_rate=rates)
    before = population.flat()
    advance(population, Backprop(), None, small_batches(device, dtype), STEPS)
    movement = population.flat() - before
    return [population.diverged_at.double(), movement[0], movement[2]]


def evaluated(device: str, dtype: torch.dtype) -> list[Tensor]:
    target, batches = MLP(SMALL), small_batches(device, dtype)
    found = Population(target, weights(device, dtype, target)).evaluate(batches.x, batches.y, 50)
    return [found.loss, found.accuracy]


RULES: dict[str, Callable[[str, torch.dtype], Rule]] = {
    "L1": lambda device, dtype: L1(torch.tensor([0.0, 0.01, 0.1], device=device, dtype=dtype)),
    "L2": lambda device, dtype: L2(torch.tensor([0.0, 0.01, 0.1], device=device, dtype=dtype)),
    "growth": lambda device, dtype: Growth(last=torch.tensor([1.0, 2.0, 4.0], device=device, dtype=dtype)),
    "random push": lambda device, dtype: RandomPush(range(MEMBERS), steps=STEPS // 2),
}


def small_critic(device: str, dtype: torch.dtype, reader: str, **use: Any) -> Critic:
    """An ENN drawn on the CPU whose gradient is felt."""
    torch.manual_seed(0)
    usual = {"steps": 40, "period": 6, "learning_rate": 0.1, "ladder": (0.0, 1.0, 100.0), "refresh": 4, "trust_region": 0.02}
    critic = Critic(reader, ENNConfig(hidden=8, probes=5, resolution=0.6, width=4), Home(MLP(SMALL), **usual | use))
    with torch.no_grad():
        critic.value_head.weight.mul_(20)
        critic.strength_weight.normal_()
    return critic.to(device, dtype).requires_grad_(False)


def read(device: str, dtype: torch.dtype, reader: str, activation: str) -> list[Tensor]:
    """V and ∂V/∂θ."""
    target = MLP(SMALL, activation)
    progress = torch.tensor([0.0, 0.4, 1.0], device=device, dtype=dtype)
    found = value_gradients(small_critic(device, dtype, reader), weights(device, dtype, target), progress, activation)
    return [found.value, *found.gradients]


def instructed(device: str, dtype: torch.dtype, reader: str, use: dict[str, Any]) -> list[Tensor]:
    rule = Instruct(small_critic(device, dtype, reader, **use), 40, 0.1, guard=Guard())
    return moved(device, dtype, rule, momentum=0.5)


MODULES = ("a chain of linear layers", "a convolutional network")


def instructed_module(device: str, dtype: torch.dtype, kind: str) -> list[Tensor]:
    """What the instructor adds to the gradients of somebody's module, the ENN in float32 unless the module is in float64."""
    torch.manual_seed(1)
    chain, (channels, classes) = kind == MODULES[0], (4, SMALL[-1])
    network = nn.Sequential(nn.Conv2d(1, channels, 2), nn.ReLU(), nn.Flatten(), nn.Linear(6 * channels, classes))
    model = (MLP(SMALL).module() if chain else network).to(device, dtype)
    critic = small_critic(device, torch.promote_types(dtype, torch.float32), "probes", strength=1.0)
    instructor = Instructor(critic, 40, 0.1, input_shape=None if chain else (1, 3, 4))
    for _ in range(2):
        instructor.instruct(model)
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def fine_tuned(device: str, name: str) -> list[Tensor]:
    """The ENN's gradient through a segment of unrolled training, and how far the targets went."""
    values = np.random.default_rng(0)

    def part(examples: int) -> tuple[np.ndarray, np.ndarray]:
        return values.standard_normal((examples, SMALL[0]), np.float32), values.integers(SMALL[-1], size=examples)

    data = Dataset("random", *part(120), *part(60), *part(10), (SMALL[0],), SMALL[-1])
    config = Config(
        target=TargetConfig(hidden=SMALL[1:-1]),
        training=TrainingConfig(batch_size=16, steps=24, **TRAININGS[name]),
        enn=ENNConfig(readers=("probes",), probes=5, hidden=8),
        rl=RLConfig(period=12),
        instruction=InstructionConfig(refresh=3),
        unroll=UnrollConfig(segments=6, steps=6, members=4, score_examples=32, strength=2.0, anneal=3),
    )
    tuning = FineTuning(config, data, small_critic("cpu", torch.float32, "probes"), device)
    before = tuning.population.flat()
    tuning.segment(0)
    gradients = [parameter.grad for parameter in tuning.critic.parameters() if parameter.grad is not None]
    return [*gradients, *(tuning.population.flat() - before).unbind()]


def difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest ``‖found − expected‖ / ‖expected‖``; infinite where one is not finite, or where nothing could differ."""
    worst = 0.0
    for own, other in zip(found, expected, strict=True):
        own, other = own.detach().cpu().double(), other.detach().cpu().double()
        length, apart = other.norm().item(), (own - other).norm().item()
        worst = max(worst, apart / length if length > 0 and math.isfinite(apart) else math.inf)
    return worst if found else math.inf


def judge(case: Case, dtype: torch.dtype, device: str) -> dict[str, Any]:
    """One row of the table."""
    apart = difference(case.run(device, dtype), case.run("cpu", dtype))
    tolerance = TOLERANCES[dtype]
    return {
        "case": case.name,
        "dtype": str(dtype).removeprefix("torch."),
        "difference": apart if math.isfinite(apart) else None,
        "tolerance": tolerance,
        "equal": apart <= tolerance,
    }


def told(row: dict[str, Any]) -> str:
    apart = "not finite, or nothing to compare" if row["difference"] is None else f"{row['difference']:.1e}"
    return f"{row['case']} ({row['dtype']}): {apart}, tolerance {row['tolerance']:.0e}"
