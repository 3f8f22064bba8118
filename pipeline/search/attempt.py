"""One task of a search: its result, why its settings cannot be judged, or what of the machine stood in the way."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config import Config, identity
from pipeline.errors import UserError
from pipeline.search.ladder import Result, Task
from pipeline.search.plan import Plan
from pipeline.search.values import Failed, Stage

Judge = Callable[..., Result]
"""(config, stages up to the one asked for, the candidate's folder, **shared) -> what it found out

It raises :class:`pipeline.search.values.Failed` where the candidate is to blame, and a UserError for what may go away.
"""
JudgeTogether = Callable[..., list[Result]]
"""(configs, stages, folders, **shared) -> what ``Judge`` finds out of each, but for rounding and measured times; what it raises
may be any candidate's"""


def attempt(judge: Judge, plan: Plan, task: Task, folder: Path, shared: Mapping[str, Any]) -> Result:
    """The result of a task. A candidate that fails by its own fault says why, and the search goes on.

    Args:
        shared: what the judge gets by name; of ``recorded``, by :meth:`Plan.recordings`, the candidate's own.

    Raises:
        UserError: what may go away stands in the way (the disk, memory, a file): that is no result, and the same command
            tries again.
    """
    group = next(group for group in plan.groups if group.name == task.group)
    try:
        config: Config = plan.config(group, dict(task.chosen))
        own = dict(shared)
        if "recorded" in own:
            own["recorded"] = own["recorded"][identity(plan.recording(group, config))]
    except UserError as error:
        return {"failed": str(error)}
    stages: Sequence[Stage] = plan.stages[: task.stage + 1]
    try:
        return _finite(judge(config, stages, folder, **own))
    except (Failed, ArithmeticError) as error:
        return {"failed": str(error) or type(error).__name__}
    except (OSError, MemoryError, RuntimeError) as error:
        if (why := _may_go_away(error)) is None:
            raise
        raise UserError(
            f"candidate {task.candidate} could not be judged ({why}); put that right and give the same command again (earlier "
            "results are kept)."
        ) from error


def attempt_all(
    judge: Judge,
    together: JudgeTogether | None,
    plan: Plan,
    tasks: Sequence[Task],
    folders: Sequence[Path],
    shared: Mapping[str, Any],
) -> list[Result]:
    """The results of several tasks of one stage and group, as :func:`attempt` has them, judged together where that goes.

    Where one of them cannot be judged by its own fault, each is judged by itself.

    Raises:
        UserError: what may go away stands in the way. For want of memory they are not judged in smaller parts either: they
            would be rounded otherwise, and what is found would depend on how full the machine was.
    """
    if together is not None and len(tasks) > 1:
        group = next(group for group in plan.groups if group.name == tasks[0].group)
        try:
            configs = [plan.config(group, dict(task.chosen)) for task in tasks]
            results = together(configs, plan.stages[: tasks[0].stage + 1], folders, **shared)
            return [_finite_or_failed(result) for result in results]
        except (UserError, Failed, ArithmeticError):
            pass  # whose fault it is, and of what kind, is found below
        except (OSError, MemoryError, RuntimeError) as error:
            if (why := _may_go_away(error)) is None:
                raise
            raise UserError(
                f"candidates {tasks[0].candidate} to {tasks[-1].candidate} could not be judged together ({why}); put that "
                "right and give the same command again (earlier results are kept), or start afresh with a smaller budget.batch "
                "or fewer 'targets' in the file."
            ) from error
    return [attempt(judge, plan, task, folder, shared) for task, folder in zip(tasks, folders, strict=True)]


def _finite_or_failed(result: Result) -> Result:
    try:
        return _finite(result)
    except Failed as error:
        return {"failed": str(error)}


def _finite(result: Result) -> Result:
    """Raises Failed where a number is none: the candidate diverged."""
    for name, value in result.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise Failed(f"it diverged: {name} is {value}")
    return result


def _may_go_away(error: Exception) -> str | None:
    """In a few words, what of the machine stood in the way; None where it is not the machine."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, of a GPU
        return "no memory is left; fewer workers need less"
    if "allocate memory" in str(error) or "out of memory" in str(error):  # torch says so in a plain RuntimeError
        return "no memory is left; fewer workers need less"
    return None
