"""Judging candidates, in this process or as Ray Tune trials; every result is on disk before it counts.

A Tune trial is one stage of one candidate: Tune places it, and keeps its worker warm for the next one; where a worker dies,
another trial does the same again. What is to be judged next is decided by :class:`pipeline.search.ladder.Ladder`, from the
results on disk: Tune's own snapshots, which are pickles, are thrown away and never read.

Files, below the search's folder: ``candidates/NAME/candidate.json`` (its settings), ``STAGE.json`` (what a stage found out) and
``state.safetensors`` (the ENN on its way).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pipeline.cluster import Placement
from pipeline.config import PRESETS, Config, identity, to_dotted
from pipeline.data.dataset import Dataset
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.results.checkpoints import checkpoint_fits
from pipeline.results.origin import Origin, brief, data_of, fits, judged_from, mapping
from pipeline.search.ladder import Failed, Ladder, Result, Task, name_of
from pipeline.search.plan import Group, Plan, Stage
from pipeline.search.propose import Proposals

OWN_FAULT = "own_fault"
"""marks a failed result as the candidate's own fault: the same would come out again"""
ORIGIN, PROVENANCE = "origin", "provenance"
"""in a stage's file, what it was made from and by, beside what was found out"""
Judge = Callable[..., Result]
"""(config, stages up to the one asked for, the candidate's folder, **shared) -> what it found out

It raises :class:`pipeline.search.ladder.Failed` where the candidate is to blame, and a UserError for what may go away.
"""


class Search:
    """The candidates of a plan in a folder: those judged already are read.

    Args:
        dataset: what they are judged on, which results carry beside their settings (see :func:`check_results`).
        provenance: command, commit and date, which results carry.
    """

    def __init__(
        self, plan: Plan, folder: Path, dataset: Dataset | None = None, provenance: Mapping[str, Any] | None = None
    ) -> None:
        self.plan, self.folder, self.dataset = plan, folder, dataset
        self.provenance = brief(provenance or {})
        self.made_by: dict[tuple[str, int, int], Mapping[str, Any]] = {}
        """by group, candidate and stage"""
        self.ladders = {group.name: self._ladder(group) for group in plan.groups}

    def next(self) -> Task | Literal["wait", "finished"]:
        """The next task of the first group that has one."""
        waiting = False
        for ladder in self.ladders.values():
            task = ladder.next()
            if isinstance(task, Task):
                return task
            waiting = waiting or task == "wait"
        return "wait" if waiting else "finished"

    def done(self, task: Task, result: Result) -> None:
        """Write a result, then count it. A failed one that comes here is the candidate's own fault, and says so."""
        if "failed" in result:
            result = result | {OWN_FAULT: True}
        self.made_by[task.group, task.number, task.stage] = self.provenance
        noted: dict[str, Any] = {}
        if self.dataset is not None:
            group = next(group for group in self.plan.groups if group.name == task.group)
            noted = {ORIGIN: _origin(self.plan, group, dict(task.chosen), self.dataset).as_json(), PROVENANCE: self.provenance}
        write_json(self._file(task.group, task.number, task.stage), result | noted)
        self.ladders[task.group].done(task.number, task.stage, result)

    def folder_of(self, task: Task) -> Path:
        """The candidate's."""
        return self.folder / "candidates" / task.candidate

    def _file(self, group: str, number: int, stage: int) -> Path:
        return self.folder / "candidates" / name_of(group, number) / f"{self.plan.stages[stage].name}.json"

    def _ladder(self, group: Group) -> Ladder:
        proposals = Proposals(self.plan, group, self.folder / "studies" / (group.name or "all"))

        def propose(number: int) -> dict[str, Any]:
            path = self.folder / "candidates" / name_of(group.name, number) / "candidate.json"
            chosen = proposals.propose(number)
            if path.exists() and read_json(path) != chosen:
                raise UserError(
                    f"{path} has other settings than the search proposes: the versions of optuna or numpy have changed, or a "
                    "file was edited; start afresh in another --output."
                )
            write_json(path, chosen)
            return chosen

        ladder = Ladder(self.plan, group.name, proposals.total, propose, proposals.tell)
        for number in range(proposals.total):
            for stage in range(len(self.plan.stages)):
                path = self._file(group.name, number, stage)
                if path.exists() and _counts(result := read_json(path, math.nan)):
                    ladder.results[number, stage] = self._judged(result, group.name, number, stage)
        return ladder

    def _judged(self, result: Result, group: str, number: int, stage: int) -> Result:
        """What a stage found out, without what it was made from and by."""
        self.made_by[group, number, stage] = mapping(result.get(PROVENANCE))
        return {name: value for name, value in result.items() if name not in (ORIGIN, PROVENANCE)}


def check_results(plan: Plan, folder: Path, dataset: Dataset) -> None:
    """Compare what a search's folder holds with what it is to be made from. Nothing is written.

    Raises:
        UserError: a recording, a candidate's state or a stage's result was made from something else.
    """
    for name, config in plan.recordings().items() if plan.kind == "enn" else ():
        for path in sorted((folder / "recordings" / name).glob("*.safetensors")):
            checkpoint_fits(path, judged_from(config, dataset))
    for group in plan.groups:
        for number in range(plan.budget.candidates):
            place = folder / "candidates" / name_of(group.name, number)
            if (place / "candidate.json").exists():
                _check_candidate(plan, group, place, dataset)


def _check_candidate(plan: Plan, group: Group, place: Path, dataset: Dataset) -> None:
    chosen = dict(mapping(read_json(place / "candidate.json")))
    for stage in plan.stages:
        if (path := place / f"{stage.name}.json").exists():
            fits(path, mapping(read_json(path)).get(ORIGIN), _origin(plan, group, chosen, dataset))
    if (path := place / "state.safetensors").exists():
        checkpoint_fits(path, judged_from(plan.config(group, chosen), dataset))


def _origin(plan: Plan, group: Group, chosen: Mapping[str, Any], dataset: Dataset) -> Origin:
    """What a candidate's results are made from: also of settings that do not go together, which is a result."""
    return Origin(data_of(dataset), to_dotted(PRESETS[plan.preset]) | group.settings | dict(chosen))


def _counts(result: Result) -> bool:
    """Whether a result is one: an earlier form of the search kept a full disk or lost memory as a candidate's failure."""
    return isinstance(result, dict) and ("failed" not in result or bool(result.get(OWN_FAULT)))


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
    from pipeline.search.tuning import with_tune

    with_tune(search, judge, shared, placement, on_start, done)


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
