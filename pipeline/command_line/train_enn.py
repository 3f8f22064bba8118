"""``grad-instructor train-enn``: an ENN by off-policy RL, then fine-tuned."""

from collections.abc import Mapping
from typing import Any

from pipeline.arms import ENN_COLOUR
from pipeline.command_line import described
from pipeline.command_line.options import Command
from pipeline.command_line.stages import do
from pipeline.command_line.work import Work
from pipeline.config import Config
from pipeline.progress import stage
from pipeline.results.tables import as_cell


def command(options: Command, line: str) -> int:
    """Stage 1 alone."""
    return do(Work("train-enn", options, line), [train_enn])


def train_enn(job: Work) -> None:
    """Stage 1: an ENN by off-policy RL."""
    told = {"stage": "train-enn", "mlflow.runColor": ENN_COLOUR}  # else MLflow has another for every run's ENN
    config, run = job.config, job.child("train-enn", "ENN", described.of_enn(job.config), "enn", **told)
    import pipeline.compare  # noqa: F401  (torch is imported while the mirror's thread makes its database)
    from pipeline.compare.folder import unlearned
    from rl.train import train_enn

    if config.rl.rounds and unlearned(job.folder, config):
        job.start_ray()
    with stage("train ENN", config.rl.rounds) as bar:
        if not config.rl.rounds and not config.unroll.start:
            bar.say(f"{config.rl.updates} steps on {config.recorded.rounds} recorded populations, as in the search")

        def on_round(row: dict[str, Any]) -> None:
            numbers = {key: value for key, value in row.items() if isinstance(value, int | float)}
            values = {key.replace("/he/", "/from_he/"): numbers[key] for key in numbers if key not in ("round", "seconds")}
            job.records.metrics(run, row["round"], values, _time_of(row))
            job.send()
            if not job.made(row):
                bar.skip()
                return
            bar.say(_round_line(config, row))
            bar.advance()

        placement = job.command.placement
        trained = train_enn(
            config, job.dataset, job.folder, on_round, placement.device, placement.gpus_per_worker, job.provenance
        )
    if trained["history"]:
        from pipeline.results import figures

        rounds, path = _learning_rounds(config, trained["history"]), job.folder / "figures" / "learning.png"
        figures.learning(rounds, path, data=job.dataset.name, members=config.rl.members)
        job.records.artifact(job.root, "figures/learning.png", "figures")
    files = list(trained["files"].values())
    if config.unroll.segments:
        files.append(_fine_tune(job, run, placement.device))
    for file in files:
        _record_model(job, run, file)
    job.records.end(run, "FINISHED")


def _time_of(row: Mapping[str, Any]) -> int | None:
    """When a row of a training's history was made; None where an earlier version did not note it."""
    from pipeline.results.origin import mapping

    time = mapping(row.get("provenance")).get("time")
    return time if isinstance(time, int) else None


def _record_model(job: Work, run: str, file: str) -> None:
    from pipeline.enn.files import read_description

    path = job.folder / file
    description = read_description(path)
    card = description.get("card") or {}
    facts = {"reader": description["reader"], "data": job.dataset.name}
    facts |= {name: card[name] for name in ("rounds", "segments", "start", "error", "kendall") if name in card}
    # not "enn": MLflow takes a folder of a run's artifacts and a model of the same name for one thing
    job.records.model(run, path.stem.replace("enn", "evaluation-network", 1), file, facts)


def _fine_tune(job: Work, run: str, device: str) -> str:
    """Stage 1b: the instructing ENN through unrolled training; the file that it is in."""
    from rl.train import fine_tune_enn
    from rl.unrolled import KEEP

    segments = job.config.unroll.segments
    with stage("fine-tune ENN", -(-segments // KEEP)) as bar:

        def on_segment(row: dict[str, Any]) -> None:
            numbers = {key: value for key, value in row.items() if isinstance(value, int | float) and value == value}
            values = {f"unrolled/{key.replace('/he', '/from_he')}": numbers[key] for key in numbers if key != "segment"}
            job.records.metrics(run, row["segment"], values, _time_of(row))
            job.send()
            if not job.made(row):
                bar.skip()
                return
            bar.say(
                f"segment {row['segment']}/{segments}  loss at its end: {as_cell(row['loss/small'], '.3f')} from small "
                f"weights, {as_cell(row['loss/he'], '.3f')} from He  promised change {as_cell(row['promised'], '+.3f')}  "
                f"error {as_cell(row['error'], '.3f')}"
            )
            bar.advance()

        return fine_tune_enn(job.config, job.dataset, job.folder, on_segment, device, job.provenance)["file"]


def _round_line(config: Config, row: dict[str, Any]) -> str:
    scores, he = (
        [f"{key.rsplit('/', 1)[1]}: {as_cell(value, '.3f')}" for key, value in row.items() if key.startswith(f"score/{start}/")]
        for start in ("small", "he")
    )
    reader = config.enn.readers[0]
    return (
        f"round {row['round'] + 1}/{config.rl.rounds}  env steps {row['env_steps']}  "
        f"unseen runs: error {as_cell(row[f'error/{reader}'], '.3f')} τ {as_cell(row[f'kendall/{reader}'], '.2f')}\n"
        f"    final score by λ  from small weights  {'  '.join(scores)}\n"
        f"                      from He             {'  '.join(he)}"
    )


def _learning_rounds(config: Config, history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    reader, levels = config.enn.readers[0], [f"{level:g}" for level in config.instruction.ladder]
    return [
        {
            "round": row["round"] + 1,
            "scores": {level: row[f"score/small/{level}"] for level in levels if f"score/small/{level}" in row},
            "critic_error": row[f"error/{reader}"],
            "kendall": row[f"kendall/{reader}"],
        }
        for row in history
    ]
