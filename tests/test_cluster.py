"""The pool of actors: the same numbers as without it, and real faults."""

import itertools
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import ray
import torch

from pipeline.cluster import Placement, check, prepare_environment, run_tasks, start, watch, worker_count
from pipeline.compare import Task, train_task
from pipeline.enn import Critic
from pipeline.errors import UserError
from pipeline.setting import home_of, target_of
from tests.support.tiny_run import HANGS

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the tests
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


# -- what the workers do ------------------------------------------------------------------------------------------------


class Seen(NamedTuple):
    """What a worker saw."""

    number: int
    device: str
    writeable: bool
    total: float
    process: int
    threads: int


def look(task, *, device, dataset, offset):
    array = dataset.x_train
    return Seen(task * task + offset, device, array.flags.writeable, float(array.sum()), os.getpid(), torch.get_num_threads())


def square(task, *, device):
    return task * task


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


@pytest.fixture(scope="module")
def looked(digits, ray_session):
    """Seven tasks on two workers: what they saw, and what was put into the object store."""
    puts, put = [], ray.put
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray, "put", lambda value: (puts.append(type(value).__name__), put(value))[1])
        seen = done(look, list(range(7)), {"dataset": digits, "offset": 3}, ACTORS)
    return seen, puts


def test_every_task_is_done_once_and_named_by_its_index(looked, digits):
    here = done(look, list(range(7)), {"dataset": digits, "offset": 3}, HERE)
    for seen in (looked[0], here):
        assert [(one.number, one.device) for one in seen] == [(number**2 + 3, "cpu") for number in range(7)]
    assert {one.process for one in here} == {os.getpid()}
    assert done(look, [], {}, ACTORS) == done(look, [], {}, HERE) == []


def test_data_reach_all_workers_from_one_place(looked, digits):
    seen, puts = looked
    assert sorted(puts) == ["Dataset", "int"]
    assert {(one.writeable, one.threads, one.total) for one in seen} == {(False, 1, float(digits.x_train.sum()))}


def test_no_worker_outlives_its_tasks(looked):
    processes = {one.process for one in looked[0]}
    assert 1 <= len(processes) <= 2 and os.getpid() not in processes
    deadline = time.monotonic() + HANGS
    while any(Path(f"/proc/{process}").exists() for process in processes) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{process}").exists() for process in processes)


@pytest.mark.usefixtures("ray_session")
def test_tasks_without_end_are_drawn_as_results_are_taken():
    """At no time more than one call per worker is under way, and one result is in the reader's hands."""
    drawn, batch = [], 3
    results = run_tasks(square, (drawn.append(n) or n for n in itertools.count()), {}, ACTORS, batch)
    for taken, (index, value) in enumerate(itertools.islice(results, 30), 1):
        assert value == index**2
        assert len(drawn) <= taken + batch * ACTORS.workers + batch - 1
    results.close()
    assert next(run_tasks(square, itertools.count(5), {}, HERE)) == (0, 25)


# -- faults ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ray_session")
def test_a_killed_worker_is_replaced_and_its_task_done_again(tmp_path):
    assert done(die_once, list(range(4)), {"folder": str(tmp_path)}, ACTORS) == [0, 10, 20, 30]
    assert (tmp_path / "died-1").exists()
    assert [(tmp_path / f"tried-{task}").read_text() for task in range(4)] == ["."] * 4


