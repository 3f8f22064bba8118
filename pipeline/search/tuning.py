"""The tasks of a search as Ray Tune trials.

Tune writes snapshots of itself, which are pickles, into a scratch folder that is emptied before and after: they are never read.
"""

import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray import tune
from ray.exceptions import RayError, RayTaskError
from ray.tune.search import Searcher

from pipeline.cluster import Placement, worker_count
from pipeline.errors import UserError
from pipeline.search.attempt import Judge, JudgeTogether, attempt_all
from pipeline.search.candidates import Search
from pipeline.search.ladder import Result, Task
from pipeline.search.plan import Plan
from pipeline.search.values import TOGETHER

SCRATCH = ".tune"
ATTEMPTS = 4
"""how often a task is begun before the deaths of its workers are taken to be its fault"""


def with_tune(
    search: Search,
    judge: Judge,
    shared: Mapping[str, Any],
    placement: Placement,
    on_start: Callable[[Task], None],
    on_done: Callable[[Task, Result], None],
    together: JudgeTogether | None = None,
) -> None:
    """As :func:`pipeline.search.drive.drive`. Ray must be running.

    Raises:
        UserError: what may go away stands in the way (the disk, memory), or a task's workers died ``ATTEMPTS`` times. All
            results are on disk, and the same command tries again.
        RuntimeError: the judge failed as it never should.
    """
    _ask_tune()
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    scratch = search.folder.resolve() / SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    judges = (judge, together)
    function = tune.with_parameters(
        _trial, judges=judges, plan=search.plan, folder=search.folder.resolve(), shared=dict(shared)
    )
    tasks = Tasks(search, on_start, on_done, TOGETHER if together else 1)
    try:
        tuner = tune.Tuner(
            tune.with_resources(function, {"cpu": 1, "gpu": placement.gpus_per_worker}),
            tune_config=tune.TuneConfig(
                search_alg=tasks,
                num_samples=-1,
                max_concurrent_trials=worker_count(placement),
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(name="trials", storage_path=str(scratch), verbose=0),
        )
        results = tuner.fit()
    except (RayError, OSError) as error:
        if isinstance(error, RayTaskError):
            raise
        why = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise UserError(f"Ray could not go on ({why}); give the same command again (earlier results are kept).") from error
    finally:
        tasks.close()
        shutil.rmtree(scratch, ignore_errors=True)
    if tasks.stopped:
        raise UserError(tasks.stopped)
    if tasks.dead:
        error = results.errors[0] if results.errors else None
        if isinstance(error, RayTaskError):
            raise RuntimeError(f"a trial could not be judged: {error}") from error
        raise UserError(
            f"the workers that judged candidate {tasks.dead[0].candidate} died {ATTEMPTS} times ({type(error).__name__}); if "
            "memory was short, take fewer --workers, and give the same command again (earlier results are kept)."
        ) from error


def _ask_tune() -> None:
    """What Tune reads of the environment, at every search: an earlier one in this process has left it as it was before."""
    os.environ.update(TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1", TUNE_DISABLE_SIGINT_HANDLER="1", TUNE_GLOBAL_CHECKPOINT_S="3600")
    os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")


class Tasks(Searcher):
    """Hands out the tasks of a search to Tune, and takes their results. What it holds stays outside Tune's pickles.

    A task whose worker died is handed out again as another trial. Tune's own ``max_failures`` is not used: a worker that dies
    with two calls under way counts as two failures there, the second of which ends the trial for good.
    """

    at_work: tuple[Search, Callable[[Task], None], Callable[[Task, Result], None]] | None = None
    """of the class: one search at a time is at work in a process"""

    def __init__(
        self, search: Search, on_start: Callable[[Task], None], on_done: Callable[[Task, Result], None], size: int = 1
    ) -> None:
        super().__init__()
        self.size = size
        """candidates of a population, each of which is a trial"""
        self.tasks: dict[str, list[Task]] = {}
        self.deaths: Counter[tuple[str, int]] = Counter()
        self.again: list[list[Task]] = []
        self.dead: list[Task] = []
        self.stopped = ""
        """why nothing more is handed out: what may go away, as a sentence"""
        Tasks.at_work = search, on_start, on_done

    @staticmethod
    def close() -> None:
        """Let go of the search."""
        Tasks.at_work = None

    def suggest(self, trial_id: str) -> Any:
        """The next task as a trial's configuration; None where one has to wait for others."""
        assert Tasks.at_work is not None
        search, on_start, _ = Tasks.at_work
        if self.dead or self.stopped:
            return Searcher.FINISHED
        try:
            tasks = self.again.pop() if self.again else search.take(self.size)
            if not isinstance(tasks, list):
                return Searcher.FINISHED if tasks == "finished" else None
            for task in tasks:
                on_start(task)
        except UserError as error:  # Tune would make something else of it
            self.stopped = str(error)
            return Searcher.FINISHED
        self.tasks[trial_id] = tasks
        first, *others = (_written(task) for task in tasks)
        return first | ({"others": others} if others else {})

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take a result, or a worker's death."""
        assert Tasks.at_work is not None
        tasks = self.tasks.pop(trial_id)
        judged, stopped = ((result or {}).get(name) for name in ("judged", "stopped"))
        if stopped and not error:
            self.stopped = self.stopped or stopped
            return
        if judged and not error:
            try:
                results = json.loads(judged)
                for task, own in zip(tasks, results if isinstance(results, list) else [results], strict=True):
                    Tasks.at_work[2](task, own)
            except UserError as failure:
                self.stopped = self.stopped or str(failure)
            return
        stage = tasks[0].candidate, tasks[0].stage
        self.deaths[stage] += 1
        if self.deaths[stage] < ATTEMPTS:
            self.again.append(tasks)
        else:
            self.dead.append(tasks[0])

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what is known is in the search's own files."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""

    def save_to_dir(self, *_: Any, **__: Any) -> None:
        """Nothing, and no pickle of it."""


def _written(task: Task) -> dict[str, Any]:
    return {"group": task.group, "number": task.number, "stage": task.stage, "chosen": dict(task.chosen)}


def _trial(
    config: dict[str, Any], judges: tuple[Judge, JudgeTogether | None], plan: Plan, folder: Path, shared: dict[str, Any]
) -> None:
    """What a Tune trial does."""
    all_written = [config, *config.get("others", [])]
    tasks = [Task(one["group"], one["number"], one["stage"], tuple(one["chosen"].items())) for one in all_written]
    try:
        folders = [folder / "candidates" / task.candidate for task in tasks]
        results = attempt_all(*judges, plan, tasks, folders, shared)
        tune.report({"judged": json.dumps(results)})  # as text: Tune flattens what is nested
    except UserError as error:  # no death of a worker, which would be tried again at once
        tune.report({"stopped": str(error)})
