"""What every working command does around its stages: look, check, lock, work, and note that all is done."""

import os
from collections.abc import Callable, Sequence

from pipeline import cluster
from pipeline.addresses import shown_address
from pipeline.command_line.checks import check, check_folder, still_fits
from pipeline.command_line.described import of_work
from pipeline.command_line.finished import as_written, is_finished, note_finished
from pipeline.command_line.folders import check_kind, locked, make_folder
from pipeline.command_line.recording import recorded_as
from pipeline.command_line.work import Work
from pipeline.config import to_dotted
from pipeline.files import write_json
from pipeline.progress import console
from pipeline.received import refuse_links
from pipeline.results.mlflow import given

Stage = Callable[[Work], None]
"""finds what is done already, writes its results to disk, then records and sends them"""
SHOWN = {"report.html": "page", "report.md": "table", "figures": "plots", "records.jsonl": "records", "enn.safetensors": "ENN"}
"""what a folder holds, for those who want to look"""
Show = Callable[[Work, str], None]
"""prints the results of finished work, from its files alone; is given the name of the data"""


def do(job: Work, stages: Sequence[Stage], show: Show | None = None) -> int:
    """Do a command; the exit code. What is finished is only shown: nothing is computed, drawn or recorded once more."""
    cluster.check(job.command.placement)
    refuse_links(job.folder, begun_only=True)
    check_kind(job.command)
    settings = to_dotted(job.config)
    if finished := is_finished(job, settings, [job.config.unroll.start], whole=job.command.work):
        console.print("finished; nothing to do")
        if show:
            with as_written(job.folder, "report.json", "prediction.json"):
                show(job, finished)
    else:
        work(job, stages)
    closing_lines(job)
    return 0


def work(job: Work, stages: Sequence[Stage]) -> None:
    """Check everything first, then go through the stages, with a true status at the end."""
    from pipeline.results.origin import data_of

    noted = check(job)
    with locked(make_folder(job.command)):
        refuse_links(job.folder)
        check_folder(job)  # once more: another command may have been first
        settings = {"preset": job.command.options.preset, "settings": to_dotted(job.config)}
        settings |= {"work": job.command.work} if job.without_enn else {}
        write_json(job.folder / "config.json", settings | ({"data": data_of(job.dataset)} if noted else {}))
        with recorded_as(job, of_work(job.config, job.command.options.preset, job.without_enn)):
            job.records.artifact(job.root, "config.json", "")
            console.print(f"results go to {job.folder}", soft_wrap=True)
            for stage in stages:
                stage(job)
                job.send()
        if noted and still_fits(job):  # what says nothing of its origin is looked at again each time
            note_finished(job, settings["settings"], [job.config.unroll.start])


def closing_lines(job: Work) -> None:
    """Where everything is; what may be copied, a path or a command, is not broken into lines."""
    console.print(f"\nresults   {job.folder}", soft_wrap=True)
    for name, what in SHOWN.items():
        if (job.folder / name).exists():
            console.print(f"{what:<9} {job.folder / name}", soft_wrap=True)
    console.print(f"MLflow    {where_mlflow_is(job)}", soft_wrap=True)


def where_mlflow_is(job: Work) -> str:
    """The tracking server, or the command that shows the folder's own database."""
    uri = given(job.command.options.tracking_uri)
    return shown_address(uri) if uri else f"grad-instructor ui --output {os.path.relpath(job.folder)}"
