"""``grad-instructor instruct``: fresh targets with and without instruction."""

from pipeline.command_line import arm_runs
from pipeline.command_line.options import Command
from pipeline.command_line.stages import do
from pipeline.command_line.work import Work, load_critics, untrained
from pipeline.files import read_json
from pipeline.progress import stage


def command(options: Command, line: str) -> int:
    """Stage 2 alone."""
    return do(Work("instruct", options, line), [instruct])


def instruct(job: Work) -> None:
    """Stage 2: fresh targets with and without instruction."""
    from pipeline.compare import all_tasks, compare

    config, placement = job.config, job.command.placement
    critics = load_critics(job)
    arm_of = {task.name: task.arm for task in all_tasks(config)}
    left = {arm: {name for name, own in arm_of.items() if own == arm} for arm in config.compare.arms}
    if not placement.local and untrained(job):
        job.start_ray()
    with stage("train targets", 1, job.at_once) as bar:

        def on_task(name: str, done: int, total: int) -> None:
            bar.of(total)
            arm = arm_of[name]
            left[arm].discard(name)
            if left[arm]:
                arm_runs.begin(job, arm)
            else:
                arm_runs.record(job, arm)
            job.send()
            if job.made(read_json(job.folder / "arms" / f"{name}.json")):
                bar.advance(name)
            else:
                bar.skip()

        compare(config, job.dataset, critics, job.folder, placement, on_task, job.provenance)
    job.send()
