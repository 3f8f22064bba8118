"""Searches over equations: what goes backwards is a term that evolves (Backprop Evolution).

One equation is judged on several seeds at several learning rates at once, all as members of one population; its accuracy is
that at its best rate. An equation of which every member has diverged is not trained any longer.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import Config
from pipeline.config.compare import CompareConfig
from pipeline.errors import UserError
from pipeline.search.kinds import training
from pipeline.search.kinds.kind import Checks, Kind
from pipeline.search.values import Dimension, Record, Stage

if TYPE_CHECKING:
    import pipeline.data.dataset
    from pipeline.search.equations import Equations
    from pipeline.search.plan import Plan
    from pipeline.search.values import Group
    from pipeline.targets import Population

LOOK = 10
"""steps after which it is looked whether any member lives"""


def decide(base: Mapping[str, Any], last: Stage, record: Record) -> dict[str, Any]:
    """How long targets are trained, where the last stage says so."""
    del base, record
    return training.decided(last)


def complete(base: Mapping[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Names the rule, and in ``compare.arms`` what it is to be compared with, each at the best of the same learning rates as
    here, so that what is found can be compared at once."""
    values = values | {"rule.name": "expression"}
    if base["compare.arms"] != list(CompareConfig().arms):
        return values
    values |= {"compare.arms": ["conventional", "expression"]}
    rates = list(dict.fromkeys(base["evolution.rates"]))
    if base["compare.rates"] or min(rates, default=0) <= 0:  # given, or about to be refused
        return values
    return values | {"training.learning_rate": rates[0], "compare.rates": [rate / rates[0] for rate in rates]}


def reason(key: str) -> str:
    """Why a setting cannot be searched or given."""
    return f"a search over equations varies rule.equation alone{', and names the rule' * (key == 'rule.name')}."


def check_space(space: Sequence[Dimension]) -> None:
    """Raises UserError where an equation to begin with cannot be read or does not type."""
    from pipeline.learning import named

    for text in space[0].choice:
        try:
            named("expression", equation=text)
        except UserError as error:
            raise UserError(f"space.rule.equation: {error}") from error


def check(stages: Sequence[Stage], groups: Sequence[Config], searched: frozenset[str]) -> Checks:
    """What must hold of the stages."""
    del groups, searched
    return training.checks(KIND.over, stages)


def proposals(plan: "Plan", group: "Group", folder: Path, dataset: "pipeline.data.dataset.Dataset | None") -> "Equations":
    """Evolution, or random equations."""
    from pipeline.search.equations import Equations

    del folder, dataset  # what is proposed follows from the results
    return Equations(plan, group)


def judge(
    config: Config, stages: Sequence[Stage], folder: Path | None, *, dataset: "pipeline.data.dataset.Dataset"
) -> dict[str, Any]:
    """Validation accuracy and loss of fresh targets at the best of the learning rates, and the processor's seconds for all.

    Raises:
        Failed: a batch would be larger than the training data.
    """
    import torch

    from pipeline.setting import selection_data

    del folder  # nothing is kept: a stage is trained from the start
    torch.set_num_threads(1)
    stage, rates, started = stages[-1], config.evolution.rates, time.thread_time()
    steps, seeds = training.steps_and_seeds(config, stage)
    population = trained(config, seeds, rates, steps, dataset)
    found = population.evaluate(*selection_data(config, dataset))
    accuracy = found.accuracy.view(len(rates), len(seeds)).mean(1)
    loss = training.bounded(found).view(len(rates), len(seeds)).mean(1)
    best = int(accuracy.argmax())
    return {
        "accuracy": 100 * accuracy[best].item(),
        "accuracy_spread": 100 * found.accuracy.view(len(rates), len(seeds))[best].std(correction=0).item(),
        "loss": loss[best].item(),
        "learning_rate": rates[best],
        "diverged": (population.diverged_at >= 0).float().mean().item(),
        "targets": stage.targets,
        "seconds": time.thread_time() - started,
        "steps_per_target": float(steps),
    }


def trained(
    config: Config, seeds: Sequence[int], rates: Sequence[float], steps: int, dataset: "pipeline.data.dataset.Dataset"
) -> "Population":
    """A population after so many steps under the equation: a member of every seed at every rate, rate after rate.

    Raises:
        Failed: a batch would be larger than the training data.
    """
    import torch

    from pipeline.instruction import Update
    from pipeline.instruction.loop import advance
    from pipeline.setting import new_population, signal_of, target_of
    from pipeline.targets import Batches

    x, y = training.training_data(config, dataset)
    members = [seed for _ in rates for seed in seeds]
    of_each = torch.tensor(rates).repeat_interleave(len(seeds))
    population = new_population(config, target_of(config, dataset), members, x, learning_rate=of_each)
    rule = Update(signal_of(config))
    batches = Batches(x, y, config.training.batch_size, members, config.training.shared_order)
    state = rule.init(population)
    while population.step < steps and bool((population.diverged_at < 0).any()):
        advance(population, rule, state, batches, min(LOOK, steps - population.step))
    return population


KIND = Kind(
    name="equation",
    over="equations",
    searched=("rule.equation",),
    decided=("rule.name",),
    objectives=("accuracy", "loss", "seconds"),
    smaller=("loss", "seconds"),
    ranked="accuracy",
    stands_for={"seconds": "steps_per_target"},
    least_targets=1,
    samplers=("genetic", "random"),
    trained_by="compare",
    decide=decide,
    complete=complete,
    reason=reason,
    check=check,
    check_space=check_space,
    proposals=proposals,
    prepare=training.judged_by(judge),
)
