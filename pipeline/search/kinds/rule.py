"""Searches over what goes backwards: a learning rule and its own numbers, such as φ and the mode bits of a learned derivative.

Candidates that differ by φ and mode bits alone are members of one population, each with several seeds where the stage says so.
Others are trained one after the other.

A member is what it is by itself but for rounding: at small or odd widths a matrix product rounds by how many members there are
and where each stands, and a training makes that larger. So a population is never divided, not for workers and not for want of
memory, and which candidates it has follows from the settings (:meth:`pipeline.search.ladder.Ladder.population`).
"""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import Config, RuleConfig, identity
from pipeline.config.compare import CompareConfig
from pipeline.config.rule import PHI, TAKES
from pipeline.errors import UserError
from pipeline.search.kinds import training
from pipeline.search.kinds.kind import Checks, Kind
from pipeline.search.values import Record, Stage

if TYPE_CHECKING:
    import pipeline.data.dataset
    from pipeline.learning import SignalRule
    from pipeline.targets import Population


def decide(base: Mapping[str, Any], last: Stage, record: Record) -> dict[str, Any]:
    """How long targets are trained, where the last stage says so; all validation examples but one choose, for there is no
    ENN's reward."""
    del base, record
    return {"rl.score_examples": 1} | training.decided(last)


