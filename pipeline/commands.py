"""What each command does. Every stage finds what is done already, writes its results to disk, then records and sends them."""

import fcntl
import math
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import cluster, interrupts
from pipeline.arms import ARMS
from pipeline.cli import Command, Look, check_settings, compare_settings, make_folder, newest_folder
from pipeline.config import Config, to_dotted
from pipeline.data import Dataset, found, load
from pipeline.errors import UserError, without_secrets
from pipeline.files import NO_JSON, no_link, parse_json, read_json, refuse_links, write_json, write_tensors
from pipeline.progress import console, stage
from pipeline.results.mirror import Mirror, health, ui_command
from pipeline.results.origin import data_of, mapping, sealed
from pipeline.results.provenance import provenance
from pipeline.results.records import Records
from pipeline.results.storage import Storage

TO_PREPARE = 3.0
"""seconds that an interrupt waits for MLflow to be ready, so that it can say KILLED"""


@dataclass
class Work:
    """One command at work in one folder."""

    name: str
    command: Command
    line: str

    @property
    def config(self) -> Config:
        return self.command.config

    @cached_property
    def folder(self) -> Path:
        return self.command.folder

    @cached_property
    def dataset(self) -> Dataset:
        options = self.command.options
        return load(self.config.data.dataset, options.data_folder, options.download)

    @cached_property
    def records(self) -> Records:
        return Records(self.folder)

    @cached_property
    def mirror(self) -> Mirror:
        options = self.command.options
        return Mirror(self.folder, options.tracking_uri, options.experiment, lambda text: console.print(f"warning: {text}"))

    @cached_property
    def storage(self) -> Storage | None:
        uri = self.command.options.storage_path
        return Storage(self.folder, uri, lambda text: console.print(f"warning: {text}")) if uri else None

    @cached_property
    def provenance(self) -> dict[str, Any]:
        return provenance(self.line, self.config.seed)

    def send(self, last: bool = False) -> None:
        """Tell MLflow what it has not been told yet, and keep the copy of the results up to date."""
        with interrupts.put_off():
            self.mirror.send(self.records, last)
            if self.storage and not last:
                self.storage.send()

    def fetch(self) -> None:
        """Take over what the storage holds, if it has come further than the folder."""
        if self.storage is None:
            return
        with locked(make_folder(self.command)):
            refuse_links(self.folder)
            count = self.storage.fetch(lambda files: _check_copy(self, files))
        if count:
            console.print(f"{count} files were fetched from {self.storage.shown}")

    def start_ray(self) -> None:
        """Start Ray or join a cluster, unless that was done."""
        cluster.start(self.command.placement, size_in_bytes(self.dataset))
        interrupts.install_again()  # Ray has put its own handlers in their place

    def child(self, name: str, title: str, params: dict[str, Any]) -> str:
        """Start a run under this command's."""
        run = f"{self.name}/{name}"
        self.records.start(run, title, self.name, params, {})
        return run


def work(name: str, command: Command, line: str) -> int:
    """Do a command: check everything first, then its stages, with a true status at the end."""
    job = Work(name, command, line)
    cluster.check(command.placement)
    refuse_links(job.folder, begun_only=True)
    dataset = job.dataset
    check_fits(job.config, dataset)
    job.fetch()
    check_settings(command)
    _check_data(job)
    _check_needs(job)
    noted = _check_origins(job)
    _check_trained(job)
    _ = job.mirror  # an address that MLflow cannot use is refused here
    stages = {"run": [train_enn, instruct, explain, report], "train-enn": [train_enn], "instruct": [instruct]}
    stages |= {"explain": [explain], "report": [report]}
    with locked(make_folder(command)):
        refuse_links(job.folder)
        check_settings(command)  # once more: another command may have been first
        _check_data(job)
        settings = {"preset": command.options.preset, "settings": to_dotted(job.config)}
        write_json(job.folder / "config.json", settings | ({"data": data_of(dataset)} if noted else {}))
        _work_through(job, stages[name])
    _closing_lines(job)
    return 0


def _work_through(job: Work, stages: list[Callable[[Work], None]]) -> None:
    with recorded_as(job, to_dotted(job.config)):
        console.print(f"results go to {job.folder}")
        for step in stages:
            step(job)
            job.send()


