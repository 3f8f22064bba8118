"""Judging candidates, in this process or as Ray Tune trials.

A Tune trial is one stage of one candidate: Tune places it, and keeps its worker warm for the next one; where a worker dies,
another trial does the same again. What is to be judged next is decided by :class:`pipeline.search.ladder.Ladder`, from the
results on disk: Tune's own snapshots, which are pickles, are thrown away and never read.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.cluster import Placement
from pipeline.search.attempt import Judge, attempt
from pipeline.search.candidates import Search
from pipeline.search.ladder import Result, Task


def drive(
    search: Search,
    judge: Judge,
    shared: Mapping[str, Any],
    placement: Placement,
    on_start: Callable[[Task], None],
    on_done: Callable[[Task, Result], None],
) -> None:
    """Judge until every candidate is settled.

    Args:
        shared: what ``judge`` gets by name besides, put into Ray's object store once.
        on_start: called with every task that is begun.
        on_done: called with every new result, when it is on disk.
    """

    def done(task: Task, result: Result) -> None:
        search.done(task, result)
        on_done(task, result)

    if placement.local:
        while isinstance(task := search.next(), Task):
            on_start(task)
            done(task, attempt(judge, search.plan, task, search.folder_of(task), shared))
        return
    from pipeline.search.tuning import with_tune  # Ray Tune takes seconds to import

    with_tune(search, judge, shared, placement, on_start, done)