def complete(base: Mapping[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Names in ``compare.arms`` the rule and what it is to be compared with (backpropagation with a start from He), so that
    what is found can be compared at once."""
    if base["compare.arms"] != list(CompareConfig().arms):
        return values
    other = "he" if values["rule.name"] == "backprop" else values["rule.name"]
    return values | {"compare.arms": ["conventional", other]}


def reason(key: str) -> str:
    """Why a setting cannot be searched or given."""
    if key.startswith(KIND.decided):
        return "no ENN learns, and all validation examples choose."
    return f"a search over rules varies {' and '.join(f'{name}*' for name in KIND.searched)} settings."


def without_effect(key: str, base: Mapping[str, Any]) -> str:
    """Why a setting would not change any candidate."""
    name, own = base["rule.name"], key.removeprefix("rule.")
    if not key.startswith("rule.") or own == "name" or own in TAKES.get(name, ()):
        return ""
    return f"it is of {' and '.join(rule for rule, takes in TAKES.items() if own in takes)}, and rule.name is {name}."


def check(stages: Sequence[Stage], groups: Sequence[Config], searched: frozenset[str]) -> Checks:
    """What must hold of the stages."""
    del groups
    return training.checks(KIND.over, stages) + training.one_length(stages, searched)


def judge(
    config: Config, stages: Sequence[Stage], folder: Path | None, *, dataset: "pipeline.data.dataset.Dataset"
) -> dict[str, Any]:
    """One candidate by itself: see :func:`judge_together`."""
    return judge_together([config], stages, [folder], dataset=dataset)[0]


def judge_together(
    configs: Sequence[Config],
    stages: Sequence[Stage],
    folders: Sequence[Path | None],
    *,
    dataset: "pipeline.data.dataset.Dataset",
) -> list[dict[str, Any]]:
    """Validation accuracy and loss of fresh targets after the last stage's steps, and the processor's seconds per candidate.

    Raises:
        Failed: a batch would be larger than the training data.
    """
    import torch

    del folders  # nothing is kept: a stage is trained from the start
    torch.set_num_threads(1)
    found: dict[int, dict[str, Any]] = {}
    for places in _alike(configs):
        results = _population([configs[place] for place in places], stages[-1], dataset)
        found.update(zip(places, results, strict=True))
    return [found[place] for place in range(len(configs))]


def _alike(configs: Sequence[Config]) -> Iterator[list[int]]:
    """Places of candidates that can be members of one population: all but φ and mode bits is the same."""
    groups: dict[str, list[int]] = {}
    for place, config in enumerate(configs):
        plain = RuleConfig()
        same = {own: getattr(plain, own) for own in (*PHI, "modes")} if config.rule.name == "pblf" else {}
        key = identity(dataclasses.replace(config, rule=dataclasses.replace(config.rule, **same)))
        groups.setdefault(key, []).append(place)
    yield from groups.values()


def _population(configs: Sequence[Config], stage: Stage, dataset: "pipeline.data.dataset.Dataset") -> list[dict[str, Any]]:
    started = time.thread_time()
    steps, seeds = training.steps_and_seeds(configs[0], stage)
    results = _results(trained(configs, seeds, steps, dataset), configs, dataset)
    seconds = (time.thread_time() - started) / len(configs)
    return [own | {"targets": stage.targets, "seconds": seconds, "steps_per_target": float(steps)} for own in results]


def trained(
    configs: Sequence[Config],
    seeds: Sequence[int],
    steps: int,
    dataset: "pipeline.data.dataset.Dataset",
    device: str = "cpu",
) -> "Population":
    """A population after so many steps: for each candidate a member of every seed, candidate after candidate.

    Args:
        configs: alike but for φ and mode bits.

    Raises:
        Failed: a batch would be larger than the training data.
    """
    from pipeline.instruction import Update
    from pipeline.instruction.loop import advance
    from pipeline.setting import new_population, target_of
    from pipeline.targets import Batches

    first, (x, y) = configs[0], training.training_data(configs[0], dataset, device)
    members = [seed for _ in configs for seed in seeds]
    population = new_population(first, target_of(first, dataset), members, x)
    rule = Update(rule_of(configs, len(seeds)))
    batches = Batches(x, y, first.training.batch_size, members, first.training.shared_order)
    advance(population, rule, rule.init(population), batches, steps)
    return population


def rule_of(configs: Sequence[Config], targets: int) -> "SignalRule | None":
    """The learning rule of a population in which each candidate has so many members; None is backpropagation.

    Raises:
        UserError: several candidates whose rule has no settings of each member.
    """
    import torch

    from pipeline.learning import named
    from pipeline.setting import signal_of

    name = configs[0].rule.name
    if name == "backprop":
        return None
    if name != "pblf":
        if len(configs) > 1:
            raise UserError(f"candidates of the rule {name} are no members of one population; judge them one by one.")
        return signal_of(configs[0])
    phi = torch.tensor([[getattr(config.rule, own) for own in PHI] for config in configs])
    hidden = len(configs[0].target.hidden)
    modes = torch.tensor([config.rule.modes or (1,) * hidden for config in configs])
    return named("pblf", phi=phi.repeat_interleave(targets, 0), modes=modes.repeat_interleave(targets, 0))


def _results(
    population: "Population", configs: Sequence[Config], dataset: "pipeline.data.dataset.Dataset"
) -> list[dict[str, Any]]:
    """Of each candidate, from its members alone."""
    import numpy as np

    from pipeline.setting import selection_data

    found = population.evaluate(*selection_data(configs[0], dataset, str(population.device)))
    loss = training.bounded(found)
    results = []
    for accuracy, own in zip(found.accuracy.chunk(len(configs)), loss.chunk(len(configs)), strict=True):
        spread = 100 * float(np.std(accuracy.cpu().numpy()))
        results.append({"accuracy": 100 * accuracy.mean().item(), "accuracy_spread": spread, "loss": own.mean().item()})
    return results


KIND = Kind(
    name="rule",
    over="rules",
    searched=("rule.", "training."),
    decided=("rl.score_examples",),
    objectives=("accuracy", "loss", "seconds"),
    smaller=("loss", "seconds"),
    ranked="accuracy",
    stands_for={"seconds": "steps_per_target"},
    least_targets=1,
    trained_by="compare",
    decide=decide,
    complete=complete,
    reason=reason,
    without_effect=without_effect,
    check=check,
    prepare=training.judged_by(judge, judge_together),
)
