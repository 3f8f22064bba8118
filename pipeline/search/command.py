"""``grad-instructor search``: record, judge, report. Part of the command line, hence allowed to know both pipeline and rl."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline import cluster, interrupts
from pipeline.cli import Command, Options, Places, SearchCommand, make_folder
from pipeline.commands import Work, check_fits, locked, recorded_as, size_in_bytes, sizes_of
from pipeline.compare.folder import check_data
from pipeline.config import to_dotted
from pipeline.digests import digest_of_json
from pipeline.errors import UserError, without_secrets
from pipeline.files import read_json, refuse_links, write_atomic, write_json
from pipeline.progress import console, stage
from pipeline.results.origin import data_of, distinct, mapping
from pipeline.results.tables import as_text
from pipeline.search.candidates import Search, check_results
from pipeline.search.drive import drive
from pipeline.search.kinds import KINDS
from pipeline.search.ladder import Result, Task
from pipeline.search.plan import Plan
from pipeline.search.reading import read_plan

FORM = 2
"""of what a search's folder holds; results of another form were judged otherwise, and the two do not mix"""
NOT_SHOWN = (
    "operations_per_instruction",
    "steps_per_target",
    "targets",
    "gain_low",
    "gain_high",
    "value_spread",
    "spearman",
    "cosine_early",
    "cosine_late",
    "training_seconds",
)
"""results that stay in the search's files: MLflow's tables are to be read by people"""


def work(search: SearchCommand, line: str) -> int:
    """Do a search: check everything first, then record, judge, and report."""
    plan = read_plan(search.file)
    job = _job(search, plan, line)
    cluster.check(search.placement)
    refuse_links(job.folder, begun_only=True)
    check_fits(job.config, job.dataset)
    _check_starts(job, plan)
    job.fetch()
    _check_folder(plan, job)
    _ = job.mirror
    with locked(make_folder(job.command)):
        refuse_links(job.folder)
        _check_folder(plan, job)
        write_json(job.folder / "plan.json", _as_json(plan) | {"data": data_of(job.dataset)})
        with recorded_as(job, _described(plan)):
            console.print(f"{plan.question}\nresults go to {job.folder}".strip())
            job.records.dataset("search", job.dataset.name, job.dataset.digest, sizes_of(job.dataset))
            _search(job, plan)
            job.send()
    console.print(f"\nresults   {job.folder}\nMLflow    {_where(search, job)}")
    return 0


def _search(job: Work, plan: Plan) -> None:
    judge, shared, size = _trainable(job, plan)
    if not job.command.placement.local:
        cluster.start(job.command.placement, size)
        interrupts.install_again()
    search = Search(plan, job.folder, job.dataset, job.provenance)
    total = sum(ladder.total for ladder in search.ladders.values())
    with stage("search", total) as bar:
        told = Told(job, search, lambda name, text: (bar.say(f"{name}: {text}"), bar.advance(name))[0])
        told.catch_up()
        drive(search, judge, shared, job.command.placement, told.started, told.done)
        interrupts.install_again()
        told.catch_up()
    _report(job, search)


def _trainable(job: Work, plan: Plan) -> tuple[Callable[..., Result], dict[str, Any], int]:
    """How a candidate is judged, what that needs, and its size in bytes."""
    judging = KINDS[plan.kind].prepare(plan.stages, plan.record, plan.recordings(), job.dataset, job.folder)
    if judging.said:
        console.print(judging.said)
    return judging.judge, dict(judging.shared), size_in_bytes(job.dataset) + judging.size


