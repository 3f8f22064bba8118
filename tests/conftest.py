"""What several test files need: a tiny configuration, real digits, and Ray, started once.

Nothing of ``pipeline`` is imported at the top: jaxtyping's hook must come first.
"""

import dataclasses
import gc
import importlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read once, when torch is imported
os.environ.pop("MLFLOW_TRACKING_URI", None)  # a run's own database is what tests look into
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # read once, when MLflow is: by a test or by our client


COSTLY = ("torch", "ray.rllib", "ray.tune", "scipy.stats", "pandas", "optuna", "matplotlib.pyplot", "hypothesis")
"""libraries that many tests import through our modules"""
GROUPS = dict.fromkeys(
    ("test_resume", "test_faults", "test_nodes", "test_storage", "test_finished", "test_report_page"), "undisturbed"
)
GROUPS |= dict.fromkeys(("test_cluster", "test_rl"), "ray")
"""files whose tests share something costly, a whole run or a Ray; any other file is a group of its own"""
FIRST = ("undisturbed", "ray", "test_mlflow", "test_search", "test_cli")
"""groups that take longest: begun first, so that no process is left with one of them when the others have ended"""


def group_of(nodeid: str) -> str:
    """The group of a test: one process does all of it (see pytest-xdist)."""
    file = Path(nodeid.partition("::")[0]).stem
    return GROUPS.get(file, file)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: (*FIRST, group_of(item.nodeid)).index(group_of(item.nodeid)))


@pytest.hookimpl(optionalhook=True)  # the tests run without pytest-xdist too
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return ByGroup(config, log)


def pytest_sessionstart():
    from pipeline.cluster import prepare_environment

    prepare_environment()
    if "PYTEST_XDIST_WORKER" in os.environ:  # it will need them, and once jaxtyping imports for them they are compiled anew
        for name in COSTLY:
            importlib.import_module(name)
    gc.disable()  # what is imported stays


def pytest_collection_finish():
    gc.freeze()  # a million objects, which no collection has to look at again
    gc.enable()


def pytest_sessionfinish():
    gc.unfreeze()


@pytest.fixture
def environment() -> Iterator[None]:
    """A command line is a process of its own: its environment and its signal handlers do not outlive the test."""
    from pipeline import interrupts

    before = os.environ.copy()
    handlers = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    yield
    interrupts._State.guest = True
    os.environ.clear()
    os.environ.update(before)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def called(environment, capfd) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``called(*arguments)``: the program in this process, for seconds less than in one of its own: all imports are done."""
    from pipeline.command_line import main

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return call


@pytest.fixture(scope="session")
def digits():
    from pipeline.data import load

    return load("digits")


@pytest.fixture(scope="session")
def tiny():
    """Targets 64-8-10 with five decisions of ten steps; sixteen of them, two rounds, two readers."""
    from pipeline.config import Config, validate

    default = Config()
    return validate(
        dataclasses.replace(
            default,
            target=dataclasses.replace(default.target, hidden=(8,)),
            training=dataclasses.replace(default.training, steps=50, batch_size=16),
            enn=dataclasses.replace(default.enn, probes=4, hidden=8, resolution=0.5, width=4, depth=2),
            instruction=dataclasses.replace(default.instruction, refresh=4, trust_region=0.05),
            rl=dataclasses.replace(default.rl, period=10, members=16, rounds=2, updates=10, batch_size=32, n_step=2, tau=0.1),
            compare=dataclasses.replace(
                default.compare,
                arms=("conventional", "l2", "he", "instructed"),
                seeds=4,
                group=3,
                tuning_seeds=2,
                l2=(1e-3, 1e-1),
                instruction=(-1.0, 10.0),
            ),
        )
    )


@pytest.fixture(scope="session")
def ray_session():
    """Ray as ``grad-instructor`` starts it, with room for two workers."""
    import ray

    from pipeline.cluster import Placement, start, stop

    start(Placement(workers=2), 0)
    yield ray
    stop()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Path:
    """The folder of a tiny run of the program that nothing disturbed."""
    from benchmarks.quick import TINY
    from tests.support.tiny_run import finish

    folder = tmp_path_factory.mktemp("undisturbed")
    output = finish(folder, "run", "--output", "run", "--workers", "1", *TINY)
    assert output.count("test accuracy on digits") == 1 and "Traceback" not in output
    return folder / "run"


@pytest.fixture
def folder(tmp_path) -> Iterator[Path]:
    """A folder to work in; whatever a failed test leaves running there is ended."""
    from tests.support.tiny_run import end_all_in

    yield tmp_path
    end_all_in(tmp_path)
