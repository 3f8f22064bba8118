"""A signal at any moment ends a command well; a command that is called in somebody's process leaves it as it was."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from benchmarks.quick import TINY
from pipeline import interrupts
from tests.support.tiny_run import CHECKOUT, HANGS, STAGES, Running, finish, mlflow_runs, start, wait

END = "grad-instructor: interrupted; give the same command again to continue."


def _has(name: str) -> Callable[[Running, Path], bool]:
    return lambda running, _: bool(running.named(name))


MOMENTS: dict[str, Callable[[Running, Path], bool]] = {
    "imports": lambda _, run: (run / "records.jsonl").exists() and '"start"' in (run / "records.jsonl").read_text(),
    "Ray starts": _has("gcs_server"),
    "Ray is nearly there": _has("raylet/raylet"),
    "ENN": lambda _, run: STAGES["ENN"](run),
    "comparing": lambda _, run: STAGES["targets"](run),
    "report": lambda _, run: (run / "report.json").exists(),
}
QUICK = [("imports", signal.SIGTERM), ("Ray starts", signal.SIGTERM), ("Ray is nearly there", signal.SIGHUP)]
SLOW = [(moment, number) for moment in MOMENTS for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


@pytest.mark.parametrize(
    ("moment", "number"),
    [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow, id="-".join(map(str, case))) for case in SLOW],
)
def test_a_signal_at_any_moment_is_an_interrupt(moment, number, folder):
    running, run = start(folder, "run", "--output", "run", "--workers", "1", *TINY), folder / "run"
    wait(running, lambda: MOMENTS[moment](running, run))
    running.process.send_signal(number)
    assert running.process.wait(HANGS) == 130, running.log.read_text()
    assert running.vanished(), running.processes()
    output = running.log.read_text()
    assert output.rstrip().endswith(END) and "Traceback" not in output
    ends = [event for event in map(json.loads, (run / "records.jsonl").open()) if event["kind"] == "end"]
    assert {event["run"]: event["status"] for event in ends}["run"] == "KILLED"
    if (run / "mlflow-sent.json").exists():  # else MLflow was not ready yet, and hears of it from the next command
        if "RUNNING" in _statuses(run).values():  # on a busy machine: it has two seconds, and hears the rest from that as well
            finish(folder, "sync", "--output", "run")
        assert _statuses(run)["run"] == "KILLED" and set(_statuses(run).values()) <= {"KILLED", "FINISHED"}


def _statuses(run: Path) -> dict[str, str]:
    return {told.data.tags["grad_instructor.run"]: told.info.status for told in mlflow_runs(run)}


def test_who_looks_for_a_process_does_not_fail_where_one_ends_meanwhile(monkeypatch):
    program = "print('here', flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"here\n"
    running, seen = Running(child, "", Path()), psutil.Process(child.pid)
    monkeypatch.setattr(Running, "processes", lambda self: [seen])
    assert running.named("input()")
    child.communicate(b"\n")
    assert not running.named("input()")


def test_a_signal_before_anything_is_imported(folder):
    """Again and again, until the handlers are there: the end is 130, never a traceback."""
    program = f"""
import os, signal, sys
sys.argv = ["grad-instructor", "doctor"]
sys.path.insert(0, {str(CHECKOUT)!r})
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "tyro":
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Finder())
from pipeline.command_line.program import program
program()
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 130 and done.stderr.strip() == END and done.stdout == "", done.stderr


UNHEARD = f"""
import os, signal, sys, time
sys.argv = ["grad-instructor", "version"]
sys.path.insert(0, {str(CHECKOUT)!r})
class Taken:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
class Words(list):
    def __getitem__(self, index):
        Taken()
        time.sleep(60)
from pipeline.command_line.program import program
sys.argv = Words(sys.argv)
program()
"""


