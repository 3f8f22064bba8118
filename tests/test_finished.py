"""A command that has finished is only shown when it is given again: nothing heavy is imported, nothing is touched. Whatever has
changed since is noticed: refused where it does not fit, made again where it is missing, sent where it was not."""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quick import TINY
from pipeline.command_line.finished import FILE, fingerprints, is_finished, note_finished
from pipeline.command_line.options import Command, Options
from pipeline.command_line.work import Work
from pipeline.config import Config, DataConfig, to_dotted
from pipeline.data import DATA_SETS, sources_digest
from pipeline.files import read_json, write_json
from pipeline.results.records import Records
from pipeline.results.seal import sealed
from tests.support.tiny_run import CHECKOUT, HANGS, assert_mirrored

HEAVY = ("torch", "ray", "mlflow", "sklearn", "matplotlib", "scipy", "safetensors", "optuna", "pyarrow")
GIVEN_AGAIN = f"""
import sys
from pipeline.command_line import main
code = main(sys.argv[1:])
print("HEAVY", code, [name for name in {HEAVY!r} if name in sys.modules])
"""
NO_SERVER = ("--tracking-uri", "http://127.0.0.1:9")


def _again(folder: Path, *arguments: str) -> str:
    """What the program prints in a process of its own, which says at the end what it has imported."""
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", GIVEN_AGAIN, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=HANGS)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def _ended(done: subprocess.CompletedProcess[str], code: int = 0) -> str:
    """What a command printed, which must have ended so."""
    said = done.stdout + done.stderr
    assert done.returncode == code and "Traceback" not in said, said
    return said


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def copy(undisturbed, tmp_path) -> Path:
    """A copy of a finished run, whose MLflow is elsewhere."""
    shutil.copytree(undisturbed, tmp_path / "run", ignore=shutil.ignore_patterns("mlflow*", "mlartifacts"))
    return tmp_path / "run"


def test_a_finished_run_is_only_shown(undisturbed):
    before = _contents(undisturbed)
    said = _again(undisturbed.parent, "run", "--output", "run", *TINY)
    assert _contents(undisturbed) == before, "also MLflow's database, to the bit"
    assert said.splitlines()[0] == "finished; nothing to do" and "HEAVY 0 []" in said
    assert "test accuracy on digits, " in said and "prediction by " in said and f"results   {undisturbed}" in said
    rows = json.loads((undisturbed / "report.json").read_text())["rows"]
    assert all(re.search(rf"^ ?{row['arm']} ", said, re.M) for row in rows) and "(Holm)" in said
    assert not re.search(r"s left|round \d|segment \d|results go to", said), "what was done before is no news"
    shorter = _again(undisturbed.parent, "run", "--output", "run")
    assert shorter == said, "the folder's own settings are those of the command"


def test_the_report_as_json_is_alone_and_quiet_says_nothing(undisturbed, capfd, environment):
    from pipeline.command_line import main

    def said(*arguments: str) -> tuple[str, str]:
        assert main(["report", "--output", str(undisturbed), *arguments]) == 0
        return capfd.readouterr()

    out, err = said("--json")
    assert json.loads(out) == json.loads((undisturbed / "report.json").read_text())
    assert "test accuracy on digits" in err and "results" in err
    assert said("--quiet") == ("", "")
    out, err = said("--json", "--quiet")
    assert json.loads(out)["rows"] and not err
    out, err = said()
    assert "test accuracy on digits" in out and not err, "the next command speaks again"


def test_a_figure_that_was_removed_is_drawn_again_without_a_history(copy, called):
    removed = copy / "figures" / "accuracy.png"
    drawn = removed.read_bytes()
    removed.unlink()
    said = _ended(called("run", "--output", copy, "--local", *NO_SERVER))
    assert removed.read_bytes() == drawn and "nothing to do" not in said
    assert not re.search(r"s left|round \d|segment \d", said) and "were done before" in said
    assert "HEAVY 0 []" in _again(copy.parent, "run", "--output", "run", *NO_SERVER), "and is finished then"


def test_the_next_command_tells_no_history_of_the_one_before(copy, called):
    """Its records are its own, and hold all; what it prints is what it did."""
    for place in ("arms", "explain", "figures"):
        shutil.rmtree(copy / place)
    for name in (FILE, "report.json", "report.md", "prediction.json", "records.jsonl"):
        (copy / name).unlink()
    said = _ended(called("instruct", "--output", copy, "--local", *NO_SERVER))
    assert re.search(r"train targets: \d+/\d+", said) and "were done before" not in said
    said = _ended(called("run", "--output", copy, "--local", *NO_SERVER))
    assert not re.search(r"s left|round \d|segment \d", said) and said.count("were done before") >= 2
    events = [json.loads(line) for line in (copy / "records.jsonl").read_text().splitlines()]
    assert [e["step"] for e in events if e["kind"] == "metrics" and e["run"] == "run/train-enn"] == [0, 1, 3]
    assert "finished; nothing to do" in _ended(called("instruct", "--output", copy, "--local", *NO_SERVER))


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _better(path: Path) -> None:
    report = json.loads(path.read_text())
    report["rows"][0]["accuracy"] = 0.999
    path.write_text(json.dumps(report))


