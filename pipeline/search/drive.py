"""Judging candidates, in this process or as Ray Tune trials.

A Tune trial is one stage of one candidate: Tune places it, and keeps its worker warm for the next one; where a worker dies,
another trial does the same again. What is to be judged next is decided by :class:`pipeline.search.ladder.Ladder`, from the
results on disk: Tune's own snapshots, which are pickles, are thrown away and never read.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.cluster import Placement
from pipeline.search.attempt import Judge, JudgeTogether, attempt_all
from pipeline.search.candidates import Search
from pipeline.search.ladder import Result, Task
from pipeline.search.values import TOGETHER


def drive(
    search: Search,
    judge: Judge,
    shared: Mapping[str, Any],
    placement: Placement,
    on_start: Callable[[Task], None],
    on_done: Callable[[Task, Result], None],
    together: JudgeTogether | None = None,
) -> None:
    """Judge until every candidate is settled.

    Args:
        together: judges several candidates at once, those of a population (:meth:`pipeline.search.ladder.Ladder.population`).
        shared: what ``judge`` gets by name besides, put into Ray's object store once.
        on_start: called with every task that is begun, but for those that are only done again for the sake of others.
        on_done: called with every new result, when it is on disk.
    """

    def start(task: Task) -> None:
        if not search.has(task):
            on_start(task)

    def done(task: Task, result: Result) -> None:
        if not search.has(task):
            search.done(task, result)
            on_done(task, result)

    if placement.local:
        while isinstance(tasks := search.take(TOGETHER if together else 1), list):
            for task in tasks:
                start(task)
            results = attempt_all(judge, together, search.plan, tasks, [search.folder_of(task) for task in tasks], shared)
            for task, result in zip(tasks, results, strict=True):
                done(task, result)
        return
    from pipeline.search.tuning import with_tune  # Ray Tune takes seconds to import

    with_tune(search, judge, shared, placement, start, done, together)
