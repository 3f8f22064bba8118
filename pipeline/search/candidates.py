"""The candidates of a search as its folder holds them; every result is on disk before it counts.

Files, below the search's folder: ``candidates/NAME/candidate.json`` (its settings), ``STAGE.json`` (what a stage found out) and
``state.safetensors`` (the ENN on its way).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from pipeline.config import PRESETS, to_dotted
from pipeline.data.dataset import Dataset
from pipeline.errors import UserError, shown
from pipeline.files import read_json, write_json
from pipeline.results.checkpoints import checkpoint_fits
from pipeline.results.origin import Origin, brief, data_of, fits, judged_from, mapping, other
from pipeline.results.seal import CHECKSUM, check_seal, sealed
from pipeline.search.kinds import KINDS
from pipeline.search.ladder import Ladder, Result, Task, name_of
from pipeline.search.plan import Plan
from pipeline.search.propose import Proposals
from pipeline.search.values import Group

OWN_FAULT = "own_fault"
"""marks a failed result as the candidate's own fault: the same would come out again"""
ORIGIN, PROVENANCE, JUDGED = "origin", "provenance", "judged"
"""in a stage's file, what it was made from and by, and which stage of which candidate it is, beside what was found out"""


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

    @property
    def total(self) -> int:
        """Candidates that there will be, at most."""
        return sum(ladder.total for ladder in self.ladders.values())

    def take(self, size: int) -> list[Task] | Literal["wait", "finished"]:
        """The next population of so many candidates, of the first group that has one: see
        :meth:`pipeline.search.ladder.Ladder.population`."""
        waiting = False
        for ladder in self.ladders.values():
            tasks = ladder.population(size)
            if isinstance(tasks, list):
                return tasks
            waiting = waiting or tasks == "wait"
        return "wait" if waiting else "finished"

    def next(self) -> Task | Literal["wait", "finished"]:
        """The next task by itself."""
        found = self.take(1)
        return found[0] if isinstance(found, list) else found

    def has(self, task: Task) -> bool:
        """Whether its result is there already."""
        return (task.number, task.stage) in self.ladders[task.group].results

    def done(self, task: Task, result: Result) -> None:
        """Write a result, then count it. A failed one that comes here is the candidate's own fault, and says so."""
        if "failed" in result:
            result = result | {OWN_FAULT: True}
        self.made_by[task.group, task.number, task.stage] = self.provenance
        noted: dict[str, Any] = {JUDGED: _judged(self.plan, task.candidate, task.stage)}
        if self.dataset is not None:
            group = next(group for group in self.plan.groups if group.name == task.group)
            origin = _origin(self.plan, group, dict(task.chosen), self.dataset)
            noted |= {ORIGIN: origin.as_json(), PROVENANCE: self.provenance}
        write_json(self._file(task.group, task.number, task.stage), sealed(result | noted))
        self.ladders[task.group].done(task.number, task.stage, result)

    def folder_of(self, task: Task) -> Path:
        """The candidate's."""
        return self.folder / "candidates" / task.candidate

    def written(self, group: str, number: int, stage: int | None = None) -> int:
        """When a stage's result, or without one the candidate's settings, was written, in ms since epoch."""
        folder = self.folder / "candidates" / name_of(group, number)
        path = folder / "candidate.json" if stage is None else self._file(group, number, stage)
        return path.stat().st_mtime_ns // 1_000_000

    def _file(self, group: str, number: int, stage: int) -> Path:
        return self.folder / "candidates" / name_of(group, number) / f"{self.plan.stages[stage].name}.json"

    def _ladder(self, group: Group) -> Ladder:
        proposals = self._proposals(group, self.folder / "studies" / (group.name or "all"))

        def propose(number: int) -> dict[str, Any]:
            path = self.folder / "candidates" / name_of(group.name, number) / "candidate.json"
            chosen = proposals.propose(number)
            if path.exists() and read_json(path) != chosen:
                raise UserError(
                    f"{path} has other settings than the search proposes: the versions of optuna or numpy have changed, or a "
                    "file was edited; start afresh in another --output."
                )
            _check_sound(self.plan, group, number, chosen)
            write_json(path, chosen)
            return chosen

        def tell(number: int, result: Result | None, failed: bool) -> None:
            proposals.tell(number, result, failed)
            ladder.total = min(ladder.total, proposals.total)

        ladder = Ladder(self.plan, group.name, proposals.total, propose, tell)
        for number in range(proposals.total):
            for stage in range(len(self.plan.stages)):
                path = self._file(group.name, number, stage)
                if path.exists() and _counts(result := _read(path, math.nan)):
                    _check_judged(self.plan, path, stage, result)
                    ladder.results[number, stage] = self._found(result, group.name, number, stage)
        return ladder

    def _proposals(self, group: Group, folder: Path) -> Any:
        """Who proposes candidates: the kind's own, or a sampler."""
        own = KINDS[self.plan.kind].proposals
        return own(self.plan, group, folder, self.dataset) if own else Proposals(self.plan, group, folder)

    def _found(self, result: Result, group: str, number: int, stage: int) -> Result:
        """What a stage found out, without what it was made from and by."""
        self.made_by[group, number, stage] = mapping(result.get(PROVENANCE))
        return {name: value for name, value in result.items() if name not in (ORIGIN, PROVENANCE, JUDGED, CHECKSUM)}


