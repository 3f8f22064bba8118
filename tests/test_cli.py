"""The command line given bad input: one sentence on stderr, exit code 2, at once, and nothing that was there is touched."""

import dataclasses
import fcntl
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import cluster
from pipeline.command_line import main
from pipeline.command_line.options import Command
from pipeline.command_line.registry import COMMANDS
from pipeline.config import PRESETS, Config, to_dotted
from pipeline.data import load
from pipeline.enn import Critic, save_critic
from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.results.records import Records
from pipeline.setting import home_of, target_of
from tests.support.tiny_run import HANGS

CHECKOUT = Path(__file__).parent.parent
AT_ONCE = 60.0
"""seconds of the processor that a refusal may take, most of them for imports; real work takes longer"""


pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The working folder; no data set but digits is there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRAD_INSTRUCTOR_DATA", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture
def refused(here, capfd) -> Callable[..., str]:
    """Call the program with bad input; returns its one sentence."""

    def call(*arguments: str) -> str:
        before, started = _contents(here), time.process_time()
        code = main(list(arguments))
        seconds, (out, err) = time.process_time() - started, capfd.readouterr()
        assert code == 2, f"exit code {code}: {err or out}"
        assert seconds < AT_ONCE
        assert _contents(here) == before
        return _sentence(err)

    return call


def _sentence(err: str) -> str:
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert re.fullmatch(r"grad-instructor: \S.*\.", lines[0]), err
    return lines[0]


def _contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*") if path.name != ".lock"}