SPOILT = {
    "an arm's numbers": ("arms/conventional-0.json", lambda path: path.write_text(path.read_text().replace("0.", "0.9", 1))),
    "an arm's weights": ("arms/he-0.safetensors", _flip),
    "the ENN": ("enn.safetensors", _flip),
    "the report": ("report.json", _better),
}


@pytest.mark.parametrize("case", SPOILT)
def test_what_was_changed_by_hand_is_refused(case, copy, called):
    name, spoil = SPOILT[case]
    spoil(copy / name)
    said = _ended(called("run", "--output", copy, "--local", *NO_SERVER), 2)
    assert Path(name).stem in said and "nothing to do" not in said


def _nothing(path: Path) -> None:
    write_json(path, sealed({**read_json(path), "rows": []}))


def _other_points(path: Path) -> None:
    write_json(path, {"probes": {"kendall": "high"}})


FORGED = {
    "another number": ("report.json", _better),
    "no rows": ("report.json", _nothing),
    "no points": ("prediction.json", _other_points),
}


def test_a_forged_note_makes_no_changed_report_a_finished_one(undisturbed, tmp_path, called):
    folder = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    again = ("run", "--output", "run", "--local")
    _ended(called("run", "--output", folder, "--local"))  # its MLflow is in another place now
    assert "HEAVY 0 []" in _again(tmp_path, *again)
    for case, (name, spoil) in FORGED.items():
        before = {file: (folder / file).read_bytes() for file in (name, FILE)}
        spoil(folder / name)
        noted = read_json(folder / FILE)
        noted["run"]["files"] = fingerprints(folder)
        write_json(folder / FILE, noted)
        said = _ended(called("run", "--output", folder, "--local"), 2)
        assert "report.json" in said, case
        for file, data in before.items():
            (folder / file).write_bytes(data)
    assert "HEAVY 0 []" in _again(tmp_path, *again)


@pytest.mark.parametrize("tampered", [False, True])
def test_what_is_put_there_during_the_work_is_not_taken_as_finished(tampered, copy, environment):
    from pipeline.cluster import Placement
    from pipeline.command_line import stages
    from pipeline.command_line.beginning import saved_settings

    (copy / FILE).unlink()
    preset, config = saved_settings(copy) or ("", Config())
    options = Options(preset=preset, output=copy, tracking_uri=NO_SERVER[1])
    job = Work("explain", Command(options, Placement(local=True), config), "line")

    def meanwhile(_: Work) -> None:
        for suffix in (".safetensors", ".json") if tampered else ():
            shutil.copy(copy / f"enn-before{suffix}", copy / f"enn{suffix}")

    stages.work(job, [meanwhile])
    assert (copy / FILE).exists() != tampered


def test_records_that_were_not_sent_are_sent_and_no_run_is_opened_again(copy, undisturbed):
    records = (copy / "records.jsonl").read_bytes()
    unreachable = _again(copy.parent, "run", "--output", "run", *NO_SERVER)
    assert "cannot be used" in unreachable and "HEAVY 0 []" in unreachable, "no MLflow for a server that is not there"
    said = _again(copy.parent, "run", "--output", "run")
    assert "finished; nothing to do" in said and re.search(r"HEAVY 0 \[(?!.*torch).*mlflow", said)
    assert_mirrored(copy, undisturbed)
    assert (copy / "records.jsonl").read_bytes() == records
    (copy / "mlflow.db").unlink()
    assert "'mlflow'" in _again(copy.parent, "run", "--output", "run"), "a database that was deleted is made again"
    assert_mirrored(copy, undisturbed)
    other = _again(copy.parent, "run", "--output", "run", "--experiment", "another")
    assert "'mlflow'" in other, "another experiment has got nothing yet"


SEARCH = """question: Which rate?
kind: target
settings: {target.hidden: [8], training.steps: 20, rl.period: 10, instruction.refresh: 10, unroll.segments: 0}
space: {training.learning_rate: {choice: [0.1, 0.2]}}
stages: [{name: whole, targets: 2}]
budget: {candidates: 3}
objectives: {accuracy: maximise}
"""