@pytest.mark.usefixtures("ray_session")
def test_a_task_that_kills_every_worker_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.cluster.pool.ATTEMPTS", 2)
    with pytest.raises(RuntimeError, match="2 workers died"):
        done(die_always, [0, 1], {"folder": str(tmp_path)}, Placement(workers=1))
    assert (tmp_path / "tried-1").read_text() == ".."


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    ("placement", "bad", "kind"), [(HERE, 2, UserError), (HERE, 3, ZeroDivisionError), (Placement(workers=1), 2, UserError)]
)
def test_a_tasks_own_error_comes_through(placement, bad, kind):
    """With its own words: the command line prints them to the user."""
    with pytest.raises(kind) as caught:
        done(fail, [0, bad, 1], {}, placement)
    assert str(caught.value) == {2: "task 2 is no good; give another.", 3: "three"}[bad]
    if not placement.local:  # though the traceback, which is held here, still knows the actors
        deadline = time.monotonic() + HANGS
        while ray.available_resources().get("CPU", 0) < ray.cluster_resources()["CPU"] and time.monotonic() < deadline:
            time.sleep(0.1)
        assert ray.available_resources()["CPU"] == ray.cluster_resources()["CPU"]


# -- what is asked for and absent --------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "no-such-host.invalid:{}"])
def test_an_unreachable_address_is_said_before_ray_is_asked(address, monkeypatch):
    monkeypatch.setattr(ray, "init", lambda *_, **__: pytest.fail("which would try for minutes"))
    with pytest.raises(UserError, match="no Ray cluster answers at"):
        check(Placement(address=address.format(free_port())))


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
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _SpeaksHTTP2) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        check(Placement(address=f"127.0.0.1:{server.server_address[1]}"))
        check(Placement(address=f"127.0.0.1:{server.server_address[1]}", gpus_per_worker=1.0))  # its GPU, not ours
        server.shutdown()


class _SpeaksHTTP2(socketserver.BaseRequestHandler):
    """Begins as every gRPC server does, Ray's included: with an empty SETTINGS frame."""

    def handle(self):
        self.request.sendall(bytes.fromhex("000000040000000000"))


@pytest.mark.usefixtures("ray_session")
def test_a_real_cluster_is_known_as_one(ray_session):
    check(Placement(address=ray_session.get_runtime_context().gcs_address))


def test_workers_share_gpus_by_fractions(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert worker_count(Placement(gpus_per_worker=0.25)) == 8
    assert worker_count(Placement(gpus_per_worker=0.25, workers=3)) == 3
    assert worker_count(Placement()) == os.cpu_count()


@pytest.mark.parametrize("error", [ConnectionError("refused"), RuntimeError("version"), ValueError("address")])
def test_a_cluster_that_cannot_be_joined(monkeypatch, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(UserError, match=r"no Ray cluster could be joined at 127\.0\.0\.1:1"):
        start(Placement(address="127.0.0.1:1"), 0)


def test_a_ray_that_does_not_start_is_one_sentence(monkeypatch):
    def time_out(*_, **__):
        raise Exception("The current node timed out during startup. This could happen because\nof much.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", time_out)
    with pytest.raises(UserError, match=r"not be started here \(The current node timed out during startup\); give the same"):
        start(Placement(workers=1), 0)


def test_what_a_start_that_failed_has_left_is_not_taken_for_what_the_next_one_needs(monkeypatch, tmp_path):
    """On a busy machine it still ends when Ray has started: that would be told as its end, and end the program."""
    name, left = Path(shutil.copy(shutil.which("sleep") or "", tmp_path / "raylet")), []

    def start_at_the_second_try(*_, **__):
        left.append(subprocess.Popen([name, "600"]))
        if len(left) == 1:
            raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", start_at_the_second_try)
    monkeypatch.setattr(ray, "cluster_resources", dict)
    monkeypatch.setattr(watch, "watch", lambda processes: watched.extend(process.pid for process in processes))
    watched: list[int] = []
    try:
        start(Placement(workers=1), 0)
        assert watched == [left[1].pid]
    finally:
        for process in left:
            process.kill()
            process.wait()


def test_a_cluster_with_too_few_gpus(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda *_, **__: None)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 4.0, "GPU": 1.0})
    start(Placement(gpus_per_worker=1.0, workers=1), 0)
    with pytest.raises(UserError, match="the cluster has 1; lower --gpus-per-worker"):
        start(Placement(gpus_per_worker=2.0, workers=1), 0)


# -- a Ray of its own --------------------------------------------------------------------------------------------------