def _run(folder: Path, *arguments: str, **settings: object) -> subprocess.CompletedProcess:
    """The program in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pipeline.command_line", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=HANGS, **settings)


# -- options -----------------------------------------------------------------------------------------------------------

BAD_OPTIONS = {
    "unknown command": (["trian-enn"], "unknown command 'trian-enn'; choose from run, train-enn.*did you mean 'train-enn'"),
    "unknown command, huge": (["x" * 5000], r"unknown command 'xxx.*\.\.\.x+'; choose"),
    "unknown preset": (["run", "--preset", "digit"], "unknown preset 'digit'.*did you mean digits"),
    "unknown preset, with =": (["run", "--preset=mnits"], "unknown preset 'mnits'.*did you mean mnist"),
    "unknown option": (["run", "--worker", "2"], "unknown option --worker; did you mean --workers or"),
    "unknown option of doctor": (["doctor", "--prot", "1"], "unknown option --prot.*doctor --help"),
    "an option that does not apply": (["sync", "--port", "1"], "unknown option --port"),
    "JSON of what is no report": (["instruct", "--json"], "unknown option --json"),
    "no search of that name": (["search", "smokes"], "cannot read the search file smokes .*did you mean 'smoke'"),
    "unknown key": (["run", "--rl.gama", "0.5"], r"unknown option --rl\.gama; did you mean --rl\.gamma"),
    "a word too many": (["run", "digits"], "digits"),
    "no value": (["run", "--rl.gamma"], r"rl\.gamma"),
    "text for a number": (["run", "--rl.gamma", "much"], r"(?=.*rl\.gamma)(?=.*much)"),
    "fraction for a count": (["run", "--training.steps", "1.5"], r"(?=.*training\.steps)(?=.*1\.5)"),
    "text for a list": (["run", "--target.hidden", "8,8"], r"(?=.*target\.hidden)(?=.*8,8)"),
    "unknown choice": (["run", "--target.activation", "swish"], r"(?=.*swish)(?=.*target\.activation)(?=.*relu)"),
    "unknown arm": (["run", "--compare.arms", "conventional", "l3"], r"(?=.*l3)(?=.*compare\.arms)(?=.*instructed)"),
    "text for a port": (["ui", "--port", "http"], r"(?=.*port)(?=.*http)"),
    "ρ = 0": (["run", "--enn.resolution", "0"], r"enn\.resolution is 0\.0; give a ρ above 0 and at most 1"),
    "ρ = 1.5": (["run", "--enn.resolution", "1.5"], r"enn\.resolution is 1\.5; give a ρ above 0 and at most 1"),
    "ρ = nan": (["run", "--enn.resolution", "nan"], r"enn\.resolution is nan; give finite numbers"),
    "steps and period": (["run", "--training.steps", "601"], r"training\.steps \(601\) is no multiple of rl\.period"),
    "no steps": (["run", "--training.steps", "0"], r"training\.steps is 0; give at least 1"),
    "no period": (["run", "--rl.period", "0"], r"rl\.period is 0; give at least 1"),
    "negative seeds": (["run", "--compare.seeds", "-3"], r"compare\.seeds is -3; give at least 2"),
    "huge batch": (["run", "--training.batch-size", "5000"], r"training\.batch_size is 5000 and digits has"),
    "GPU for the ENN": (["run", "--device", "cuda"], "a GPU was asked for and this machine has none.*use --device cpu"),
    "GPU for targets": (["run", "--gpus-per-worker", "1"], "a GPU was asked for and this machine has none"),
    "negative workers": (["run", "--workers", "-1"], "cannot be below 0"),
    "local and a cluster": (["run", "--local", "--address", "127.0.0.1:6379"], "--local .* --address .*; give one of them"),
    "no cluster": (["run", "--address", "127.0.0.1:1"], r"no Ray cluster answers at 127\.0\.0\.1:1.*ray start --head"),
    "no cluster, ray://": (["run", "--address", "ray://127.0.0.1:1"], "no Ray cluster answers at ray://"),
    "no such host": (["run", "--address", "nowhere.invalid:6379"], r"no Ray cluster answers at nowhere\.invalid:6379"),
    "malformed address": (["run", "--address", "my-cluster"], "'my-cluster' is no address; give host:port"),
    "malformed port": (["run", "--address", "127.0.0.1:99999"], "no Ray cluster answers at 127"),
    "tracking URI": (["run", "--tracking-uri", "ftp://host/x"], "tracking URI 'ftp://host/x' is none that MLflow can use"),
    "tracking URI of doctor": (["doctor", "--tracking-uri", "http://"], "tracking URI 'http://' is none"),
    "a database in memory": (["run", "--tracking-uri", "sqlite:///:memory:"], ":memory:' is a database in memory.*sqlite:////"),
    "a database in memory, for doctor": (["doctor", "--tracking-uri", "sqlite://"], "is a database in memory"),
    "no folder for ui": (["ui"], "no run was found in ./runs; give its folder with --output"),
    "no folder for sync": (["sync"], "no run was found in ./runs; give its folder with --output"),
    "ui on no run": (["ui", "--output", "."], "holds no run; give the folder of one with --output"),
    "sync on no run": (["sync", "--output", "nowhere"], "nowhere holds no run; give the folder of one with --output"),
    "instruct first": (["instruct"], "holds no ENN; train one first with `grad-instructor train-enn`"),
    "explain first": (["explain"], "holds no ENN; train one first with `grad-instructor train-enn`"),
    "report first": (["report", "--output", "new"], "new holds no ENN; train one first with `grad-instructor train-enn`"),
    "output in a file": (["run", "--output", __file__ + "/sub"], "cannot make the output folder .*; choose another --output"),
    "output in /proc": (["run", "--output", "/proc/nope"], "cannot make the output folder /proc/nope"),
    "output is a file": (["run", "--output", __file__], "cannot make the output folder"),
    "output is /proc": (["run", "--output", "/proc"], "/proc is not writable"),
    "an empty output": (["run", "--output", ""], "--output is empty; give a folder"),
    "an empty output, with =": (["report", "--output="], "--output is empty; give a folder"),
    "a very long output": (["run", "--output", "x" * 300], "cannot make the output folder"),
    "unknown data set": (["run", "--dataset", "mnits"], "unknown data set 'mnits'.*did you mean 'mnist'"),
    "no MNIST": (["run", "--preset", "mnist", "--data-folder", "d"], "mnist is not there: d/MNIST/raw/.* --download"),
    "no .npz": (["run", "--dataset", "mine.npz"], r"the data file mine\.npz does not exist; check the path"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_a_bad_option_is_one_sentence(case, refused):
    arguments, expected = BAD_OPTIONS[case]
    if "GPU" in case and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert re.search(expected, refused(*arguments))


# -- data --------------------------------------------------------------------------------------------------------------


def _arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    x, y = random.random((60, 6), dtype=np.float32), np.arange(60) % 3
    return {"x_train": x, "y_train": y, "x_test": x[:12], "y_test": y[:12]}


def _with(**changes: np.ndarray) -> dict[str, np.ndarray]:
    return _arrays() | changes


BAD_ARRAYS = {
    "wrong keys": (lambda: {"images": np.zeros((4, 6)), "labels": np.zeros(4)}, "has no 'x_train'"),
    "wrong shapes": (lambda: _with(x_test=np.zeros((12, 7), np.float32)), r"'x_test'.*\(7,\); give \(6,\)"),
    "wrong lengths": (lambda: _with(y_train=np.arange(59) % 3), r"'y_train'.*\(59,\)"),
    "NaN": (lambda: _with(x_train=np.full((60, 6), np.nan, np.float32)), "'x_train'.*NaN"),
    "labels out of range": (lambda: _with(y_test=np.full(12, 3)), "'y_test'.*label 3"),
    "negative labels": (lambda: _with(y_train=np.arange(60) % 3 - 1), "negative label -1"),
    "objects": (lambda: _with(y_test=np.array([{}] * 12, dtype=object)), "Python objects, which are not loaded"),
    "one validation example": (
        lambda: _with(x_validation=np.zeros((1, 6), np.float32), y_validation=np.zeros(1, np.int64)),
        "1 validation example.*at least 2",
    ),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_a_bad_npz_is_one_sentence(case, here, refused):
    arrays, expected = BAD_ARRAYS[case]
    np.savez(here / "mine.npz", **arrays())
    assert re.search(expected, refused("run", "--dataset", "mine.npz"))


@pytest.mark.parametrize("damage", [lambda whole: whole[:500], lambda whole: whole[:200] + b"?" * 20 + whole[220:], bytes])
def test_a_damaged_npz_is_one_sentence(damage, here, refused):
    np.savez_compressed(here / "whole.npz", **_arrays())
    (here / "mine.npz").write_bytes(damage((here / "whole.npz").read_bytes()) if damage is not bytes else b"")
    assert re.search(r"mine\.npz is truncated or .*; write it again with numpy\.savez", refused("run", "--dataset", "mine.npz"))


def test_a_damaged_mnist_is_one_sentence(here, refused):
    raw = here / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").write_bytes(b"\0" * 100)
    assert re.search(r"train-images-idx3-ubyte is truncated or corrupt.*--download", refused("run", "--preset", "mnist"))


# -- the folder that is continued --------------------------------------------------------------------------------------


def _config(**changes: int) -> Config:
    plain = PRESETS["digits"]
    training = replace(plain.training, steps=50)
    rl, unroll = replace(plain.rl, period=10), replace(plain.unroll, segments=2, steps=50)
    return replace(plain, training=training, rl=rl, unroll=unroll, target=replace(plain.target, hidden=(8,)), **changes)


def _folder_with_enn(folder: Path, config: Config, trained_on: Config | None = None) -> Path:
    """A folder as ``train-enn`` leaves it, but that the ENNs have learned nothing."""
    folder.mkdir()
    write_json(folder / "config.json", {"preset": "digits", "settings": to_dotted(config)})
    dataset = load("digits")
    home = home_of(trained_on or config, target_of(trained_on or config, dataset))
    for index, reader in enumerate(config.enn.readers):
        critic = Critic(reader, config.enn, home)
        save_critic(critic, folder / ("enn.safetensors" if index == 0 else f"enn-{reader}.safetensors"), {})
    return folder


def test_another_runs_folder_is_refused_with_the_key_and_both_values(here, refused):
    folder = _folder_with_enn(here / "run", _config())
    sentence = refused("run", "--output", "run", "--rl.gamma", "0.5", "--seed", "3")
    assert f"{folder} holds a run with other settings (seed is 0 there and 3 here, and 1 more)" in sentence


DAMAGED_CONFIGS = {
    "truncated": ('{"preset": "digi', "truncated or corrupt"),
    "empty": ("", "truncated or corrupt"),
    "a list": ("[]", "holds no settings that this version can read"),
    "no settings": ('{"preset": "digits"}', "holds no settings that this version can read"),
    "settings of another kind": ('{"preset": "digits", "settings": 3}', "holds no settings that this version can read"),
    "unknown preset": ('{"preset": "imagenet", "settings": {}}', "the preset 'imagenet' is unknown"),
    "unknown key": ('{"preset": "digits", "settings": {"rl.x": 1}}', r"unknown setting 'rl\.x'"),
    "wrong type": ('{"preset": "digits", "settings": {"seed": "x"}}', "setting 'seed' is 'x'"),
}


@pytest.mark.parametrize("case", DAMAGED_CONFIGS)
@pytest.mark.parametrize("preset", [[], ["--preset", "digits"]], ids=["continued", "given"])
def test_a_damaged_config_is_one_sentence(case, preset, here, refused):
    text, expected = DAMAGED_CONFIGS[case]
    (here / "run").mkdir()
    (here / "run" / "config.json").write_text(text)
    assert re.search(rf"run/config\.json.*{expected}", refused("run", "--output", "run", *preset))


def _describe(folder: Path, **changes: object) -> None:
    path = folder / "enn.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


DAMAGED_ENNS = {
    "truncated": (lambda folder: os.truncate(folder / "enn.safetensors", 1000), r"enn\.safetensors is damaged"),
    "empty": (lambda folder: os.truncate(folder / "enn.safetensors", 0), r"enn\.safetensors is damaged"),
    "truncated .json": (lambda folder: os.truncate(folder / "enn.json", 50), r"enn\.json is damaged"),
    "no .json": (lambda folder: (folder / "enn.json").unlink(), r"cannot read .*enn\.json .*two files"),
    "no second ENN": (lambda folder: (folder / "enn-convnet.safetensors").unlink(), r"enn-convnet\.safetensors"),
    "another version": (lambda folder: _describe(folder, format=99), r"enn\.json is not an ENN of format 2; train it again"),
    "another ENN": (lambda folder: shutil.copy(folder / "enn-convnet.json", folder / "enn.json"), "does not belong to"),
}


@pytest.mark.parametrize("case", DAMAGED_ENNS)
@pytest.mark.parametrize("command", ["instruct", "run"])
def test_a_damaged_enn_is_one_sentence(case, command, here, refused):
    damage, expected = DAMAGED_ENNS[case]
    damage(_folder_with_enn(here / "run", _config()))
    assert re.search(expected, refused(command, "--output", "run"))


def test_an_enn_that_cannot_read_the_target_is_one_sentence_that_names_the_layer(here, refused):
    deep = _config()
    deep = replace(deep, target=replace(deep.target, hidden=(8, 8)), enn=replace(deep.enn, readers=("convnet",)))
    _folder_with_enn(here / "run", replace(_config(), enn=deep.enn), trained_on=deep)
    assert "learned on 3 layers and this target has 2" in refused("instruct", "--output", "run")


def test_an_enn_with_another_reader_is_one_sentence(here, refused):
    folder = _folder_with_enn(here / "run", _config())
    for suffix in (".safetensors", ".json"):
        shutil.copy((folder / "enn-convnet").with_suffix(suffix), (folder / "enn").with_suffix(suffix))
    assert "convnet reader" in refused("instruct", "--output", "run")


@pytest.mark.parametrize("lost", ["enn.json", "enn-convnet.json", "enn-convnet.safetensors"])
def test_an_enn_of_which_a_file_is_lost_is_made_again_by_the_command_that_is_named(lost, here, refused):
    folder = _folder_with_enn(here / "run", _config())
    for end in ("safetensors", "json"):
        shutil.copy(folder / f"enn.{end}", folder / f"enn-convnet.{end}")
    (folder / lost).unlink()
    (folder / "training").mkdir()  # what train-enn goes on from
    stem = Path(lost).stem
    for command in ("instruct", "explain", "report"):
        sentence = refused(command, "--output", "run", "--enn.readers", "probes", "convnet")
        assert f"lacks an ENN ({stem}.safetensors and {stem}.json); `grad-instructor train-enn` makes" in sentence


@pytest.mark.parametrize("command", ["explain", "report"])
def test_what_needs_trained_targets_names_the_command_that_trains_them(command, here, refused):
    _folder_with_enn(here / "run", _config())
    assert "first with `grad-instructor instruct`" in refused(command, "--output", "run")


@pytest.mark.parametrize("same", [True, False], ids=["same settings", "other settings"])
def test_two_commands_at_once_in_a_folder(same, here, refused):
    folder = _folder_with_enn(here / "run", _config())
    with open(folder / ".lock", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        sentence = refused("instruct", "--output", "run", *([] if same else ["--seed", "1"]))
    assert f"another command is at work in {folder}; wait" in sentence if same else "seed is 0 there" in sentence


FULL = "the disk is full and x could not be written; free some space and give the same command again."


def _moved(folder: Path, _: pytest.MonkeyPatch) -> None:
    folder.rename(folder.with_name("elsewhere"))


def _full(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Records, "end", lambda *_, **__: refuse(FULL))
    refuse(FULL)


def refuse(sentence: str) -> None:
    raise UserError(sentence)


@pytest.mark.parametrize(("happens", "told"), [(_moved, "was cut or replaced"), (_full, "the disk is full")])
def test_what_keeps_the_status_from_being_written_leaves_no_ray_and_is_told_once(happens, told, here, called, monkeypatch):
    """Ray's end at the process's own would be told as another failure."""
    folder, ended = _folder_with_enn(here / "run", _config()), []
    monkeypatch.setattr(cluster, "is_running", lambda: False)
    monkeypatch.setattr(cluster, "stop", lambda: ended.append("Ray"))
    monkeypatch.setattr("pipeline.compare.compare", lambda *_, **__: happens(folder, monkeypatch))
    done = called("instruct", "--output", "run", "--local", "--tracking-uri", "http://127.0.0.1:9")
    assert (done.returncode, ended) == (2, ["Ray"]), done
    assert told in done.stderr and "Traceback" not in done.stderr


# -- disks, servers ----------------------------------------------------------------------------------------------------


@contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[Path]:
    mount = shutil.which("mount")
    folder.mkdir()
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small disk needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _fails_for_want_of_space(folder: Path, run: Callable[..., subprocess.CompletedProcess]) -> None:
    before = _contents(folder)
    done = run("instruct", "--output", str(folder), "--local", "--tracking-uri", "http://127.0.0.1:9")
    assert done.returncode == 2, done.stderr + done.stdout
    assert re.search("the disk is full and .* could not be written; free some space", _sentence(done.stderr))
    after = _contents(folder)
    assert {name: after[name] for name in before} == before
    assert not [name for name in after if name.endswith(".tmp")]


def test_a_full_disk_is_one_sentence(tmp_path, called):
    with _small_disk(tmp_path / "disk", "300k") as disk:
        folder = _folder_with_enn(disk / "run", _config())
        _fails_for_want_of_space(folder, called)


def test_a_disk_that_is_full_from_the_start_is_one_sentence(tmp_path, called):
    with _small_disk(tmp_path / "disk", "300k") as disk:
        folder = _folder_with_enn(disk / "run", _config())
        with open(disk / "filling", "wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(b"x" * 4096)
        _fails_for_want_of_space(folder, called)


def test_a_file_size_limit_is_one_sentence(tmp_path):
    folder = _folder_with_enn(tmp_path / "run", _config())
    limited = partial(_run, tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)))
    _fails_for_want_of_space(folder, limited)


# -- what a newcomer sees first ----------------------------------------------------------------------------------------

HEAVY = ("torch", "ray", "mlflow", "sklearn", "matplotlib", "scipy", "numpy")


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_is_complete_and_imports_nothing_heavy(command, tmp_path):
    arguments = [command, "--help-all"] if command else ["--help"]
    program = f"""
