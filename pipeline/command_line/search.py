"""``grad-instructor search``: what it takes, whether it is finished, and what it shows."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from pipeline import cluster
from pipeline.command_line.finished import as_written, is_finished
from pipeline.command_line.options import Command, Options, Places, SearchCommand
from pipeline.command_line.stages import where_mlflow_is
from pipeline.command_line.work import Work
from pipeline.config import Config, to_dotted
from pipeline.digests import digest_of_json
from pipeline.files import read_json
from pipeline.progress import console
from pipeline.received import refuse_links
from pipeline.results.fitted import Fitted
from pipeline.search.kinds import KINDS
from pipeline.search.plan import Plan, ranked_by
from pipeline.search.reading import read_plan
from pipeline.search.values import Budget, Sampler

FORM = 2
"""of what a search's folder holds; results of another form were judged otherwise, and the two do not mix"""
PARTS = {"sampler": Sampler, "budget": Budget}
LATER = {"sampler": ("acquisition", "trade_off", "mutation", "random_every"), "budget": ("batch",)}
LATER_PARTS, LATER_SETTINGS = ("algorithm", "assist"), ("rule.", "evolution.", "architecture.", "compare.rates")
"""what there was not in the first files of this form: at its default it renames no search"""


def command(search: SearchCommand, line: str) -> int:
    """Do a search. What is finished is only shown."""
    plan = read_plan(search.file, search.protocol)
    job, written, starts = _job(search, plan, line), _as_json(plan), _starts(plan)
    cluster.check(search.placement)
    refuse_links(job.folder, begun_only=True)
    if is_finished(job, written, starts):
        console.print("finished; nothing to do")
        with as_written(job.folder, "search.json", "search.md"):
            show_search(job, plan)
    else:
        from pipeline.command_line import searching

        searching.search(job, plan, written, starts, show_search)
    said = f"\nresults   {job.folder}\npage      {job.folder / 'report.html'}\nMLflow    {where_mlflow_is(job)}"
    console.print(said, soft_wrap=True)  # what may be copied is not broken
    return 0


def _job(search: SearchCommand, plan: Plan, line: str) -> Work:
    folder = search.output or Path("runs") / f"search-{plan.name}-{identity(plan)}"
    places: dict[str, Any] = {own.name: getattr(search, own.name) for own in dataclasses.fields(Places)}
    options = dataclasses.replace(Options(preset=plan.preset, **places), output=folder)
    return Work("search", Command(options, search.placement, plan.config()), line)


def identity(plan: Plan) -> str:
    """Eight hexadecimal digits of the hash of all that decides a search's numbers."""
    default = to_dotted(Config())
    settings = {
        key: value
        for key, value in to_dotted(plan.config()).items()
        if not key.startswith(LATER_SETTINGS) or value != default[key]
    }
    return digest_of_json(_as_json(plan) | {"question": "", "settings": settings}, 8)


def _as_json(plan: Plan) -> dict[str, Any]:
    written = json.loads(json.dumps(dataclasses.asdict(plan) | {"form": FORM}))
    for part, names in LATER.items():
        default = dataclasses.asdict(PARTS[part]())
        written[part] = {key: value for key, value in written[part].items() if key not in names or value != default[key]}
    return {name: value for name, value in written.items() if name not in LATER_PARTS or value is not None}


def _starts(plan: Plan) -> list[str]:
    """The ENNs that candidates may go on from."""
    searched = [own.choice for group in plan.groups for own in group.space if own.key == "unroll.start"]
    return [*(plan.config(group).unroll.start for group in plan.groups), *(str(name) for names in searched for name in names)]


def show_search(job: Work, plan: Plan) -> None:
    """Print how many candidates came how far and the best of them, from the search's files."""
    found = read_json(job.folder / "search.json")
    ended = ", ".join(f"{count} after {name}" for name, count in found["ended_after"].items())
    console.print(
        f"\n{found['candidates']} candidates: {ended}, {found['failed']} failed. Best of every trade-off, on validation data:"
    )
    console.print(_rich_table((job.folder / "search.md").read_text(encoding="utf-8")))
    for line in found.get("edges", []):
        console.print(f"* {line}")
    if told := ranked_by(name for name, _ in plan.objectives):
        console.print(told)
    command = KINDS[plan.kind].trained_by
    for file in [f"best-{group.name}.json" if group.name else "best.json" for group in plan.groups]:
        if os.path.exists(job.folder / file):
            trained = f"grad-instructor {command} --config " if _is_trained(job.folder / file) else ""
            console.print(f"the best in {plan.objectives[0][0]}: {trained}{job.folder / file}", soft_wrap=True)


def _is_trained(best: Path) -> bool:
    """Whether another command trains what was found: none trains cells or convolutional networks."""
    settings = read_json(best)["settings"]
    return not settings["architecture.table"] and not settings.get("architecture.channels")


def _rich_table(markdown: str) -> Fitted:
    """The table of ``search.md`` for a terminal, settings under their last name where that is one setting's alone."""
    lines = [line.strip("| ").split(" | ") for line in markdown.splitlines() if line.startswith("| ")]
    head, _, *rows = lines
    last = [heading.rsplit(".", 1)[-1] for heading in head]
    return Fitted([own if last.count(own) == 1 else head[number] for number, own in enumerate(last)], rows, between=1)
