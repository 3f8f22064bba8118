"""A search that is not finished: check, record, judge, report."""

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pipeline import cluster, interrupts
from pipeline.command_line.checks import check_fits, fetch
from pipeline.command_line.finished import note_finished
from pipeline.command_line.folders import locked, make_folder
from pipeline.command_line.recording import recorded_as
from pipeline.command_line.told import Told, shown_metrics, wall_seconds
from pipeline.command_line.work import Work, size_in_bytes
from pipeline.compare.folder import check_data
from pipeline.errors import UserError
from pipeline.files import read_json, write_atomic, write_changed, write_json
from pipeline.progress import console, stage
from pipeline.received import refuse_links
from pipeline.results.mlflow.events import link_to_run
from pipeline.results.origin import data_of, distinct, mapping
from pipeline.search.candidates import Search, check_results
from pipeline.search.drive import drive
from pipeline.search.kinds import KINDS, Judging
from pipeline.search.plan import Plan
from pipeline.search.values import TOGETHER


def search(job: Work, plan: Plan, written: dict[str, Any], starts: list[str], show: Callable[[Work, Plan], None]) -> None:
    """Check everything first, then record, judge, and report.

    Args:
        written: the plan as its folder keeps it.
        starts: ENNs that candidates may go on from.
        show: prints what came out, from its files.
    """
    check_fits(job.config, job.dataset)
    _check_starts(job, plan)
    fetch(job)
    _check_folder(plan, written, job)
    _ = job.mirror
    with locked(make_folder(job.command)):
        refuse_links(job.folder)
        _check_folder(plan, written, job)
        write_json(job.folder / "plan.json", written | {"data": data_of(job.dataset)})
        with recorded_as(job, _described(plan)):
            console.print(f"{plan.question}\nresults go to {job.folder}".strip(), soft_wrap=True)
            job.records.artifact("search", "plan.json", "")
            _report(job, _judged(job, plan), written)
            show(job, plan)
            _check_any(job)
            job.send()
        with suppress(UserError):  # a file was put there meanwhile: the next command says so
            _check_folder(plan, written, job)
            note_finished(job, written, starts)


def _judged(job: Work, plan: Plan) -> Search:
    """The search, with every candidate settled."""
    judging = _trainable(job, plan)
    if not job.command.placement.local:
        cluster.start(job.command.placement, size_in_bytes(job.dataset) + judging.size)
        interrupts.install_again()
    search = Search(plan, job.folder, job.dataset, job.provenance)
    with stage("search", search.total, _at_once(job, plan, judging)) as bar:

        def say(name: str, text: str) -> None:
            bar.of(search.total)  # which may have become smaller
            bar.say(f"{name}: {text}")
            bar.advance(name)

        told = Told(job, search, say)
        bar.skip(len(told.ended))
        told.catch_up()
        shared = dict(judging.shared)
        drive(search, judging.judge, shared, job.command.placement, told.started, told.done, judging.together)
        interrupts.install_again()
        told.catch_up()
    return search


def _at_once(job: Work, plan: Plan, judging: Judging) -> int:
    """Candidates that are judged at the same time; 0 where the search ends by simulated time."""
    if plan.config().architecture.table:
        return 0
    return min(plan.budget.batch, TOGETHER * job.at_once) if judging.together else job.at_once


def _trainable(job: Work, plan: Plan) -> Judging:
    """How candidates are judged, once what that needs is there."""
    judging = KINDS[plan.kind].prepare(plan.stages, plan.record, plan.recordings(), job.dataset, job.folder)
    if judging.said:
        console.print(judging.said)
    return judging


def _report(job: Work, search: Search, plan_written: dict[str, Any]) -> None:
    """The table, the plots and the best settings, as files."""
    from pipeline.results.page import FILE, write
    from pipeline.search import outcome
    from pipeline.search.page import page_of

    plan, folder = search.plan, job.folder
    rows = outcome.rows_of(search)
    front = outcome.pareto(plan, rows)
    best = outcome.write_best(plan, rows, folder)
    figures = outcome.draw(search, rows, folder / "figures")
    facts: dict[str, Any] = outcome.summary(plan, rows) | {"wall_seconds": wall_seconds(job.records.events)}
    written = {"search": plan.name, "question": plan.question, **facts, "provenance": job.provenance}
    written |= {"judged_by": distinct(search.made_by.values())}
    edges = outcome.edge_lines(plan, rows)
    written |= {"pareto": [row["name"] for row in front], "edges": edges, "rows": rows, "plan": plan_written}
    write_changed(folder / "search.json", written, ("provenance",))
    write(page_of(plan, read_json(folder / "search.json"), figures, best), folder)
    table = outcome.markdown(plan, front) + "".join(f"\n- {line}" for line in edges).replace("\n- ", "\n\n- ", 1)
    write_atomic(folder / "search.md", f"{plan.question}\n\n{table}\n")
    runs = ", ".join(link_to_run(row["name"], f"search/{row['name']}") for row in front)
    told = f"Best, on validation data: {runs}.\n\n" if runs else ""
    job.records.tags("search", {"mlflow.note.content": f"{plan.question}\n\n{told}{table}\n"})
    found = shown_metrics(front[0]["result"]) if front else {}
    job.records.result("search", {f"best/{name}": value for name, value in found.items()})
    for path, place in [(name, "") for name in (FILE, "search.md", "search.json", *best)] + [
        (f"figures/{f}", "figures") for f in figures
    ]:
        job.records.artifact("search", path, place)


def _check_any(job: Work) -> None:
    """Raises UserError where every candidate failed."""
    rows = read_json(job.folder / "search.json")["rows"]
    failed = [row for row in rows if row["outcome"] == "failed"]
    if failed and len(failed) == len(rows):
        raise UserError(f"no candidate could be judged; the first one: {failed[0]['result']['failed']}")


def _check_folder(plan: Plan, here: dict[str, Any], job: Work) -> None:
    """Raises UserError where the folder holds something else, or a search on other data. Nothing is written."""
    folder, path = job.folder, job.folder / "plan.json"
    if (folder / "config.json").exists():
        raise UserError(f"{folder} holds a run, not a search; choose another --output.")
    saved, unlike = mapping(read_json(path)) if path.exists() else {}, ("question", "data")
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
        "kind": plan.kind,
        "preset": plan.preset,
        "data.dataset": plan.config().data.dataset,
        "candidates": plan.budget.candidates,
        "batch": plan.budget.batch,
        "sampler": _in_words(plan.algorithm or plan.sampler),
        **({"assist": _in_words(plan.assist)} if plan.assist else {}),
        "scheduler": _in_words(plan.scheduler),
        "objectives": ", ".join(name for name, _ in plan.objectives),
        "stages": ", ".join(stage.name for stage in plan.stages),
        "space": ", ".join(dict.fromkeys(dimension.key for group in plan.groups for dimension in group.space)),
    }


def _in_words(part: Any) -> str:
    """Its first value, and the others that are not at their defaults."""
    first, *others = dataclasses.fields(part)
    said = [f"{own.name} {getattr(part, own.name)}" for own in others if getattr(part, own.name) != own.default]
    return f"{getattr(part, first.name)}" + (f" ({', '.join(said)})" if said else "")