def test_a_signal_while_an_object_is_taken_apart_is_heard_and_not_told_twice():
    """RLlib's env runners take time to be taken apart; Python prints what is raised there, and goes on."""
    done = subprocess.run([sys.executable, "-c", UNHEARD], capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (130, END), done


LATE = f"""
import atexit, os, signal, sys
class Late:
    def __del__(self, kill=os.kill, write=os.write, own=os.getpid()):
        write(1, b"taken apart\\n")
        kill(own, signal.SIGTERM)
class Words(list):
    def __getitem__(self, index):
        atexit.register(os.kill, os.getpid(), signal.SIGTERM)
        return super().__getitem__(index)
late = Late()
sys.argv = ["grad-instructor", "version"]
sys.path.insert(0, {str(CHECKOUT)!r})
from pipeline.command_line.program import program
ENDING
"""
ENDINGS = {
    "the interpreter is taken apart": ("program()", 0),
    "what was told to be done at exit is done": ("sys.argv = Words(sys.argv)\nprogram()", 0),
    "a program that knows nothing of it": ("", -signal.SIGTERM),
}


@pytest.mark.parametrize("moment", ENDINGS)
def test_a_signal_after_all_is_done_changes_nothing(moment):
    ending, code = ENDINGS[moment]
    done = subprocess.run([sys.executable, "-c", LATE.replace("ENDING", ending)], capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == code and done.stdout.count("grad-instructor") == (code == 0), done


# -- in somebody's process ---------------------------------------------------------------------------------------------

HOST = """
import faulthandler, json, logging, os, random, signal, sys, threading, time
import numpy as np, torch
from pathlib import Path

def state():
    loggers = [logging.root, *(logging.getLogger(name) for name in ("ray", "mlflow", "theirs", "ray.rllib", "ray.tune"))]
    return {
        "handlers": [signal.getsignal(number) for number in (*range(1, 32),)],
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "environment": dict(os.environ),
        "threads": torch.get_num_threads(),
        "folder": os.getcwd(),
        "logging": [(one.name, one.level) for one in loggers[:1] + loggers[3:]] + [list(logging.root.handlers)],
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook, faulthandler.is_enabled()),
        "errors": (sys.stdout.errors, sys.stderr.errors),
        "random": (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()),
        "deterministic": (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic),
        "timers": [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)],
    }

def theirs(number, frame):
    raise SystemExit(77)

signal.signal(signal.SIGTERM, theirs)
signal.signal(signal.SIGUSR1, theirs)
torch.set_num_threads(2)
logging.getLogger("theirs").setLevel(17)
logging.basicConfig(level=41)
before = state()
from pipeline.command_line import main
for name, work in json.loads(Path("work.json").read_text()).items():
    exec(work)
    after = state()
    different = [name for name in before if before[name] != after[name]]
    assert not different, (name, [(before[name], after[name]) if name != "random" else name for name in different])
    ray = sys.modules.get("ray")
    assert ray is None or not ray.is_initialized(), name
    print(f"{name}: {code}")
print("AS BEFORE", flush=True)
signal.raise_signal(signal.SIGTERM)
"""
INTERRUPTED = """
def interrupt():
    while not {ready}:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=interrupt, daemon=True).start()
code = main({arguments})
"""
ARGUMENTS = ["run", "--output", "run", "--workers", "1", "--tracking-uri", "http://127.0.0.1:9", *TINY]
SEARCH = """kind: target
settings: {target.hidden: [8], training.steps: 20, rl.period: 10, instruction.refresh: 10, unroll.segments: 0}
space: {training.learning_rate: {choice: [0.1, 0.2]}}
stages: [{name: whole, targets: 2}]
budget: {candidates: 1}
objectives: {accuracy: maximise}
"""
SEARCHING = ["search", "s.yaml", "--output", "search", "--workers", "1", "--tracking-uri", "http://127.0.0.1:9"]
AT_ONCE = {
    "refused": ("code = main(['run', '--enn.resolution', '0'])", 2),
    "helped": ("code = main(['run', '--help'])", 0),
    "doctor": ("code = main(['doctor'])", 0),
    "a thread": (
        "codes = []\nworker = threading.Thread(target=lambda: codes.append(main(['doctor'])))\n"
        "worker.start()\nworker.join()\n(code,) = codes",
        0,
    ),
    "raised": (
        "import pipeline.command_line.dispatch as module\nown = module.dispatch\n"
        "module.dispatch = lambda argv: {}['no such thing']\n"
        "try:\n    main(['doctor'])\nexcept KeyError:\n    code = 'raised'\nmodule.dispatch = own",
        "raised",
    ),
}
AT_WORK = {
    "interrupted": (
        INTERRUPTED.format(ready="list(Path('run').glob('training/round-*'))", arguments=ARGUMENTS),
        interrupts.INTERRUPTED,
    ),
    "finished": (f"code = main({ARGUMENTS})", 0),
    "searched": (f"Path('s.yaml').write_text({SEARCH!r})\ncode = main({SEARCHING})", 0),
}


@pytest.mark.parametrize("works", [AT_ONCE, AT_WORK], ids=["at once", "at work"])
def test_a_host_process_is_as_before(works, folder):
    """After each of some commands, which it calls one after the other."""
    (folder / "work.json").write_text(json.dumps({name: work for name, (work, _) in works.items()}))
    environment = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "RAY_AUTH_MODE")}
    environment |= {"PYTHONPATH": str(CHECKOUT)}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-c", HOST], cwd=folder, env=environment, stdout=log, stderr=log)
        wait(Running(process, "", folder / "log"), lambda: "AS BEFORE" in (folder / "log").read_text())
        ended = time.monotonic()
        assert process.wait(60) == 77, (folder / "log").read_text()
    said = (folder / "log").read_text()
    assert [name for name, (_, code) in works.items() if f"{name}: {code}\n" not in said] == [], said
    assert time.monotonic() - ended < interrupts.GRACE + 20


def test_a_ray_that_was_there_before_stays(ray_session, tmp_path):
    from pipeline.command_line import main

    assert main(["train-enn", "--output", str(tmp_path / "run"), "--tracking-uri", "http://127.0.0.1:9", *TINY]) == 0
    assert ray_session.is_initialized()
