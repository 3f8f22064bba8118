"""The comparison: fresh targets, paired by seed, trained with and without instruction.

Every strength (of L1, of L2, of the instruction) is chosen on validation data from the same number of candidates with the same
number of targets. Nothing here sees the test set: final weights are kept, and the report looks at the test set once.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.cluster import Placement, run_tasks
from pipeline.compare.results import collect
from pipeline.compare.tasks import Task, chosen_strengths, final_tasks, tuned_arms, tuning_task
from pipeline.compare.train import train_task
from pipeline.config import Config
from pipeline.data.dataset import Dataset
from pipeline.enn import Critic
from pipeline.enn.files import digest_of
from pipeline.errors import UserError, shown
from pipeline.files import read_json, sha256_of, write_json, write_tensors
from pipeline.results.origin import TRAINING, Origin, fits, other
from pipeline.results.seal import check_seal, sealed


def compare(
    config: Config,
    dataset: Dataset,
    critics: Mapping[str, Critic],
    folder: Path,
    placement: Placement,
    on_task: Callable[[str, int, int], None] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, dict[str, Any]]:
    """Train every arm; the arms' results, as :func:`collect` gives them. Tasks already done in ``folder`` are not done again.

    Args:
        on_task: called with a task's name, how many are done, and how many there are.
        provenance: where the results come from, which they carry.

    Raises:
        UserError: a task that is done was done with other data, settings, seeds or ENNs.
    """
    arms_folder = folder / "arms"
    tuned = tuned_arms(config)
    untuned = [arm for arm in config.compare.arms if arm not in tuned]
    first = [tuning_task(config, arm) for arm in tuned] + final_tasks(config, untuned, {})
    total = len(first) + len(final_tasks(config, tuned, dict.fromkeys(tuned, 0.0)))
    progress = _Progress(on_task, total)
    _do(first, config, dataset, critics, arms_folder, placement, progress, provenance or {})
    chosen = chosen_strengths(config, folder)
    write_json(arms_folder / "strengths.json", chosen)
    second = final_tasks(config, tuned, {arm: choice["strength"] for arm, choice in chosen.items()})
    _do(second, config, dataset, critics, arms_folder, placement, progress, provenance or {})
    return collect(config, folder)


class _Progress:
    def __init__(self, on_task: Callable[[str, int, int], None] | None, total: int) -> None:
        self.on_task, self.total, self.done = on_task, total, 0

    def __call__(self, name: str) -> None:
        self.done += 1
        if self.on_task:
            self.on_task(name, self.done, self.total)


def _do(
    tasks: Sequence[Task],
    config: Config,
    dataset: Dataset,
    critics: Mapping[str, Critic],
    folder: Path,
    placement: Placement,
    progress: Callable[[str], None],
    provenance: Mapping[str, Any],
) -> None:
    """Train what is not there yet, writing each result as it comes: weights first, the .json last."""
    origin = population_origin(config, dataset, critics)
    missing = [task for task in tasks if not (folder / f"{task.name}.json").exists()]
    for task in tasks:
        if task not in missing:
            _is_of_task(folder, task, config, origin)
            progress(task.name)
    shared = {"config": config, "dataset": dataset, "critics": dict(critics)}
    for _, output in run_tasks(train_task, missing, shared, placement):
        name = output["result"]["name"]
        result = output["result"] | {"origin": origin.as_json(), "provenance": {**provenance, "times": output["times"]}}
        if output["weights"]:
            result["weights"] = write_tensors(folder / f"{name}.safetensors", output["weights"])
        write_json(folder / f"{name}.json", sealed(result))
        progress(name)


def population_origin(config: Config, dataset: Dataset, critics: Mapping[str, Critic]) -> Origin:
    """What every population of a comparison is made from."""
    return Origin.of(config, dataset, TRAINING, {name: digest_of(critic) for name, critic in critics.items()})


def check_populations(config: Config, dataset: Dataset, critics: Mapping[str, Critic], folder: Path) -> list[Path]:
    """The populations in ``folder`` that do not say what they were made from (an earlier version's).

    Raises:
        UserError: one was made with other data, settings, seeds, strengths or ENNs.
    """
    origin, arms = population_origin(config, dataset, critics), config.compare.arms
    tuning = [tuning_task(config, arm) for arm in tuned_arms(config)]
    silent = [task for task in tuning if not _is_of_task(folder / "arms", task, config, origin)]
    strengths = {}
    with suppress(UserError):  # a file is damaged: the stage that needs it says so
        strengths = {arm: choice["strength"] for arm, choice in chosen_strengths(config, folder).items()}
    for task in final_tasks(config, arms, strengths):
        known = task.arm not in tuned_arms(config) or task.arm in strengths
        if not _is_of_task(folder / "arms", task, config, origin, known):
            silent.append(task)
    return [folder / "arms" / f"{task.name}.json" for task in silent]


def _is_of_task(arms: Path, task: Task, config: Config, origin: Origin, strengths: bool = True) -> bool:
    """Whether the result of ``task`` says what it was made from; one that is not there says nothing wrong.

    Args:
        strengths: whether those of ``task`` are known, and to be compared.

    Raises:
        UserError: it is not of this task.
    """
    path = arms / f"{task.name}.json"
    try:
        result = read_json(path) if os.path.lexists(path) else None
    except UserError:  # it is damaged: the stage that needs it says so
        result = None
    if not isinstance(result, dict):
        return True
    says = fits(path, result.get("origin"), origin)
    wanted = {"arm": task.arm, "seeds": list(task.seeds)} | ({"strengths": list(task.strengths)} if strengths else {})
    wanted["steps"] = list(range(0, config.training.steps + 1, config.rl.period))
    for name, value in wanted.items():
        if result.get(name) != value:
            raise other(path, f"{name} {shown(result.get(name))}", shown(value))
    check_seal(path, result)
    weights = path.with_suffix(".safetensors")
    if task.keep and "weights" in result and not (weights.exists() and sha256_of(weights) == result["weights"]):
        raise UserError(
            f"{weights} does not hold the weights that {path.name} was written with; put them back, or delete both files and "
            "give the same command again."
        )
    return says