def test_a_finished_search_is_only_shown_and_what_is_missing_is_made_again(tmp_path, called, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(SEARCH)
    arguments = ("search", "s.yaml", "--output", "search", "--local", *NO_SERVER)
    first = _ended(called(*arguments))
    before = _contents(tmp_path / "search")
    said = _again(tmp_path, *arguments)
    assert _contents(tmp_path / "search") == before
    assert "finished; nothing to do" in said and "HEAVY 0 []" in said
    table = said[said.index("3 candidates") : said.index("\nresults")]
    assert "learning_rate" in table and "001" in table and table in first, "the same as the first time"
    (tmp_path / "search" / "figures" / "importance.png").unlink()
    assert "search: 3 of 3 were done before" in _ended(called(*arguments))
    assert (tmp_path / "search" / "figures" / "importance.png").exists()
    (tmp_path / "s.yaml").write_text(SEARCH.replace("0.2]", "0.3]"))
    assert "holds a search by another file" in _ended(called(*arguments), 2)


def test_the_time_left_is_foretold_by_what_was_done_here_alone(monkeypatch, capsys):
    from pipeline import progress

    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    bar = progress.Bar("train", 10, None)
    clock[0] = 100.0
    bar.skip(7)
    clock[0] = 110.0
    bar.advance("it")
    assert capsys.readouterr().out.splitlines() == ["train: 7 of 10 were done before", "train: 8/10 it, 20 s left"]
    clock[0] = 120.0
    bar.advance("it")
    assert capsys.readouterr().out.splitlines() == ["train: 9/10 it, 10 s left"], "said once"


# -- each thing that is noted, without a run ---------------------------------------------------------------------------


def _arrays(value: float) -> dict[str, np.ndarray]:
    x, y = np.full((40, 3), value, np.float32), np.arange(40) % 2
    return {"x_train": x, "y_train": y, "x_test": x[:8], "y_test": y[:8]}


def _safetensors(origin: str) -> bytes:
    header = json.dumps({"__metadata__": {"origin": origin}, "x": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}})
    return struct.pack("<Q", len(header)) + header.encode() + b"ab"


def _job(folder: Path, name: str = "run", storage: str | None = None, **changes) -> Work:
    config = Config(data=DataConfig(str(folder / "mine.npz")), **changes)
    options = Options(output=folder / "out", tracking_uri=NO_SERVER[1], storage_path=storage)
    return Work(name, Command(options, config=config), "line")


