"""Interrupted, killed, repeated, placed elsewhere: the same command ends with the same numbers, bit for bit.

One tiny run is left undisturbed; every other run is compared with it. (tests/support/faults.py has the faults that come from
elsewhere: workers, nodes, servers, disks.)
"""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quick import TINY
from tests.support.tiny_run import (
    HANGS,
    STAGES,
    Running,
    assert_mirrored,
    assert_recorded,
    assert_same,
    finish,
    mlflow_runs,
    results,
    start,
    wait,
)


def _interrupt(folder: Path, stage: str, number: int) -> None:
    """Begin the run and end it in a stage as Ctrl-C does (which signals the whole group) or ``kill``; it must end well."""
    running = start(folder, "run", "--output", "run", "--workers", "1", *TINY)
    wait(running, lambda: STAGES[stage](folder / "run"))
    assert running.processes()
    if number == signal.SIGINT:
        os.killpg(running.process.pid, number)
    else:
        running.process.send_signal(number)
    assert running.process.wait(HANGS) == 130, running.log.read_text()
    assert running.vanished(), running.processes()
    output = running.log.read_text()
    assert output.rstrip().endswith("grad-instructor: interrupted; give the same command again to continue.")
    assert "Traceback" not in output
    statuses = {run.data.tags["grad_instructor.run"]: run.info.status for run in mlflow_runs(folder / "run")}
    assert statuses.pop("run") == "KILLED"
    done = {name for name, status in statuses.items() if status == "FINISHED"}
    assert set(statuses.values()) <= {"KILLED", "FINISHED"}
    assert ("run/train-enn" in done) == (stage != "ENN")


def _kill(folder: Path, stage: str) -> Running:
    """Begin the run and kill its driver outright in a stage; Ray goes with it, some of it after a minute."""
    running = start(folder, "run", "--output", "run", "--workers", "1", *TINY)
    wait(running, lambda: STAGES[stage](folder / "run"))
    running.process.kill()
    assert running.process.wait(HANGS) == -signal.SIGKILL
    return running


def test_the_results_are_all_there(undisturbed):
    names = results(undisturbed).keys()
    assert {"config.json", "enn.safetensors", "enn.json", "enn-convnet.safetensors", "report.json"} <= names
    assert {"arms/conventional-0.json", "arms/instructed-he-1.safetensors", "training/round-001.safetensors"} <= names
    assert_mirrored(undisturbed, undisturbed)


@pytest.mark.slow
def test_the_second_call_changes_no_result_and_trains_nothing(undisturbed):
    before, written = results(undisturbed), {path: path.stat().st_mtime_ns for path in (undisturbed / "arms").iterdir()}
    output = finish(undisturbed.parent, "run", "--output", "run", "--workers", "1", *TINY)
    assert "test accuracy on digits" in output
    assert_same(results(undisturbed), before)
    trained = [path.name for path, at in written.items() if path.stat().st_mtime_ns != at]
    assert trained in ([], ["strengths.json"])
    assert_mirrored(undisturbed, undisturbed)


def test_interrupted_then_killed_then_finished_with_the_same_numbers(undisturbed, folder):
    _interrupt(folder, "ENN", signal.SIGINT)
    killed = _kill(folder, "targets")
    finish(folder, "run", "--output", "run", "--workers", "1", *TINY)  # at once, beside what Ray still has
    assert_same(results(folder / "run"), results(undisturbed))
    assert_mirrored(folder / "run", undisturbed)
    assert killed.vanished(), killed.processes()