class Told:
    """What the records and the screen have been told: a child run per candidate, with a true status."""

    def __init__(self, job: Work, search: Search, say: Callable[[str, str], None]) -> None:
        self.job, self.search, self.say = job, search, say
        events = job.records.events
        outcomes = {event["run"]: event["row"].get("outcome") for event in events if event["kind"] == "result"}
        ends = {event["run"]: event["status"] for event in events if event["kind"] == "end"}
        # a candidate that was at work when the disk was full was ended as failed as well, and is still to be judged
        self._ended = {run for run, outcome in outcomes.items() if outcome and ends.get(run) == _status(outcome)}
        self._open: dict[str, tuple[str, int]] = {}

    def started(self, task: Task) -> None:
        """A stage of a candidate begins."""
        run = f"search/{task.candidate}"
        self._open[run] = (task.group, task.number)
        self.job.records.start(run, task.candidate, "search", self._params(task), {})

    def done(self, task: Task, result: Result) -> None:
        """A stage of a candidate is done."""
        self._record(f"search/{task.candidate}", task.stage, result)
        self.catch_up()

    def catch_up(self) -> None:
        """End the runs of candidates that are settled by now, also by what other candidates did."""
        for run, (group, number) in sorted(self._settled().items()):
            ladder = self.search.ladders[group]
            outcome = ladder.outcome(number)
            assert outcome is not None
            at, how = outcome
            for earlier in range(at + 1):
                self._record(run, earlier, ladder.results[number, earlier])
            name = self.search.plan.stages[at].name
            self.job.records.result(run, {"outcome": how, "stage": name})
            self.job.records.end(run, _status(how))
            self._ended.add(run)
            self.say(run.removeprefix("search/"), _line(self.search.plan, ladder.results[number, at], how, name))
        self.job.send()

    def _settled(self) -> dict[str, tuple[str, int]]:
        found = {}
        for group, ladder in self.search.ladders.items():
            for number in range(len(ladder.chosen)):
                run = f"search/{Task(group, number, 0, ()).candidate}"
                if run not in self._ended and ladder.settled(number):
                    if run not in self._open:  # judged in an earlier call that did not come to say so
                        self.started(Task(group, number, 0, tuple(ladder.chosen[number].items())))
                    found[run] = (group, number)
        return found

    def _record(self, run: str, number: int, result: Result) -> None:
        values = {name: value for name, value in result.items() if isinstance(value, int | float) and name not in NOT_SHOWN}
        if values:
            self.job.records.metrics(run, number, values)

    def _params(self, task: Task) -> dict[str, Any]:
        return ({"group": task.group} if task.group else {}) | dict(task.chosen)


def _status(outcome: str) -> str:
    return "FAILED" if outcome == "failed" else "FINISHED"


def _line(plan: Plan, result: Result, how: str, stage_name: str) -> str:
    if how == "failed":
        return f"failed in stage {stage_name}: {result['failed']}"
    first = [] if plan.objectives[0][0] in result else [KINDS[plan.kind].ranked]
    shown = [name for name in (*first, *(name for name, _ in plan.objectives)) if name in result]
    values = ", ".join(f"{name.replace('_', ' ')} {as_text(result[name], '.3g')}" for name in shown)
    return f"{how if how == 'finished' else f'stopped after {stage_name}'}: {values}"


def _report(job: Work, search: Search) -> None:
    from pipeline.search import outcome

    plan, folder = search.plan, job.folder
    rows = outcome.rows_of(search)
    front = outcome.pareto(plan, rows)
    best = outcome.write_best(plan, rows, folder)
    figures = outcome.draw(search, rows, folder / "figures")
    facts: dict[str, Any] = outcome.summary(plan, rows) | {"wall_seconds": wall_seconds(job.records.events)}
    written = {"search": plan.name, "question": plan.question, **facts, "provenance": job.provenance}
    written |= {"judged_by": distinct(search.made_by.values())}
    written |= {"pareto": [row["name"] for row in front], "rows": rows, "plan": _as_json(plan)}
    write_json(folder / "search.json", written)
    table = outcome.markdown(plan, front)
    write_atomic(folder / "search.md", f"{plan.question}\n\n{table}\n")
    for path, place in [(name, "") for name in ("search.md", "search.json", *best)] + [
        (f"figures/{f}", "figures") for f in figures
    ]:
        job.records.artifact("search", path, place)
    ended = ", ".join(f"{count} after {name}" for name, count in facts["ended_after"].items())
    console.print(
        f"\n{facts['candidates']} candidates: {ended}, {facts['failed']} failed. Best of every trade-off, on validation data:"
    )
    console.print(outcome.rich_table(plan, front))
    for file in best:
        command = f"grad-instructor {KINDS[plan.kind].trained_by} --config {folder / file}"
        console.print(f"the best in {plan.objectives[0][0]}: {command}")
    failed = [row for row in rows if row["outcome"] == "failed"]
    if failed and len(failed) == len(rows):
        raise UserError(f"no candidate could be judged; the first one: {failed[0]['result']['failed']}")


