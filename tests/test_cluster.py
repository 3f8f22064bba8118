"""The pool of actors: the same numbers as without it, and real faults."""

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.cluster import ATTEMPTS, Placement, check, prepare_environment, run_tasks, start, worker_count
from pipeline.compare import Task, train_task
from pipeline.enn import Critic
from pipeline.errors import UserError
from pipeline.setting import home_of, target_of

HERE, ACTORS = Placement(local=True), Placement(workers=2)
CLOCKS = ("seconds", "wall_seconds")


def critics_of(config, dataset):
    torch.manual_seed(0)
    home = home_of(config, target_of(config, dataset))
    return {name: Critic(name, config.enn, home).eval().requires_grad_(False) for name in config.enn.readers}


def done(function, tasks, shared, placement):
    """The results in the tasks' order; every task exactly once."""
    pairs = list(run_tasks(function, tasks, shared, placement))
    assert sorted(index for index, _ in pairs) == list(range(len(tasks)))
    return [result for _, result in sorted(pairs, key=lambda pair: pair[0])]


# what the workers do, so at the top of a module


def square(task, *, device, offset):
    return task * task + offset, device


def look(task, *, device, dataset):
    array = dataset.x_train
    return array.flags.writeable, float(array.sum()), os.getpid(), array.ctypes.data, torch.get_num_threads()


def die_once(task, *, device, folder):
    marker = Path(folder) / f"died-{task}"
    if task == 1 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    with (Path(folder) / f"tried-{task}").open("a") as file:
        file.write(".")
    return task * 10


def die_always(task, *, device, folder):
    with (Path(folder) / f"tried-{task}").open("a") as file:
        file.write(".")
    if task == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def fail(task, *, device):
    if task == 2:
        raise UserError("task 2 is no good; give another.")
    if task == 3:
        raise ZeroDivisionError("three")
    return task


# -- numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ray_session")
def test_actors_and_this_process_train_to_the_same_bits(tiny, digits):
    tasks = [
        Task("conventional", "conventional", (11, 12, 13), (0.0,) * 3, keep=True),
        Task("instructed", "instructed", (11, 12, 13), (-1.0, 10.0, 3.0), keep=True),
        Task("instructed-image", "instructed-image", (11, 12), (10.0, 3.0), keep=True),
    ]
    shared = {"config": tiny, "dataset": digits, "critics": critics_of(tiny, digits)}
    here, there = (done(train_task, tasks, shared, placement) for placement in (HERE, ACTORS))
    for task, one, other in zip(tasks, here, there, strict=True):
        assert one["weights"].keys() == other["weights"].keys() and "final/3" in one["weights"]
        assert all(torch.equal(tensor, other["weights"][name]) for name, tensor in one["weights"].items())
        assert one["result"].keys() == other["result"].keys()
        for key in one["result"].keys() - set(CLOCKS):
            assert one["result"][key] == other["result"][key], (task.name, key)
    moved = [result["weights"]["final/0"][:2] for result in here]
    assert not torch.equal(moved[0], moved[1]) and not torch.equal(moved[1], moved[2])


@pytest.mark.usefixtures("ray_session")
def test_more_tasks_than_workers_and_none(ray_session):
    for placement in (HERE, ACTORS):
        assert done(square, list(range(7)), {"offset": 3}, placement) == [(n * n + 3, "cpu") for n in range(7)]
        assert done(square, [], {"offset": 3}, placement) == []


@pytest.mark.usefixtures("ray_session")
def test_data_reach_all_workers_from_one_place(digits, monkeypatch, ray_session):
    puts = []
    put = ray_session.put
    monkeypatch.setattr(ray_session, "put", lambda value: (puts.append(type(value).__name__), put(value))[1])
    seen = done(look, list(range(6)), {"dataset": digits}, ACTORS)
    assert puts == ["Dataset"]
    assert {(writeable, threads) for writeable, _, _, _, threads in seen} == {(False, 1)}
    assert {total for _, total, _, _, _ in seen} == {float(digits.x_train.sum())}
    assert {process for _, _, process, _, _ in seen}.isdisjoint({os.getpid()})


@pytest.mark.usefixtures("ray_session")
def test_no_worker_outlives_its_tasks(ray_session):
    processes = {process for _, _, process, *_ in done(look, list(range(4)), {"dataset": np_only()}, ACTORS)}
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{process}").exists() for process in processes) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{process}").exists() for process in processes)


@dataclasses.dataclass
class Arrays:
    x_train: np.ndarray


def np_only():
    return Arrays(np.zeros(3))