FAKE_GPU = """
import os, sys, time
from pathlib import Path
from pipeline.cluster import Placement, prepare_environment, run_tasks
prepare_environment()
import ray

def share(task, *, device, folder):
    Path(folder, str(task)).touch()
    while task < 2 and not Path(folder, str(1 - task)).exists():  # the first two at once, or for ever
        time.sleep(0.05)
    return device, ray.get_gpu_ids(), os.environ["CUDA_VISIBLE_DEVICES"], os.getpid()

ray.init(address="local", num_cpus=4, num_gpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
# three workers are asked for, and two fit on the GPU
placement, shared = Placement(workers=3, gpus_per_worker=0.4), {"folder": sys.argv[1]}
results = dict(run_tasks(share, [0, 1, 2], shared, placement))
assert [result[:3] for result in results.values()] == [("cuda", [0], "0")] * 3, results
assert len({result[3] for result in results.values()}) == 2, "one process did both, or three fitted"
"""


@pytest.mark.slow  # a Ray of its own
def test_workers_share_a_gpu_and_never_wait_for_one_that_is_not_there(tmp_path):
    """Places workers on a GPU that Ray is only told of; no CUDA is needed."""
    result = subprocess.run([sys.executable, "-c", FAKE_GPU, tmp_path], capture_output=True, text=True, timeout=HANGS)
    assert result.returncode == 0, result.stderr


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
    start(ACTORS, 0)  # a test before this one may have ended it, and a call to Ray itself would join whatever was there last
    before = ray_session.get_runtime_context().gcs_address
    start(ACTORS, 0)
    assert ray_session.get_runtime_context().gcs_address == before


def test_a_port_that_is_no_ray_cluster_is_told_apart_from_one(monkeypatch):
    """A listener that says nothing, or something else, is refused at once; ray.init would wait for minutes."""

    class Other(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(UserError, match="is no Ray cluster"):
            check(Placement(address=f"127.0.0.1:{server.server_address[1]}"))
        server.shutdown()
    with socketserver.TCPServer(("127.0.0.1", 0), Other) as silent:  # accepts, never answers
        monkeypatch.setattr("pipeline.cluster.placement.ANSWER", 0.2)
        with pytest.raises(UserError, match="no Ray cluster answers"):
            check(Placement(address=f"127.0.0.1:{silent.server_address[1]}"))


@pytest.mark.parametrize("wrong", [{"device": "banana"}, {"gpus_per_worker": float("nan")}, {"gpus_per_worker": float("inf")}])
def test_placements_that_make_no_sense_are_refused(wrong):
    with pytest.raises(UserError, match=r"; give .*\.$"):
        check(Placement(**wrong))


@pytest.mark.slow
def test_a_ray_of_our_own_joins_no_cluster_that_it_was_not_given():
    """As where ``ray start`` was called on this machine for something else."""
    code = (
        "from pipeline.cluster import Placement, prepare_environment, start\n"
        "prepare_environment()\nstart(Placement(workers=1), 1000)\n"
        "import ray\nprint(ray.cluster_resources()['CPU'])"
    )
    environment = os.environ | {"RAY_ADDRESS": "127.0.0.1:1", "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=HANGS)
    assert done.stdout.strip() == "2.0", done.stderr


@pytest.mark.parametrize(
    ("said", "failing", "tries"),
    [("The current node timed out. And more", 1, 2), ("The current node timed out.", 9, 4), ("no room\n", 9, 4), ("", 9, 4)],
)
def test_rays_start_is_tried_again_whatever_ray_calls_its_failure(monkeypatch, said, failing, tries):
    calls = []

    def init(*_, **__):
        calls.append("init")
        if len(calls) <= failing:
            raise RuntimeError(said)

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "cluster_resources", dict)
    if failing > 1:
        with pytest.raises(UserError, match=r"could not be started here \((The current node timed out|no room|RuntimeError)\)"):
            start(ACTORS, 0)
    else:
        start(ACTORS, 0)
    assert len(calls) == tries