import sys
from pipeline import cluster
from pipeline.command_line import main
assert main({arguments!r}) == 0
print("HEAVY", [name for name in {HEAVY!r} if name in sys.modules])
"""
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "HEAVY []" in done.stdout
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    if command is None:
        assert all(re.search(rf"^  {name} +\w", text, re.M) for name in COMMANDS)
    elif COMMANDS[command].only_looks:
        own = [own.name.replace("_", "-") for own in dataclasses.fields(COMMANDS[command].takes)]
        assert {"output", "tracking-uri"} <= set(own) and all(f"--{name}" in text for name in own)
        assert ("--port" in text) is (command == "ui"), "options stand only where they apply"
    else:
        names = (
            []
            if not issubclass(COMMANDS[command].takes, Command)
            else [name.replace("_", "-") for name in to_dotted(Config())] + ["preset", "config"]
        )
        names += ["output", "data-folder", "download", "tracking-uri", "experiment"]
        names += ["workers", "gpus-per-worker", "address", "local", "device"]
        assert [name for name in names if not re.search(rf"--(\S+,)?{re.escape(name)}\b", text)] == []
    assert not list(tmp_path.iterdir())


def test_doctor_prints_versions_devices_data_and_tracking(tmp_path):
    done = _run(tmp_path, "doctor", "--data-folder", "d", "--tracking-uri", "http://127.0.0.1:9")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    for expected in (r"torch +\d", r"ray +\d", r"mlflow +\d", r"python +3\.", r"devices +cpu"):
        assert re.search(expected, done.stdout, re.I), expected
    for expected in ("data digits +ready", "data mnist +mnist is not there: d/MNIST/raw", "data fashion", "data cifar10"):
        assert re.search(expected, done.stdout), expected
    assert re.search("tracking +http://127.0.0.1:9: cannot be reached", done.stdout)
    assert not list(tmp_path.iterdir())


SHORT = ("instruct", "report")
HOMES = {"none": {"HOME": None}, "not writable": {"HOME": "/proc"}}


@pytest.mark.parametrize("home", HOMES)
def test_without_a_home_everything_works(home, tmp_path, monkeypatch):
    for name, value in HOMES[home].items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    for name in ("RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    lines = (["--version"], ["--help"], ["run", "--help"], ["doctor"], *([name, "--output", "none"] for name in SHORT))
    program = f"from pipeline.command_line import main\nprint('CODES', [main(line) for line in {lines!r}])"
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "CODES [0, 0, 0, 0, 2, 2]" in done.stdout, done.stderr
    sentences = done.stderr.splitlines()
    assert len(sentences) == 2 and all("holds no ENN" in _sentence(one) for one in sentences), (
        "Ray's token and MLflow need none"
    )


def test_a_user_without_any_home(monkeypatch):
    """A container's, whom the system does not know: MLflow cannot be imported without a home."""
    from pipeline.cluster import NO_HOME, prepare_environment

    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("HOME", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    prepare_environment()
    first = os.environ["RAY_AUTH_TOKEN"]
    assert len(first) == 64 and "RAY_AUTH_TOKEN_PATH" not in os.environ and os.environ.pop("HOME") == NO_HOME
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    prepare_environment()
    assert os.environ.pop("RAY_AUTH_TOKEN") != first, "the twin: it is made anew"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "token")
    prepare_environment()
    assert os.environ.pop("HOME") == NO_HOME and "RAY_AUTH_TOKEN" not in os.environ, "one that is given is taken"


