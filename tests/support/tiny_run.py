"""A tiny run of the program: started, waited for, killed, and compared bit for bit with another one."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from pipeline.files import read_json

CHECKOUT = Path(__file__).resolve().parents[2]
MARK = "GRAD_INSTRUCTOR_TEST"
HANGS = 900.0
"""seconds after which something is taken to hang: no statement about speed, which depends on what else the cores do"""
NOT_RESULTS = {"seconds", "wall_seconds", "training_seconds", "processor_seconds", "ms_per_step", "ms_per_instruction"}
NOT_RESULTS |= {"provenance", "checksum", "date"}
"""keys of JSON files that hold timings, dates and the command, or depend on them"""


@dataclass
class Running:
    """The program at work, and a mark in the environment of every process that it starts."""

    process: subprocess.Popen
    mark: str
    log: Path

    def processes(self) -> list[psutil.Process]:
        """All living processes of this run, wherever they are in the tree."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def named(self, words: str) -> list[psutil.Process]:
        """Those of them with ``words`` in their command line; one that ends while it is asked is none of them."""
        return [process for process in self.processes() if words in _command_line(process)]

    def vanished(self) -> bool:
        """Whether none of them is left in the end. Where the driver was killed outright, Ray's agents look for its control
        store for up to a minute."""
        deadline = time.monotonic() + HANGS
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


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def heed_hangup() -> None:
    """For a process about to be started: as in a terminal, though this one may be under nohup, which its children inherit."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


IN_A_TERMINAL = ["-c", "import pty, sys; pty.spawn(sys.argv[1:])", sys.executable]
"""for Python: run Python with the further arguments in a terminal; ended, it leaves a terminal that is closed"""


def start(folder: Path, *arguments: str, terminal: bool = False, **variables: str) -> Running:
    """The program, at work in ``folder`` (or in a ``terminal``), with further environment ``variables``."""
    mark, log = uuid4().hex, folder / f"log-{time.monotonic_ns()}"
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", MARK: mark, **variables}
    command = [sys.executable, *(IN_A_TERMINAL if terminal else []), "-m", "pipeline.command_line", *arguments]
    with log.open("w") as file:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=heed_hangup,
        )
    return Running(process, mark, log)


def finish(folder: Path, *arguments: str, **variables: str) -> str:
    """Run to the end, which must be a good one; what it printed."""
    return ended(start(folder, *arguments, **variables))


def ended(running: Running, code: int = 0) -> str:
    """Wait for the end, which must be as expected; what was printed."""
    assert running.process.wait(HANGS) == code, running.log.read_text()
    assert running.vanished(), running.processes()
    return running.log.read_text()


def wait(running: Running, reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + HANGS
    while not reached():
        assert running.process.poll() is None, "it ended too soon: " + running.log.read_text()
        assert time.monotonic() < deadline, running.log.read_text()
        time.sleep(0.01)


def end_all_in(folder: Path) -> None:
    """Kill what was started by :func:`start` and still works in ``folder``."""
    for process in psutil.process_iter():
        try:
            if MARK in process.environ() and str(folder) == process.cwd():
                process.kill()
        except psutil.Error:
            continue


STAGES: dict[str, Callable[[Path], bool]] = {
    "ENN": lambda run: (run / "training" / "history.json").exists() and (run / "mlflow-sent.json").exists(),
    "targets": lambda run: (run / "arms" / "conventional-0.json").exists(),
    "explain": lambda run: (run / "explain").exists(),
    "report": lambda run: (run / "report.json").exists(),
}
"""by stage: what a run's folder looks like in the midst of it"""


def mlflow_runs(run: Path, uri: str | None = None) -> list[Any]:
    """All runs in MLflow: by default in the run's own database."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri or f"sqlite:///{run / 'mlflow.db'}")
    return client.search_runs([experiment.experiment_id for experiment in client.search_experiments()], max_results=1000)


def assert_mirrored(run: Path, like: Path, uri: str | None = None) -> None:
    """MLflow holds each run of ``like`` once, finished, with the same metrics, each step once."""
    from mlflow import MlflowClient

    client, runs = MlflowClient(tracking_uri=uri or f"sqlite:///{run / 'mlflow.db'}"), mlflow_runs(run, uri)
    here, there = ({r.data.tags["grad_instructor.run"]: r for r in some} for some in (runs, mlflow_runs(like)))
    assert len(runs) == len(here) and here.keys() == there.keys()
    assert {r.info.status for r in here.values()} == {"FINISHED"}
    for name, r in here.items():
        assert r.data.metrics.keys() == there[name].data.metrics.keys()
        for key in list(r.data.metrics)[:2]:
            steps = [metric.step for metric in client.get_metric_history(r.info.run_id, key)]
            assert len(steps) == len(set(steps))
    (parent,) = (name for name in here if "/" not in name)
    parents = {r.data.tags.get("mlflow.parentRunId") for name, r in here.items() if name != parent}
    assert parents == {here[parent].info.run_id}


def assert_recorded(run: Path, like: Path) -> None:
    """The records hold each thing that those of ``like`` hold, once. (A run that was taken up again starts and ends twice, and
    one whose work was done again says so.)"""
    assert _told(run) == _told(like)


def _told(run: Path) -> list[str]:
    events = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    assert [event["n"] for event in events] == list(range(len(events)))
    parts = ("kind", "run", "name", "step", "key", "path")
    events = [event for event in events if event["kind"] not in ("folder", "start", "anew", "end")]
    told = [
        str([event.get(part) for part in parts] + (sorted(event["values"]) if event["kind"] == "metrics" else []))
        for event in events
    ]
    assert len(told) == len(set(told)), "a record is there twice"
    return sorted(told)


def results(run: Path, under: str = "") -> dict[str, Any]:
    """Everything that was computed: tensors as bytes, JSON without timings and provenance."""
    files = [path for path in (run / under).rglob("*") if path.suffix in (".safetensors", ".json")]
    files = [path for path in files if "mlartifacts" not in path.parts and path.name != "mlflow-sent.json"]
    return {
        str(path.relative_to(run)): path.read_bytes() if path.suffix == ".safetensors" else _plain(read_json(path))
        for path in files
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key not in NOT_RESULTS}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def assert_same(results: dict[str, Any], expected: dict[str, Any]) -> None:
    assert sorted(results) == sorted(expected)
    assert [name for name in expected if results[name] != expected[name]] == []
