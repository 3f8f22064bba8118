"""The commands as functions: they return what commands print, raise what is wrong, and leave the process as it was."""

import os
import signal
from dataclasses import replace

import pytest

import grad_instructor
from grad_instructor import Placement, Report, UserError, load, run, search
from pipeline.files import read_json

LOCAL = Placement(local=True)


@pytest.fixture(scope="module")
def small(tiny):
    """A run without RL: what it learns from is recorded once."""
    return replace(
        tiny,
        enn=replace(tiny.enn, readers=("probes",)),
        rl=replace(tiny.rl, rounds=0, members=64),
        recorded=replace(tiny.recorded, rounds=1, updates=5),
        compare=replace(tiny.compare, arms=("conventional", "instructed"), seeds=4, group=0),
    )


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory) -> Report:
    return run(small, tmp_path_factory.mktemp("calls") / "run", placement=LOCAL)


def test_a_run_returns_its_table(finished, small):
    assert [row["arm"] for row in finished.rows] == list(small.compare.arms)
    written = read_json(finished.folder / "report.json")
    assert finished.rows == written["rows"] and finished.head_to_head == written["head_to_head"]
    assert str(finished).startswith("| arm |") and all(
        f"| {row['arm']} | {row['n']} |" in str(finished) for row in finished.rows
    )
    assert load(finished.enn).home.target.widths == (64, 8, 10)
    assert read_json(finished.folder / "config.json")["settings"] == grad_instructor.to_dotted(small)
    assert finished.rows[0]["provenance"]["command"].startswith("grad_instructor.run(")


def test_given_again_it_returns_what_is_done(finished, small, monkeypatch):
    enn = finished.enn.read_bytes()
    monkeypatch.chdir(finished.folder.parent)
    for again in (run(small, "run", placement=LOCAL), run(output="run", placement=LOCAL)):
        assert again == finished
    assert finished.enn.read_bytes() == enn


def test_what_is_wrong_is_raised(finished, small, tmp_path):
    with pytest.raises(UserError, match="holds a run with other settings"):
        run(replace(small, seed=3), finished.folder, placement=LOCAL)
    with pytest.raises(UserError, match=r"unknown preset 'digit'.*did you mean digits\?"):
        run("digit", tmp_path / "x", placement=LOCAL)
    with pytest.raises(UserError, match=r"training\.steps"):
        run(replace(small, training=replace(small.training, steps=0)), tmp_path / "x", placement=LOCAL)
    with pytest.raises(UserError, match="cannot read the search file"):
        search(tmp_path / "none.yaml", tmp_path / "x", placement=LOCAL)
    assert list(tmp_path.iterdir()) == []


def test_the_process_stays_as_it_was(small, tmp_path, monkeypatch):
    def theirs(number, frame):
        raise AssertionError

    before = signal.signal(signal.SIGINT, theirs)
    try:
        environment, folder = dict(os.environ), os.getcwd()
        with pytest.raises(UserError):
            run(replace(small, data=replace(small.data, dataset=str(tmp_path / "none.npz"))), tmp_path / "x", placement=LOCAL)
        assert signal.getsignal(signal.SIGINT) is theirs and dict(os.environ) == environment and os.getcwd() == folder
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_is_theirs_to_catch(small, tmp_path, monkeypatch):
    from pipeline.command_line import checks

    def interrupted(*_):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(checks, "check_fits", interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(small, tmp_path / "x", placement=LOCAL)
    assert signal.getsignal(signal.SIGINT) is before