SECRET = "pa55word"
ADDRESSES = [
    f"http://user:{SECRET}@127.0.0.1:9",
    f"http://user:{SECRET}@{SECRET}@127.0.0.1:9",
    f"http://127.0.0.1:9/?token={SECRET}",
]


@pytest.mark.parametrize("uri", ADDRESSES)
def test_a_password_is_neither_shown_nor_recorded(uri, here, called):
    folder = _folder_with_enn(here / "run", _config())
    done = [
        called("instruct", "--output", "run", "--local", "--tracking-uri", uri),
        called("sync", "--output", "run", "--tracking-uri", uri),
        called("doctor", "--tracking-uri", uri),
    ]
    assert [one.returncode for one in done] == [0, 2, 0], done
    assert not [one for one in done if SECRET in one.stdout + one.stderr]
    assert not [name for name, data in _contents(folder).items() if data and SECRET.encode() in data]
    assert any(data and b"127.0.0.1:9" in data for data in _contents(folder).values()), "the command is recorded"


@pytest.mark.parametrize("name", ["what?x=1", "a#b", "50%20off", "two words", "größe λ"])
def test_a_folder_of_any_name_is_the_only_one_that_is_made(name, tmp_path):
    from pipeline.results.mlflow import Mirror
    from pipeline.results.records import Records
    from tests.support.tiny_run import mlflow_runs

    records = Records(tmp_path / name)
    records.start("run", "main", None, {"a": 1}, {})
    records.end("run", "FINISHED")
    Mirror(tmp_path / name, None, "e", warn=pytest.fail).send(records)
    assert os.listdir(tmp_path) == [name] and (tmp_path / name / "mlflow.db").exists()
    again = Mirror(tmp_path / name, None, "e", warn=pytest.fail)
    again.send(records)
    assert [run.info.status for run in mlflow_runs(tmp_path / name, again.uri)] == ["FINISHED"]


