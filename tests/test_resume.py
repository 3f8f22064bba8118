"""Interrupted, killed, repeated, placed elsewhere: the same command ends with the same numbers, bit for bit.

One tiny run is left undisturbed; every other run is compared with it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

CHECKOUT = Path(__file__).parent.parent
SETTINGS = {"rl.rounds": 2, "rl.members": 8, "rl.updates": 5, "training.steps": 50, "rl.period": 10}
SETTINGS |= {"unroll.segments": 3, "unroll.steps": 50, "unroll.members": 4}
SETTINGS |= {"compare.seeds": 4, "compare.group": 2, "compare.tuning-seeds": 2, "target.hidden": 8}
TINY = [part for name, value in SETTINGS.items() for part in (f"--{name}", str(value))]
MARK = "GRAD_INSTRUCTOR_TEST"
TO_END = 10.0
"""seconds that Ctrl-C may take"""
TO_VANISH = 10.0
"""seconds after which nothing may be left of a run that ended by itself"""
TO_VANISH_KILLED = 90.0
"""the same where the driver was killed outright: Ray's agents then look for its control store for up to a minute"""
NOT_RESULTS = {"seconds", "wall_seconds", "ms_per_step", "provenance"}
"""keys of JSON files that hold timings, dates and the command"""


@dataclass
class Running:
    """The program at work, and a mark in the environment of every process that it starts."""

    process: subprocess.Popen
    mark: str
    log: Path

    def processes(self) -> list[psutil.Process]:
        """All living processes of this run, wherever they are in the tree."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def vanished(self, seconds: float) -> bool:
        """Whether none of them is left after at most ``seconds``."""
        deadline = time.monotonic() + seconds
        while self.processes():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == self.mark
        except psutil.Error:
            return False


def _start(folder: Path, *arguments: str) -> Running:
    mark, log = uuid4().hex, folder / f"log-{time.monotonic_ns()}"
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", MARK: mark}
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    return Running(process, mark, log)


def _finish(folder: Path, *arguments: str) -> str:
    """Run to the end, which must be a good one; what it printed."""
    running = _start(folder, *arguments)
    code = running.process.wait(180)
    assert code == 0, running.log.read_text()
    assert running.vanished(TO_VANISH), running.processes()
    return running.log.read_text()


def _wait(running: Running, reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not reached():
        assert running.process.poll() is None, "it ended too soon: " + running.log.read_text()
        assert time.monotonic() < deadline, running.log.read_text()
        time.sleep(0.01)


STAGES: dict[str, Callable[[Path], bool]] = {
    "ENN": lambda run: (run / "training" / "history.json").exists() and (run / "mlflow-sent.json").exists(),
    "targets": lambda run: (run / "arms" / "conventional-0.json").exists(),
    "explain": lambda run: (run / "explain").exists(),
    "report": lambda run: (run / "report.json").exists(),
}
"""by stage: what a run's folder looks like in the midst of it"""


def _interrupt(folder: Path, stage: str, number: int) -> None:
    """Begin the run and end it in a stage as Ctrl-C does (which signals the whole group) or ``kill``; it must end well."""
    running = _start(folder, "run", "--output", "run", "--workers", "1", *TINY)
    _wait(running, lambda: STAGES[stage](folder / "run"))
    assert running.processes()
    if number == signal.SIGINT:
        os.killpg(running.process.pid, number)
    else:
        running.process.send_signal(number)
    started = time.monotonic()
    assert running.process.wait(TO_END + 5) == 130, running.log.read_text()
    assert time.monotonic() - started < TO_END
    assert running.vanished(2), running.processes()
    output = running.log.read_text()
    assert output.rstrip().endswith("grad-instructor: interrupted; give the same command again to continue.")
    assert "Traceback" not in output
    statuses = {run.data.tags["grad_instructor.run"]: run.info.status for run in _mlflow_runs(folder / "run")}
    assert statuses.pop("run") == "KILLED"
    done = {name for name, status in statuses.items() if status == "FINISHED"}
    assert set(statuses.values()) <= {"KILLED", "FINISHED"}
    assert ("run/train-enn" in done) == (stage != "ENN")


def _kill(folder: Path, stage: str) -> None:
    """Begin the run and kill its driver outright in a stage; Ray goes with it."""
    running = _start(folder, "run", "--output", "run", "--workers", "1", *TINY)
    _wait(running, lambda: STAGES[stage](folder / "run"))
    running.process.kill()
    assert running.process.wait(5) == -signal.SIGKILL
    assert running.vanished(TO_VANISH_KILLED), running.processes()


def _mlflow_runs(run: Path) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{run / 'mlflow.db'}")
    return client.search_runs([experiment.experiment_id for experiment in client.search_experiments()], max_results=1000)