# -- stages ------------------------------------------------------------------------------------------------------------


def train_enn(job: Work) -> None:
    """Stage 1: an ENN by off-policy RL."""
    config, run = job.config, job.child("train-enn", "train-enn", to_dotted(job.config))
    import pipeline.compare  # noqa: F401  (torch is imported while the mirror's thread makes its database)
    from pipeline.compare.folder import enn_file
    from rl.train import train_enn

    job.records.dataset(run, job.dataset.name, job.dataset.digest, sizes_of(job.dataset))
    if config.rl.rounds and not (job.folder / enn_file(config, config.enn.readers[0])).exists():
        job.start_ray()
    with stage("train ENN", config.rl.rounds) as bar:
        if not config.rl.rounds and not config.unroll.start:
            bar.say(f"{config.rl.updates} steps on {config.recorded.rounds} recorded populations, as in the search")

        def on_round(row: dict[str, Any]) -> None:
            numbers = {key: value for key, value in row.items() if isinstance(value, int | float)}
            values = {key.replace("/he/", "/from_he/"): numbers[key] for key in numbers if key not in ("round", "seconds")}
            job.records.metrics(run, row["round"], values)
            job.send()
            bar.say(_round_line(config, row))
            bar.advance()

        placement = job.command.placement
        trained = train_enn(
            config, job.dataset, job.folder, on_round, placement.device, placement.gpus_per_worker, job.provenance
        )
    if trained["history"]:
        _figure(job, "learning", _learning_rounds(config, trained["history"]))
    files = list(trained["files"].values())
    if config.unroll.segments:
        files.append(_fine_tune(job, run, placement.device))
    for file in files:
        job.records.artifact(run, file, "enn")
        job.records.artifact(run, str(Path(file).with_suffix(".json")), "enn")
    job.records.end(run, "FINISHED")