def test_a_folder_whose_name_looks_like_markup_is_printed_as_it_is(tmp_path, called):
    folder = _folder_with_enn(tmp_path / "[red]run[", _config())
    (folder / "arms").mkdir()
    (folder / "arms" / "conventional-0.json").write_text("{")  # the first thing that is read: ends the command early
    done = called("instruct", "--output", folder, "--local", "--tracking-uri", "http://127.0.0.1:9")
    assert f"results go to {folder}" in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_greek_letters_gets_question_marks(encoding, tmp_path):
    done = _run(tmp_path, "run", "--enn.resolution", "0")
    assert "ρ" in done.stderr
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "pipeline.command_line", "run", "--help"]
    assert subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True).returncode == 0


def test_no_help_shows_how_python_writes_what_may_be_left_out(called):
    texts = {name: called(name, "--help-all").stdout for name in COMMANDS}
    assert all("--output" in text for name, text in texts.items() if name not in ("doctor", "ui")), texts
    assert not [name for name, text in texts.items() if "{None}" in text or "default: None" in text]


def test_home_is_meant_where_a_shell_leaves_the_tilde(tmp_path, monkeypatch, called):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    folder = _folder_with_enn(tmp_path / "home", _config())
    for words in (["--output=~"], ["--output", "~"], ["--output", "elsewhere", "--output=~"]):
        done = called("report", *words)
        assert done.returncode == 2 and f"{folder} lacks trained targets" in done.stderr, done
    assert os.listdir(tmp_path) == ["home"]