# -- faults ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ray_session")
def test_a_killed_worker_is_replaced_and_its_task_done_again(tmp_path):
    assert done(die_once, list(range(4)), {"folder": str(tmp_path)}, ACTORS) == [0, 10, 20, 30]
    assert (tmp_path / "died-1").exists()
    assert [(tmp_path / f"tried-{task}").read_text() for task in range(4)] == ["."] * 4


@pytest.mark.usefixtures("ray_session")
def test_a_task_that_kills_every_worker_is_given_up(tmp_path):
    with pytest.raises(RuntimeError, match=f"{ATTEMPTS} workers died"):
        done(die_always, [0, 1], {"folder": str(tmp_path)}, Placement(workers=1))
    assert (tmp_path / "tried-1").read_text() == "." * ATTEMPTS


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("placement", [HERE, ACTORS])
@pytest.mark.parametrize(("bad", "kind"), [(2, UserError), (3, ZeroDivisionError)])
def test_a_tasks_own_error_comes_through(placement, bad, kind):
    with pytest.raises(kind, match="no good|three"):
        done(fail, [0, bad, 1], {}, placement)


# -- what is asked for and absent --------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "no-such-host.invalid:{}"])
def test_an_unreachable_address_is_said_quickly(address):
    started = time.monotonic()
    with pytest.raises(UserError, match="no Ray cluster answers at"):
        check(Placement(address=address.format(free_port())))
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("address", ["nonsense", "host:port", ":6379", "127.0.0.1:99999999"])
def test_an_address_that_is_none(address):
    with pytest.raises(UserError, match="address"):
        check(Placement(address=address))


@pytest.mark.parametrize("placement", [Placement(device="cuda"), Placement(gpus_per_worker=0.5)])
def test_a_gpu_asked_for_and_absent(placement, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="GPU"):
        check(placement)


@pytest.mark.parametrize(
    "placement", [Placement(workers=-1), Placement(gpus_per_worker=-0.5), Placement(local=True, address="127.0.0.1:6379")]
)
def test_placements_that_make_no_sense(placement):
    with pytest.raises(UserError):
        check(placement)


def test_what_is_there_passes():
    check(Placement())
    check(HERE)
    with socket.create_server(("127.0.0.1", 0)) as server:
        check(Placement(address=f"127.0.0.1:{server.getsockname()[1]}"))
        check(Placement(address=f"127.0.0.1:{server.getsockname()[1]}", gpus_per_worker=1))  # the cluster's, not this machine's


def test_workers_share_gpus_by_fractions(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert worker_count(Placement(gpus_per_worker=0.25)) == 8
    assert worker_count(Placement(gpus_per_worker=0.25, workers=3)) == 3
    assert worker_count(Placement()) == os.cpu_count()


# -- a Ray of its own --------------------------------------------------------------------------------------------------

FAKE_GPU = """
import os, time
from pipeline.cluster import Placement, prepare_environment, run_tasks, start
prepare_environment()
import ray
from pipeline.errors import UserError

def share(task, *, device):
    time.sleep(1.0)
    return device, ray.get_gpu_ids(), os.getpid(), time.monotonic()

ray.init(num_cpus=3, num_gpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
started = time.monotonic()
results = [result for _, result in run_tasks(share, [0, 1], {}, Placement(workers=2, gpus_per_worker=0.5))]
assert [result[0] for result in results] == ["cuda", "cuda"], results
assert [list(map(int, result[1])) for result in results] == [[0], [0]], results
assert results[0][2] != results[1][2], "one process did both"
assert abs(results[0][3] - results[1][3]) < 0.9, "one after the other"
ray.shutdown()
try:
    start(Placement(workers=1, gpus_per_worker=1), 0)
except UserError as error:
    print(error)
"""


def script(text, **environment):
    return subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, env=os.environ | environment, timeout=100
    )


def test_two_workers_share_a_gpu():
    result = script(FAKE_GPU)
    assert result.returncode == 0, result.stderr
    assert "the cluster has 0; lower --gpus-per-worker" in result.stdout


def test_the_token_is_for_this_user_only(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(os, "environ", {name: v for name, v in os.environ.items() if not name.startswith("RAY_AUTH")})
    old = os.umask(0)
    try:
        prepare_environment()
    finally:
        os.umask(old)
    path = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert path.is_relative_to(tmp_path) and path.stat().st_mode & 0o777 == 0o600
    token = path.read_text()
    assert len(token) == 64
    del os.environ["RAY_AUTH_TOKEN_PATH"]
    prepare_environment()
    assert path.read_text() == token
    os.environ["RAY_AUTH_TOKEN_PATH"] = "mine"
    prepare_environment()
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == "mine"


@pytest.mark.usefixtures("ray_session")
def test_starting_twice_is_starting_once(ray_session):
    before = ray_session.get_runtime_context().gcs_address
    start(ACTORS, 0)
    assert ray_session.get_runtime_context().gcs_address == before