def _fine_tune(job: Work, run: str, device: str) -> str:
    """Stage 1b: the instructing ENN through unrolled training; the file that it is in."""
    from pipeline.results.tables import as_text
    from rl.train import fine_tune_enn
    from rl.unrolled import KEEP

    segments = job.config.unroll.segments
    with stage("fine-tune ENN", -(-segments // KEEP)) as bar:

        def on_segment(row: dict[str, Any]) -> None:
            numbers = {key: value for key, value in row.items() if isinstance(value, int | float) and value == value}
            values = {f"unrolled/{key.replace('/he', '/from_he')}": value for key, value in numbers.items()}
            job.records.metrics(run, row["segment"], values)
            job.send()
            bar.say(
                f"segment {row['segment']}/{segments}  loss at its end: {as_text(row['loss/small'], '.3f')} from small "
                f"weights, {as_text(row['loss/he'], '.3f')} from He  promised change {as_text(row['promised'], '+.3f')}  "
                f"error {as_text(row['error'], '.3f')}"
            )
            bar.advance()

        return fine_tune_enn(job.config, job.dataset, job.folder, on_segment, device, job.provenance)["file"]


def instruct(job: Work) -> None:
    """Stage 2: fresh targets with and without instruction."""
    from pipeline.compare import compare

    config, placement = job.config, job.command.placement
    critics = load_critics(job)
    if not placement.local and _untrained(job):
        job.start_ray()
    with stage("train targets", 1) as bar:

        def on_task(name: str, done: int, total: int) -> None:
            bar.total = total
            if bar.progress is not None and bar.task is not None:
                bar.progress.update(bar.task, total=total)
            _record_task(job, name)
            bar.advance(name)

        compare(config, job.dataset, critics, job.folder, placement, on_task, job.provenance)
    job.send()


def explain(job: Work) -> None:
    """Stage 3: what the ENN looks at."""
    from pipeline.compare import checkpoints_of
    from pipeline.explain import explain
    from pipeline.results import figures

    config = job.config
    if "convnet" not in config.enn.readers:
        console.print("explain: no reader in enn.readers sees a weight image, so there is no Grad-CAM to draw.")
        return
    critic = load_critics(job)["convnet"]
    folder = job.folder / "explain"
    run = job.child("explain", "explain", {"reader": "convnet"})
    for arm in [name for name, arm in ARMS.items() if arm.explained and name in config.compare.arms]:
        maps = explain(critic, _checkpoints(job, arm))
        tensors = {f"{index}/{name}": getattr(item, name) for index, item in enumerate(maps) for name in ("image", "map")}
        tensors |= {
            f"{index}/layer{number}": layer for index, item in enumerate(maps) for number, layer in enumerate(item.layers, 1)
        }
        write_tensors(folder / f"gradcam-{arm}.safetensors", _to_torch(tensors))
        drawn = [
            {"title": f"{arm}, {item.title} (V = {item.value:.2f})", "map": item.map, "image": item.image} for item in maps
        ]
        figures.gradcam(drawn, job.folder / "figures" / f"gradcam-{arm}.png")
        job.records.artifact(job.name, f"figures/gradcam-{arm}.png", "figures")
        for index, step in enumerate(checkpoints_of(config).values()):
            path = folder / f"gradcam-{arm}-{step:06d}.png"
            figures.gradcam(drawn[index : index + 1], path)
            job.records.image(run, str(path.relative_to(job.folder)), f"gradcam/{arm}", step)
    job.records.end(run, "FINISHED")
    console.print(f"explain: Grad-CAM maps are in {job.folder / 'figures'}")


def report(job: Work) -> None:
    """Stage 4: the test set, once; the table, the plots."""
    from pipeline.compare import chosen_strengths, collect
    from pipeline.compare.folder import enns_made_by, is_stale, populations, report_origin
    from pipeline.compare.report import (
        curves,
        evaluate_on_test,
        head_to_head,
        head_to_head_line,
        made_by,
        prediction_line,
        prediction_points,
    )
    from pipeline.results import figures
    from pipeline.results.tables import markdown, report_rows, rich_table

    path = job.folder / "report.json"
    arms = collect(job.config, job.folder)
    tested_now = populations(job.folder, job.config)
    if not path.exists() or is_stale(read_json(path), tested_now):
        tested = evaluate_on_test(job.config, job.dataset, job.folder, arms)
        enns = enns_made_by(job.folder, job.config)
        rows = [
            row | {"provenance": made_by(job.config, row["arm"], arms[row["arm"]]["provenance"], enns, job.provenance)}
            for row in report_rows(tested, job.config.compare.baseline)
        ]
        written = {
            "rows": rows,
            "head_to_head": head_to_head(tested),
            "seeds": tested,
            "candidates": chosen_strengths(job.config, job.folder),
            "origin": report_origin(job.config, job.dataset, load_critics(job)).as_json(),
            "populations": tested_now,
        }
        write_json(path, sealed(written))
    written = read_json(path)
    rows, duels = written["rows"], [head_to_head_line(duel) for duel in written["head_to_head"]]
    lines = [*duels, *_commits(rows)]
    _write_text(job.folder / "report.md", markdown(rows) + "".join(f"\n- {line}" for line in lines) + "\n")
    instructed = {arm: curves(values, "instruction") for arm, values in arms.items() if ARMS[arm].enn}
    points = prediction_points(job.config, arms)
    write_json(
        job.folder / "prediction.json",
        {name: {k: v for k, v in p.items() if not isinstance(v, list)} for name, p in points.items()},
    )
    for name, draw, values in (
        ("accuracy", figures.accuracy, {arm: curves(values, "accuracy") for arm, values in arms.items()}),
        ("instruction", figures.instruction, instructed),
        ("prediction", figures.prediction, points),
    ):
        draw(values, job.folder / "figures" / f"{name}.png")
        job.records.artifact(job.name, f"figures/{name}.png", "figures")
    job.records.artifact(job.name, "report.md", "")
    for row in rows:
        name = f"result-{row['arm']}"
        if job.records.differs("result", f"{job.name}/{name}", row=row):
            job.records.anew(f"{job.name}/{name}")  # the report was lost and made again
        run = job.child(name, f"result {row['arm']}", {"arm": row["arm"], "strength": row["strength"]})
        job.records.result(run, row)
        job.records.end(run, "FINISHED")
    console.print(
        f"\ntest accuracy on {job.dataset.name}, {rows[0]['n']} targets per arm, differences paired by seed with "
        f"{job.config.compare.baseline}:"
    )
    console.print(rich_table(rows))
    for line in lines:
        console.print(line)
    for name, point in points.items():
        console.print(f"prediction by {name}: {prediction_line(point)}")


def _commits(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where rows were made by another commit than the report: which, a sentence for those of the same."""
    arms: dict[str, list[str]] = {}
    for row in rows:
        if commits := row["provenance"].get("commits"):
            arms.setdefault(commits, []).append(row["arm"])
    return [f"{', '.join(names)}: {commits}" for commits, names in arms.items()]


# -- commands that only look -------------------------------------------------------------------------------------------


def ui(look: Look) -> int:
    """Open the MLflow UI on a run's folder."""
    folder = (look.output or newest_folder()).absolute()
    _check_is_run(folder)
    console.print(f"MLflow UI of {folder}: http://{look.host}:{look.port}  (Ctrl-C ends it)")
    # a group of its own: Ctrl-C comes to this process alone, and the server ends by SIGTERM, which it takes without a traceback
    process = subprocess.Popen(ui_command(folder, look.port, look.tracking_uri, look.host), process_group=0)
    try:
        return process.wait()
    except KeyboardInterrupt:
        interrupts.hear()
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        return 0


def sync(look: Look) -> int:
    """Send what could not be sent, each record once."""
    folder = (look.output or newest_folder()).absolute()
    _check_is_run(folder)
    problems: list[str] = []
    mirror = Mirror(folder, look.tracking_uri, look.experiment, problems.append)
    mirror.send(Records(folder))
    if problems:
        raise UserError(problems[0])
    console.print(f"all records of {folder} are in MLflow at {without_secrets(mirror.uri)}")
    return 0


def doctor(look: Look) -> int:
    """What is here."""
    facts = provenance("grad-instructor doctor", 0)
    for name, value in facts.items():
        if name not in ("command", "seed"):
            console.print(f"{name:<16} {_fact(value)}")
    import torch

    devices = [f"cuda:{index} {torch.cuda.get_device_name(index)}" for index in range(torch.cuda.device_count())]
    console.print(f"{'devices':<16} cpu{''.join(', ' + device for device in devices)}")
    for name, state in found(look.data_folder).items():
        console.print(f"{'data ' + name:<16} {state}")
    console.print(f"{'tracking':<16} {health(look.tracking_uri, look.output)}")
    return 0


# -- helpers, in the order of their use --------------------------------------------------------------------------------


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One command at a time in a folder."""
    try:
        file = open(folder / ".lock", "w", opener=no_link)  # noqa: SIM115 (closed below)
    except OSError as error:
        raise UserError(f"the output folder {folder} is not writable ({error.strerror}); choose another --output.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another command is at work in {folder}; wait for it or choose another --output.") from error
        yield


@contextmanager
def recorded_as(job: Work, params: dict[str, Any]) -> Iterator[None]:
    """The command's own run: started in the records, prepared in MLflow meanwhile, and ended truthfully."""
    facts = {f"provenance.{key}": value for key, value in _flat(job.provenance).items()}
    records = job.records
    for run in records.running():  # left by a command that was killed outright
        if not run.startswith(job.name):
            records.end(run, "KILLED")
    preparing, stop_ray = threading.Thread(target=job.mirror.prepare, daemon=True), _stop_ray()
    try:
        records.start(job.name, f"{job.name} {job.folder.name}", None, params, facts)
        preparing.start()
        yield
        interrupts.check()
        records.end(job.name, "FINISHED")
        preparing.join()
        job.send(last=True)
        interrupts.check()
    except KeyboardInterrupt:
        _killed(job, preparing)
        stop_ray()
        raise
    except BaseException:
        for run in records.running():
            records.end(run, "FAILED")
        job.send(last=True)
        with suppress(UserError):  # the error that is under way is the one to tell
            _copy_last(job)
        stop_ray()
        raise
    try:
        stop_ray()
        _copy_last(job)
    except KeyboardInterrupt:
        _killed(job, preparing)
        raise


def _killed(job: Work, preparing: threading.Thread) -> None:
    """After a signal: the truth in the records, then in MLflow as far as it can be had in a few seconds."""
    interrupts.hear()
    records = job.records = Records(job.folder)  # the old ones may have been cut off in the midst of a line
    for run in [*records.running(), job.name]:
        if records.knows(run):
            records.end(run, "KILLED")
    if preparing.is_alive():
        preparing.join(TO_PREPARE)
    job.mirror.interrupted(records)


def _stop_ray() -> Callable[[], None]:
    """What ends the command's Ray; one that runs already is somebody else's, and stays."""
    return (lambda: None) if cluster.is_running() else cluster.stop


def _copy_last(job: Work) -> None:
    if job.storage:
        job.storage.send(last=True)


def check_fits(config: Config, dataset: Dataset) -> None:
    """What can only be known once the data are there, before any work."""
    if config.training.batch_size > len(dataset.x_train):
        raise UserError(
            f"training.batch_size is {config.training.batch_size} and {dataset.name} has {len(dataset.x_train)} training "
            "examples; give a smaller batch."
        )
    if len(dataset.y_validation) < 2:
        raise UserError(
            f"{dataset.name} has 1 validation example, and the reward and the choice of strengths need their own; "
            "give at least 2."
        )


def _check_needs(job: Work) -> None:
    """Raises UserError where what an earlier command makes is not there, or is there and cannot be used."""
    from pipeline.setting import load_start, target_of

    trained = os.path.exists(job.folder / "enn.safetensors")
    if job.name in ("instruct", "explain", "report") and not trained:
        raise UserError(f"{job.folder} holds no ENN; train one first with `grad-instructor train-enn`.")
    if trained:
        load_critics(job)
    elif job.config.unroll.start:
        load_start(job.config, target_of(job.config, job.dataset))


def _check_trained(job: Work) -> None:
    """Raises UserError where a command needs populations that are not there."""
    missing = _untrained(job) if job.name in ("explain", "report") else []
    if missing:
        raise UserError(f"{job.folder} lacks trained targets ({missing[0]}); train them first with `grad-instructor instruct`.")


def _check_copy(job: Work, files: Mapping[str, bytes]) -> None:
    """Raises UserError where the copy in the storage is of other data or settings; a damaged one is refused when it is here."""
    from pipeline.compare.folder import check_noted

    assert job.storage is not None
    for data in files.values():
        with suppress(*NO_JSON):
            saved = mapping(parse_json(data))
            check_noted(job.storage.shown, saved.get("data"), job.dataset, "--storage-path")
            if "settings" in saved:
                here = to_dotted(job.config)
                compare_settings(job.storage.shown, to_dotted(Config()) | dict(mapping(saved["settings"])), here)


def _check_data(job: Work) -> bool:
    from pipeline.compare.folder import check_data

    noted = check_data(job.folder, job.dataset, [])
    if noted or not os.path.lexists(job.folder / "records.jsonl"):
        return noted
    return check_data(job.folder, job.dataset, job.records.events)


def _check_origins(job: Work) -> bool:
    """Whether every result in the folder says what it was made from; all of them go with the data and settings of now.

    Raises:
        UserError: one does not, or is silent beside others that speak.
    """
    from pipeline.compare.folder import check_results

    silent = check_results(job.folder, job.config, job.dataset, _check_data(job))
    if silent:
        console.print(
            f"warning: {silent[0]} ({len(silent)} files in all) was made by an earlier version, which did not note what it was "
            "made from; what it does say was compared, and the rest is taken as it is."
        )
    return not silent


def _untrained(job: Work) -> list[str]:
    """The populations of the comparison that are still to be trained."""
    from pipeline.compare import all_tasks

    return [task.name for task in all_tasks(job.config) if not (job.folder / "arms" / f"{task.name}.json").exists()]


def load_critics(job: Work) -> dict[str, Any]:
    """The trained ENNs of a run's folder, checked against the targets that they are to instruct."""
    from pipeline.compare.folder import load_enns

    return load_enns(job.folder, job.config, job.dataset)


def _record_task(job: Work, name: str) -> None:
    """A finished population: one child run with its curves."""
    result = read_json(job.folder / "arms" / f"{name}.json", math.nan)
    params = {"arm": result["arm"], "seeds": len(result["seeds"]), "strengths": sorted(set(result["strengths"]))}
    params |= {
        key: value for key, value in to_dotted(job.config).items() if key.split(".")[0] in ("data", "target", "training")
    }
    rows = {key: result[key] for key in ("accuracy", "loss", "strength", "gradient_norm", "instruction_norm")}
    rows |= {f"predicted/{reader}": predicted for reader, predicted in result["predicted"].items()}
    curves = {key: np.array(of_points).mean(axis=1).tolist() for key, of_points in rows.items()}
    curves["seconds"] = result["seconds"]
    run = f"{job.name}/{name}"
    if any(job.records.differs("series", run, name=key, values=values) for key, values in curves.items()):
        job.records.anew(run)  # it was trained again, since its result was lost
    job.child(name, name, params)
    for key, values in curves.items():
        job.records.series(run, key, result["steps"][-len(values) :], values)
    job.records.end(run, "FINISHED")
    job.send()


def _round_line(config: Config, row: dict[str, Any]) -> str:
    from pipeline.results.tables import as_text

    scores, he = (
        [f"{key.rsplit('/', 1)[1]}: {as_text(value, '.3f')}" for key, value in row.items() if key.startswith(f"score/{start}/")]
        for start in ("small", "he")
    )
    reader = config.enn.readers[0]
    return (
        f"round {row['round'] + 1}/{config.rl.rounds}  env steps {row['env_steps']}  "
        f"unseen runs: error {as_text(row[f'error/{reader}'], '.3f')} τ {as_text(row[f'kendall/{reader}'], '.2f')}\n"
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


def _figure(job: Work, name: str, values: Any) -> None:
    from pipeline.results import figures

    draw: Callable[[Any, Path], None] = getattr(figures, name)
    draw(values, job.folder / "figures" / f"{name}.png")
    job.records.artifact(job.name, f"figures/{name}.png", "figures")


def _checkpoints(job: Work, arm: str) -> dict[str, tuple[list[Any], float]]:
    """The first member's weights at the start, middle and end of an arm."""
    from pipeline.compare import checkpoints_of
    from pipeline.files import read_tensors

    path = job.folder / "arms" / f"{arm}-0.safetensors"
    if not path.exists():
        raise UserError(f"{job.folder} holds no trained targets; train them first with `grad-instructor instruct`.")
    tensors = read_tensors(path)
    count = 2 * (len(job.config.target.hidden) + 1)
    weights = {name: [tensors[f"{name}/{i}"] for i in range(count)] for name in checkpoints_of(job.config)}
    return {name: (weights[name], place / job.config.training.steps) for name, place in checkpoints_of(job.config).items()}


def _to_torch(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def _write_text(path: Path, text: str) -> None:
    from pipeline.files import write_atomic

    write_atomic(path, text)


def _closing_lines(job: Work) -> None:
    console.print(f"\nresults   {job.folder}")
    for name, what in (("report.md", "table"), ("figures", "plots"), ("records.jsonl", "records"), ("enn.safetensors", "ENN")):
        if (job.folder / name).exists():
            console.print(f"{what:<9} {job.folder / name}")
    uri = job.command.options.tracking_uri
    shown = os.path.relpath(job.folder)
    console.print(f"MLflow    {without_secrets(uri)}" if uri else f"MLflow    grad-instructor ui --output {shown}")


def _check_is_run(folder: Path) -> None:
    refuse_links(folder)
    if not (folder / "records.jsonl").exists():
        raise UserError(f"{folder} holds no run; give the folder of one with --output.")


def sizes_of(dataset: Dataset) -> dict[str, int]:
    return {split: len(getattr(dataset, f"y_{split}")) for split in ("train", "validation", "test")}


def size_in_bytes(dataset: Dataset) -> int:
    return sum(getattr(dataset, f"x_{split}").nbytes for split in ("train", "validation", "test"))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _fact(value: Any) -> str:
    return ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, Mapping) else str(value)