@pytest.fixture
def done(tmp_path) -> Path:
    """Where a command has finished whose records no server has got."""
    np.savez(tmp_path / "mine.npz", **_arrays(0.5))
    job = _job(tmp_path)
    for name in ("figures/a.png", "training/history.json"):
        (job.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (job.folder / name).write_text(name)
    (job.folder / "training" / "round-000.safetensors").write_bytes(_safetensors("mine"))
    for suffix in (".safetensors", ".json"):
        (tmp_path / f"start{suffix}").write_text("an ENN")
    job.records.start("run", "run", None, {}, {})
    job.records.end("run", "FINISHED")
    assert job.dataset.name == "mine"
    note_finished(job, to_dotted(job.config), [str(tmp_path / "start.safetensors")])
    return tmp_path


def _finished(folder: Path, **changes) -> bool:
    job = _job(folder, **changes)
    data = is_finished(job, to_dotted(job.config), [str(folder / "start.safetensors")])
    assert data in ("mine", None)
    return data is not None


def test_as_it_was_left_it_is_finished(done):
    assert _finished(done) and _finished(done)
    (done / "out" / "mlflow.db").write_text("MLflow's files are its own")
    assert _finished(done)


CHANGES = {
    "the data": lambda folder: np.savez(folder / "mine.npz", **_arrays(0.25)),
    "no data": lambda folder: (folder / "mine.npz").unlink(),
    "a figure": lambda folder: (folder / "out" / "figures" / "a.png").write_text("other"),
    "no figure": lambda folder: (folder / "out" / "figures" / "a.png").unlink(),
    "a file more": lambda folder: (folder / "out" / "training" / "round-001.safetensors").write_bytes(_safetensors("mine")),
    "an origin": lambda folder: (folder / "out" / "training" / "round-000.safetensors").write_bytes(_safetensors("your")),
    "a length": lambda folder: (folder / "out" / "training" / "round-000.safetensors").write_bytes(_safetensors("mine") + b"c"),
    "the ENN to start from": lambda folder: (folder / "start.safetensors").write_text("other"),
    "its description": lambda folder: (folder / "start.json").unlink(),
    "no records": lambda folder: (folder / "out" / "records.jsonl").unlink(),
    "taken up again": lambda folder: _job(folder).records.start("run", "run", None, {"again": 1}, {}),
    "killed since": lambda folder: _killed(folder),
    "a note of other code": lambda folder: _renote(folder, version="0.0.0"),
    "a note of another form": lambda folder: _renote(folder, form=0),
    "a damaged note": lambda folder: (folder / "out" / FILE).write_text("{"),
    "a strange note": lambda folder: (folder / "out" / FILE).write_text('{"run": {"data": 3, "files": []}}'),
    "a note for the terminal": lambda folder: _renote(folder, data="\x1b[31mmine"),
    "no note": lambda folder: (folder / "out" / FILE).unlink(),
}


def _killed(folder: Path) -> None:
    records = _job(folder).records
    records.start("run", "run", None, {"again": 1}, {})
    records.end("run", "KILLED")


def _renote(folder: Path, **changes) -> None:
    path = folder / "out" / FILE
    noted = json.loads(path.read_text())
    path.write_text(json.dumps({"run": noted["run"] | changes}))


@pytest.mark.parametrize("case", CHANGES)
def test_nothing_changes_unnoticed(case, done):
    CHANGES[case](done)
    assert not _finished(done)


def test_a_part_of_what_has_finished_has_finished_and_the_whole_has_not(done):
    part = _job(done, "report")
    settings, starts = to_dotted(part.config), [str(done / "start.safetensors")]
    assert is_finished(part, settings, starts, whole="run") == "mine" and not is_finished(part, settings, starts)
    (done / "out" / FILE).write_text(json.dumps({"report": json.loads((done / "out" / FILE).read_text())["run"]}))
    assert not _finished(done)


@pytest.mark.parametrize("changed", [False, True])
def test_a_later_command_leaves_an_earlier_one_finished_unless_it_changed_its_files(changed, done):
    later = _job(done, "explain")
    (done / "out" / "explain").mkdir()
    (done / "out" / "explain" / "map.png").write_text("new")
    if changed:
        (done / "out" / "figures" / "a.png").write_text("other")
    assert later.dataset.name == "mine" and not _finished(done)
    note_finished(later, to_dotted(later.config), [str(done / "start.safetensors")])
    assert _finished(done) != changed


def test_names_that_are_not_utf_8_are_noted_too_and_nothing_of_a_strange_note_is_kept(done):
    named = os.path.join(os.fsencode(done), b"out", b"\xfcbersicht.txt")
    try:
        Path(os.fsdecode(named)).write_text("somebody's own")
    except OSError as error:
        pytest.skip(f"this file system takes no such name: {error.strerror}")
    (done / "out" / FILE).write_text('{"other": "\\ud800", "report": {"files": {"\\ud800": ""}}}')
    job = _job(done)
    assert job.dataset.name == "mine" and not _finished(done)
    note_finished(job, to_dotted(job.config), [str(done / "start.safetensors")])
    assert _finished(done) and list(json.loads((done / "out" / FILE).read_text())) == ["run"]
    Path(os.fsdecode(named)).write_text("changed")
    assert not _finished(done)


def test_a_copy_in_the_storage_is_completed_and_one_that_is_ahead_is_not_overwritten(done):
    place = str(done / "nfs")
    assert _finished(done, storage=place) and (done / "nfs" / "figures" / "a.png").read_text() == "figures/a.png"
    copied = {path: path.stat().st_mtime_ns for path in (done / "nfs").rglob("*")}
    assert _finished(done, storage=place)
    assert {path: path.stat().st_mtime_ns for path in (done / "nfs").rglob("*")} == copied, "what is there is not copied again"
    (done / "nfs" / "figures" / "a.png").unlink()
    assert _finished(done, storage=place) and (done / "nfs" / "figures" / "a.png").exists()
    there = Records(done / "nfs")
    while time.time_ns() // 1_000_000 == there.events[-1]["time"]:
        continue
    there.start("run", "run", None, {"elsewhere": 1}, {})
    assert not _finished(done, storage=place), "another machine has gone on"
    assert Records(done / "nfs").events[-1]["params"] == {"elsewhere": 1}


def test_other_settings_and_other_commands_are_not_finished(done):
    assert not _finished(done, seed=1) and not _finished(done, rl=replace(Config().rl, gamma=0.5))
    assert not _finished(done, name="train-enn")


def test_data_that_were_changed_meanwhile_are_not_noted(done):
    job = _job(done)
    assert job.dataset.name == "mine"
    np.savez(done / "mine.npz", **_arrays(0.25))
    (done / "out" / FILE).unlink()
    note_finished(job, to_dotted(job.config), [])
    assert not (done / "out" / FILE).exists()


@pytest.mark.parametrize("name", DATA_SETS)
def test_every_data_set_is_known_by_its_files(name, tmp_path):
    from pipeline.data import data_folder, load
    from pipeline.errors import UserError

    folder = data_folder(None)
    try:
        load(name, str(folder))
    except UserError as error:
        assert sources_digest(name, folder) is None
        pytest.skip(str(error))
    assert sources_digest(name, folder) == sources_digest(name, folder) is not None
    assert name == "digits" or sources_digest(name, tmp_path) is None