def wall_seconds(events: Sequence[dict[str, Any]]) -> float:
    """Over all calls in which something was judged, from a call's start to its last record."""
    total, began, last, judged = 0.0, 0, 0, False
    for event in [*events, {"kind": "start", "run": "search", "time": 0}]:
        if event["kind"] == "start" and event["run"] == "search":
            total += (last - began) / 1000 if judged else 0.0
            began, judged = event["time"], False
        judged, last = judged or event["kind"] == "metrics", event["time"]
    return total


# -- helpers -----------------------------------------------------------------------------------------------------------


def _job(search: SearchCommand, plan: Plan, line: str) -> Work:
    folder = search.output or Path("runs") / f"search-{plan.name}-{identity(plan)}"
    places: dict[str, Any] = {own.name: getattr(search, own.name) for own in dataclasses.fields(Places)}
    options = dataclasses.replace(Options(preset=plan.preset, **places), output=folder)
    return Work("search", Command(options, search.placement, plan.config()), line)


def identity(plan: Plan) -> str:
    """Eight hexadecimal digits of the hash of all that decides a search's numbers."""
    values = _as_json(plan) | {"question": "", "settings": to_dotted(plan.config())}
    return digest_of_json(values, 8)


def _as_json(plan: Plan) -> dict[str, Any]:
    return json.loads(json.dumps(dataclasses.asdict(plan) | {"form": FORM}))


def _check_folder(plan: Plan, job: Work) -> None:
    """Raises UserError where the folder holds something else, or a search on other data. Nothing is written."""
    folder, path = job.folder, job.folder / "plan.json"
    if (folder / "config.json").exists():
        raise UserError(f"{folder} holds a run, not a search; choose another --output.")
    saved, here, unlike = mapping(read_json(path)) if path.exists() else {}, _as_json(plan), ("question", "data")
    if saved and any(saved.get(name) != here.get(name) for name in here.keys() | saved.keys() if name not in unlike):
        raise UserError(f"{folder} holds a search by another file, or an earlier form of it; choose another --output.")
    if not check_data(folder, job.dataset, [], "plan.json") and (folder / "records.jsonl").exists():
        check_data(folder, job.dataset, job.records.events, "plan.json")
    check_results(plan, folder, job.dataset)


def _check_starts(job: Work, plan: Plan) -> None:
    """Raises UserError where the settings of a group do not go with the data."""
    for group in plan.groups:
        KINDS[plan.kind].check_data(plan.config(group), job.dataset)


def _described(plan: Plan) -> dict[str, Any]:
    """Parameters of the search's own run."""
    return {
        "search": plan.name,
        "candidates": plan.budget.candidates,
        "sampler": plan.sampler.name,
        "scheduler": plan.scheduler.name,
        "objectives": [name for name, _ in plan.objectives],
        "space": [dimension.key for group in plan.groups for dimension in group.space],
    }


def _where(search: SearchCommand, job: Work) -> str:
    import os

    return without_secrets(search.tracking_uri or "") or f"grad-instructor ui --output {os.path.relpath(job.folder)}"