def _assert_mirrored(run: Path, like: Path) -> None:
    """MLflow holds each run of ``like`` once, finished, with the same metrics, each step once."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{run / 'mlflow.db'}")
    here, there = ({r.data.tags["grad_instructor.run"]: r for r in _mlflow_runs(folder)} for folder in (run, like))
    assert len(_mlflow_runs(run)) == len(here) and here.keys() == there.keys()
    assert {r.info.status for r in here.values()} == {"FINISHED"}
    for name, r in here.items():
        assert r.data.metrics.keys() == there[name].data.metrics.keys()
        for key in list(r.data.metrics)[:2]:
            steps = [metric.step for metric in client.get_metric_history(r.info.run_id, key)]
            assert len(steps) == len(set(steps))
    parent = here["run"].info.run_id
    assert {r.data.tags.get("mlflow.parentRunId") for name, r in here.items() if name != "run"} == {parent}


def _results(run: Path, under: str = "") -> dict[str, Any]:
    """Everything that was computed: tensors as bytes, JSON without timings and provenance."""
    files = [path for path in (run / under).rglob("*") if path.suffix in (".safetensors", ".json")]
    files = [path for path in files if "mlartifacts" not in path.parts and path.name != "mlflow-sent.json"]
    return {
        str(path.relative_to(run)): path.read_bytes() if path.suffix == ".safetensors" else _plain(json.loads(path.read_text()))
        for path in files
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key not in NOT_RESULTS}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _assert_same(results: dict[str, Any], expected: dict[str, Any]) -> None:
    assert sorted(results) == sorted(expected)
    assert [name for name in expected if results[name] != expected[name]] == []


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Path:
    """The folder of a tiny run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    output = _finish(folder, "run", "--output", "run", "--workers", "1", *TINY)
    assert output.count("test accuracy on digits") == 1 and "Traceback" not in output
    return folder / "run"


@pytest.fixture
def folder(tmp_path) -> Iterator[Path]:
    """A folder to work in; whatever a failed test leaves running there is ended."""
    yield tmp_path
    for process in psutil.process_iter():
        try:
            if MARK in process.environ() and str(tmp_path) == process.cwd():
                process.kill()
        except psutil.Error:
            continue


def test_the_results_are_all_there(undisturbed):
    names = _results(undisturbed).keys()
    assert {"config.json", "enn.safetensors", "enn.json", "enn-convnet.safetensors", "report.json"} <= names
    assert {"arms/conventional-0.json", "arms/instructed-he-1.safetensors", "training/round-001.safetensors"} <= names
    _assert_mirrored(undisturbed, undisturbed)


def test_the_second_call_changes_no_result_and_trains_nothing(undisturbed):
    before, written = _results(undisturbed), {path: path.stat().st_mtime_ns for path in (undisturbed / "arms").iterdir()}
    started = time.monotonic()
    output = _finish(undisturbed.parent, "run", "--output", "run", "--workers", "1", *TINY)
    assert time.monotonic() - started < 60
    assert "test accuracy on digits" in output
    _assert_same(_results(undisturbed), before)
    trained = [path.name for path, at in written.items() if path.stat().st_mtime_ns != at]
    assert trained in ([], ["strengths.json"])
    _assert_mirrored(undisturbed, undisturbed)


def test_interrupted_then_killed_then_finished_with_the_same_numbers(undisturbed, folder):
    _interrupt(folder, "ENN", signal.SIGINT)
    _kill(folder, "targets")
    _finish(folder, "run", "--output", "run", "--workers", "1", *TINY)
    _assert_same(_results(folder / "run"), _results(undisturbed))
    _assert_mirrored(folder / "run", undisturbed)


def test_local_gives_the_same_numbers_and_the_work_goes_on_without_mlflow(undisturbed, folder):
    """Only the targets are trained anew, with an MLflow server that is not there; ``sync`` delivers to a database later."""
    run = folder / "run"
    left_out = shutil.ignore_patterns("arms", "records.jsonl", "mlflow*", "mlartifacts", "report*")
    shutil.copytree(undisturbed, run, ignore=left_out)
    output = _finish(folder, "instruct", "--output", "run", "--local", "--tracking-uri", "http://127.0.0.1:9")
    assert output.count("warning:") == 1 and "grad-instructor sync" in output
    _assert_same(_results(run, "arms"), _results(undisturbed, "arms"))
    assert not (run / "mlflow.db").exists()
    assert "are in MLflow at sqlite:///" in _finish(folder, "sync", "--output", "run")
    assert "are in MLflow at sqlite:///" in _finish(folder, "sync", "--output", "run")
    runs = {r.data.tags["grad_instructor.run"]: r.info.status for r in _mlflow_runs(run)}
    assert len(runs) == len(_mlflow_runs(run)) == 1 + 4 + 14  # the command, 4 searches for a strength, 7 arms × 2 groups
    assert set(runs.values()) == {"FINISHED"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("stage", ["ENN", "targets"])
def test_interrupted_in_each_stage(stage, number, undisturbed, folder):
    _interrupt(folder, stage, number)
    _finish(folder, "run", "--output", "run", "--workers", "1", *TINY)
    _assert_same(_results(folder / "run"), _results(undisturbed))
    _assert_mirrored(folder / "run", undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_killed_in_each_stage(stage, undisturbed, folder):
    _kill(folder, stage)
    _finish(folder, "run", "--output", "run", "--workers", "1", *TINY)
    _assert_same(_results(folder / "run"), _results(undisturbed))
    _assert_mirrored(folder / "run", undisturbed)


@pytest.mark.slow
def test_two_workers_in_another_folder_give_the_same_numbers(undisturbed, folder):
    _finish(folder, "run", "--output", "run", "--workers", "2", *TINY)
    _assert_same(_results(folder / "run"), _results(undisturbed))


@pytest.mark.slow
def test_stage_by_stage_gives_the_same_numbers(undisturbed, folder):
    _finish(folder, "train-enn", "--output", "run", *TINY)
    for command in ("instruct", "explain", "report"):
        _finish(folder, command, "--output", "run", "--workers", "1")
    _assert_same(_results(folder / "run"), _results(undisturbed))