def _check_sound(plan: Plan, group: Group, number: int, chosen: Mapping[str, Any]) -> None:
    """Raises UserError where the settings do not go together, which reading the file should have found out: that the file
    allows them is no candidate's fault."""
    try:
        plan.config(group, chosen)
    except UserError as error:
        raise UserError(
            f"candidate {name_of(group.name, number)} would have settings that do not go together ({str(error).rstrip('.')}); "
            "correct the search file, and start afresh in another --output."
        ) from error


def check_results(plan: Plan, folder: Path, dataset: Dataset) -> None:
    """Compare what a search's folder holds with what it is to be made from. Nothing is written.

    Raises:
        UserError: a recording, a candidate's state or a stage's result was made from something else, or a result was changed.
    """
    for name, config in plan.recordings().items():
        for path in sorted((folder / "recordings" / name).glob("*.safetensors")):
            checkpoint_fits(path, judged_from(config, dataset))
    for group in plan.groups:
        for number in range(plan.budget.candidates):
            place = folder / "candidates" / name_of(group.name, number)
            if (place / "candidate.json").exists():
                _check_candidate(plan, group, place, dataset)


def _check_candidate(plan: Plan, group: Group, place: Path, dataset: Dataset) -> None:
    chosen = dict(mapping(read_json(place / "candidate.json")))
    origin = _origin(plan, group, chosen, dataset)
    earlier = replace(origin, settings=to_dotted(PRESETS[plan.preset]) | group.settings | chosen)
    for number, stage in enumerate(plan.stages):
        if (path := place / f"{stage.name}.json").exists():
            found = mapping(_read(path))
            fits(path, found.get(ORIGIN), origin if JUDGED in found else earlier)
            _check_judged(plan, path, number, found)
    if (path := place / "state.safetensors").exists():
        checkpoint_fits(path, judged_from(plan.config(group, chosen), dataset))


def _origin(plan: Plan, group: Group, chosen: Mapping[str, Any], dataset: Dataset) -> Origin:
    """What a candidate's results are made from: also of settings that do not go together, which is a result."""
    try:
        config = plan.config(group, chosen)
    except UserError:
        return Origin(data_of(dataset), plan.settings(group, chosen))
    return judged_from(config, dataset)


def _judged(plan: Plan, candidate: str, stage: int) -> dict[str, Any]:
    """Which stage of which candidate a result is, and what decides it beside data, settings and ENN; by name, in the order in
    which it is compared."""
    own = asdict(plan.stages[stage])
    record = {f"record.{name}": value for name, value in asdict(plan.record).items()} if KINDS[plan.kind].records else {}
    return {
        "stage": own.pop("name"),
        "candidate": candidate,
        "kind": plan.kind,
        **{f"stage.{name}": value for name, value in own.items()},
        **record,
        "budget.batch": plan.budget.batch,
    }


def _check_judged(plan: Plan, path: Path, stage: int, found: Mapping[str, Any]) -> None:
    """Raises UserError where a file is the result of another stage or candidate; what it lacks is not compared, for earlier
    versions noted nothing."""
    there = mapping(found.get(JUDGED))
    for name, value in _judged(plan, path.parent.name, stage).items():
        if there.get(name, value) != value:
            raise other(path, f"{name} {shown(there[name])}", f"{name} {shown(value)}")


def _read(path: Path, null: Any = None) -> Any:
    """What a stage's file holds. Raises UserError where it was changed after it was written."""
    found = read_json(path, null)
    check_seal(path, mapping(found))
    return found


def _counts(result: Result) -> bool:
    """Whether a result is one: an earlier form of the search kept a full disk or lost memory as a candidate's failure."""
    return isinstance(result, dict) and ("failed" not in result or bool(result.get(OWN_FAULT)))
