"""What several test files need: a tiny configuration, real digits, and Ray, started once.

Nothing of ``pipeline`` is imported at the top: jaxtyping's hook must come first.
"""

import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read once, when torch is imported


FIRST = ("undisturbed", "ray", "test_mlflow", "test_search", "test_cli")
"""groups that take longest: begun first, so that no process is left with one of them when the others have ended"""


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config, items):
    """Tests that share something costly, a Ray or a whole run, are done by the same process (see pytest-xdist), and so are
    those of a file, which may share fixtures."""
    groups = {item: _group(item) for item in items}
    items.sort(key=lambda item: FIRST.index(groups[item]) if groups[item] in FIRST else len(FIRST))
    if config.pluginmanager.hasplugin("xdist"):
        for item, group in groups.items():
            item.add_marker(pytest.mark.xdist_group(group))


def _group(item) -> str:
    if "undisturbed" in item.fixturenames or item.path.stem in ("test_resume", "test_faults"):
        return "undisturbed"
    return "ray" if "ray_session" in item.fixturenames else item.path.stem


def pytest_sessionstart():
    from pipeline.cluster import prepare_environment

    prepare_environment()


@pytest.fixture
def environment() -> Iterator[None]:
    """A command line is a process of its own: its environment and its signal handlers do not outlive the test."""
    from pipeline import interrupts

    before = os.environ.copy()
    handlers = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    yield
    os.environ.clear()
    os.environ.update(before)
    for number, handler in handlers.items():
        signal.signal(number, handler)


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

    from pipeline.cluster import Placement, start

    start(Placement(workers=2), 0)
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Path:
    """The folder of a tiny run of the program that nothing disturbed."""
    from benchmarks.tiny_run import TINY, finish

    folder = tmp_path_factory.mktemp("undisturbed")
    output = finish(folder, "run", "--output", "run", "--workers", "1", *TINY)
    assert output.count("test accuracy on digits") == 1 and "Traceback" not in output
    return folder / "run"


@pytest.fixture
def folder(tmp_path) -> Iterator[Path]:
    """A folder to work in; whatever a failed test leaves running there is ended."""
    from benchmarks.tiny_run import end_all_in

    yield tmp_path
    end_all_in(tmp_path)