def test_local_gives_the_same_numbers_and_the_work_goes_on_without_mlflow(undisturbed, folder, called):
    """Only the targets are trained anew, with an MLflow server that is not there; ``sync`` delivers to a database later."""
    run = folder / "run"
    left_out = shutil.ignore_patterns("arms", "records.jsonl", "mlflow*", "mlartifacts", "report*")
    shutil.copytree(undisturbed, run, ignore=left_out)
    done = called("instruct", "--output", run, "--local", "--tracking-uri", "http://127.0.0.1:9")
    output = done.stdout + done.stderr
    assert (
        done.returncode == 0
        and sum(line.startswith("warning:") for line in output.splitlines()) == 1
        and "grad-instructor sync" in output
    )
    assert_same(results(run, "arms"), results(undisturbed, "arms"))
    assert not (run / "mlflow.db").exists()
    for _ in range(2):
        assert "are in MLflow at sqlite:///" in called("sync", "--output", run).stdout
    runs = {r.data.tags["grad_instructor.run"]: r.info.status for r in mlflow_runs(run)}
    assert len(runs) == len(mlflow_runs(run)) == 1 + 7  # the folder's own, and one for each arm
    assert set(runs.values()) == {"FINISHED"}


def test_a_population_whose_result_was_lost_is_trained_again_and_recorded_once(undisturbed, folder, called):
    run = folder / "run"
    shutil.copytree(undisturbed, run)
    for name in ("arms/instructed-0.json", "report.json", "report.md"):
        (run / name).unlink()
    written = {path: path.stat().st_mtime_ns for path in (run / "arms").iterdir()}
    assert "test accuracy on digits" in called("run", "--output", run, "--local").stdout
    trained = {path.name for path, at in written.items() if path.stat().st_mtime_ns != at}
    assert trained <= {"strengths.json", "instructed-0.safetensors"}  # nothing else is trained again
    assert_same(results(run), results(undisturbed))
    assert_recorded(run, undisturbed)
    assert_mirrored(run, undisturbed)
    told = {
        event["run"]: event for event in map(json.loads, (run / "records.jsonl").open()) if event.get("name") == "train/seconds"
    }
    groups = [json.loads((run / "arms" / f"instructed-{number}.json").read_text()) for number in range(2)]
    assert told["run/instructed"]["values"] == np.mean([group["seconds"] for group in groups], axis=0).tolist()
    assert told["run/instructed"]["times"][-1] == max(group["provenance"]["times"]["points"][-1] for group in groups)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("stage", ["ENN", "targets"])
def test_interrupted_in_each_stage(stage, number, undisturbed, folder):
    _interrupt(folder, stage, number)
    finish(folder, "run", "--output", "run", "--workers", "1", *TINY)
    assert_same(results(folder / "run"), results(undisturbed))
    assert_mirrored(folder / "run", undisturbed)


@pytest.mark.slow
def test_a_closed_terminal_is_an_interrupt(undisturbed, folder):
    running = start(folder, "run", "--output", "run", "--workers", "1", *TINY, terminal=True)
    wait(running, lambda: STAGES["targets"](folder / "run"))
    running.process.kill()
    assert running.vanished(), running.processes()
    statuses = {run.data.tags["grad_instructor.run"]: run.info.status for run in mlflow_runs(folder / "run")}
    assert statuses.pop("run") == "KILLED" and set(statuses.values()) <= {"KILLED", "FINISHED"}
    finish(folder, "run", "--output", "run", "--workers", "1", *TINY)
    assert_same(results(folder / "run"), results(undisturbed))
    assert_mirrored(folder / "run", undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_killed_in_each_stage(stage, undisturbed, folder):
    killed = _kill(folder, stage)
    finish(folder, "run", "--output", "run", "--workers", "1", *TINY)
    assert_same(results(folder / "run"), results(undisturbed))
    assert_mirrored(folder / "run", undisturbed)
    assert killed.vanished(), killed.processes()


@pytest.mark.slow
def test_two_workers_in_another_folder_give_the_same_numbers(undisturbed, folder):
    finish(folder, "run", "--output", "run", "--workers", "2", *TINY)
    assert_same(results(folder / "run"), results(undisturbed))


@pytest.mark.slow
def test_stage_by_stage_gives_the_same_numbers(undisturbed, folder):
    finish(folder, "train-enn", "--output", "run", *TINY)
    for command in ("instruct", "explain", "report"):
        finish(folder, command, "--output", "run", "--workers", "1")
    assert_same(results(folder / "run"), results(undisturbed))
