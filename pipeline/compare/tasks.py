"""What a comparison trains: populations, by name. Arms are paired by seed, and every strength that is to be chosen has the
same number of candidates and of targets.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.arms import ARMS
from pipeline.config import Config
from pipeline.files import read_json
from pipeline.results.edges import PENALTIES, edge_of
from pipeline.seeding import stream


@dataclass(frozen=True)
class Task:
    """One population to train: the unit of work of a worker."""

    name: str
    arm: str
    seeds: tuple[int, ...]
    strengths: tuple[float, ...]
    """one per member (P,): of the arm's rule, for the instruction -1 lets the ENN choose λ; or, where ``compare.rates`` are
    given, times the learning rate"""
    keep: bool
    """keep weights: all members' last, and the first member's at the start, middle and end"""


def tuned_arms(config: Config) -> list[str]:
    """The arms with a strength or a learning rate to choose."""
    return [arm for arm in config.compare.arms if candidates_of(config, arm)]


def chooses_rate(config: Config, arm: str) -> bool:
    """Whether what is chosen for an arm is its learning rate."""
    return bool(config.compare.rates) and not ARMS[arm].strengths


def all_tasks(config: Config) -> list[Task]:
    """Every population of a comparison, for choosing and for comparing; the latter's strengths are not known yet."""
    return [tuning_task(config, arm) for arm in tuned_arms(config)] + final_tasks(config, config.compare.arms, {})


def tuning_task(config: Config, arm: str) -> Task:
    """Every candidate strength of an arm with ``tuning_seeds`` targets each, as one population."""
    candidates = candidates_of(config, arm)
    seeds = [stream(config.seed, "tuning", number) for number in range(config.compare.tuning_seeds)]
    members = [(seed, strength) for strength in candidates for seed in seeds]
    return Task(f"tune-{arm}", arm, tuple(seed for seed, _ in members), tuple(strength for _, strength in members), keep=False)


def final_tasks(config: Config, arms: Sequence[str], strengths: Mapping[str, float]) -> list[Task]:
    """The populations of the comparison: ``seeds`` targets per arm in groups; all arms have the same seeds."""
    seeds = [stream(config.seed, "compare", number) for number in range(config.compare.seeds)]
    tasks, size = [], config.compare.group or len(seeds)
    for arm in arms:
        for number, start in enumerate(range(0, len(seeds), size)):
            group = tuple(seeds[start : start + size])
            tasks.append(Task(f"{arm}-{number}", arm, group, (strengths.get(arm, 0.0),) * len(group), keep=True))
    return tasks


def candidates_of(config: Config, arm: str) -> tuple[float, ...]:
    """The strengths, or learning rates, that are tried for an arm; none where there is nothing to choose."""
    return getattr(config.compare, candidates_name(arm))


def candidates_name(arm: str) -> str:
    """The setting of ``compare`` that names them."""
    return ARMS[arm].strengths or "rates"


def chosen_strengths(config: Config, folder: Path) -> dict[str, dict[str, Any]]:
    """What :func:`choose` says of each arm with a strength to choose whose candidates are trained."""
    files = {arm: folder / "arms" / f"{tuning_task(config, arm).name}.json" for arm in tuned_arms(config)}
    return {arm: choose(config, arm, read_json(file, math.nan)) for arm, file in files.items() if file.exists()}


def choose(config: Config, arm: str, result: dict[str, Any]) -> dict[str, Any]:
    """The candidate with the best mean accuracy on validation data at the end; ties go to the first listed.

    It is said where it lies at an ``edge`` of the candidates, for a better one may lie beyond; not where one that is as good
    lies inside.
    """
    final = np.array(result["accuracy"][-1]).reshape(len(candidates_of(config, arm)), -1).mean(axis=1)
    candidates = candidates_of(config, arm)
    short = [f"{strength:g}" for strength in candidates]
    names = short if len(set(short)) == len(short) else map(repr, candidates)  # those that differ late keep all digits
    tried = {name: float(value) for name, value in zip(names, final, strict=True)}
    strength = candidates[int(final.argmax())]
    best = [candidate for candidate, value in zip(candidates, final, strict=True) if value == final.max()]
    edge = edge_of([strength, *best], candidates, candidates_name(arm) in PENALTIES)
    return {"strength": strength, "validation_accuracy": tried} | ({"edge": edge} if edge else {})
