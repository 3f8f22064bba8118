"""A pool of Ray actors that train populations; the only place that places work on GPUs.

``--local`` runs the same function in this process. Both give the same numbers: a task's numbers depend on the task alone, and
every worker computes with one thread.
"""

import itertools
import logging
import math
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline import interrupts
from pipeline.errors import UserError, reason_of

ATTEMPTS = 4
"""how often a task is given to an actor before the actors' deaths are taken to be the task's fault"""

STARTS = 4
"""how often Ray is started before it is given up: on busy machines its processes need longer than it waits for them"""
ANSWER = 30.0
"""seconds that a cluster may take to answer, on busy machines"""
NO_HOME = "/nonexistent"
"""the home of a user who has none, as Debian has it"""
_SETTINGS = b"\x04"
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + _SETTINGS + bytes(5)
"""how HTTP/2, which Ray speaks, begins: whatever else listens would keep ray.init waiting for minutes"""


@dataclass(frozen=True)
class Placement:
    """Where work runs. None of this changes a number."""

    workers: int = 0
    """Ray actors that train populations; 0 means as many as there are cores, or shares of GPUs"""
    gpus_per_worker: float = 0.0
    """GPUs of each worker; fractions let several share one; 0 trains on the CPU"""
    address: str | None = None
    """address of a running Ray cluster (host:port, ray://host:port or auto)"""
    local: bool = False
    """train in this process, without Ray actors"""
    device: str = "cpu"
    """device of this process, where the ENN learns: cpu or cuda"""


def check(placement: Placement) -> None:
    """Raises UserError where what is asked for is not there: a GPU, or a cluster that answers."""
    if placement.workers < 0 or not 0 <= placement.gpus_per_worker < math.inf:
        raise UserError("--workers and --gpus-per-worker cannot be below 0, nor without end; give a count.")
    if placement.device not in ("cpu", "cuda"):
        raise UserError(f"--device {placement.device!r} is unknown; give cpu or cuda.")
    if placement.local and placement.address:
        raise UserError("--local trains without Ray and --address names a Ray cluster; give one of them.")
    wants = placement.device != "cpu" or (placement.gpus_per_worker > 0 and not placement.address)
    if wants and not _has_gpu():
        raise UserError(
            "a GPU was asked for and this machine has none that torch can use; use --device cpu --gpus-per-worker 0."
        )
    if placement.address and placement.address != "auto":
        _check_reachable(placement.address)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def start(placement: Placement, data_bytes: int) -> None:
    """Start Ray here, or connect to the cluster at ``placement.address``, whose nodes are sent this package's code (not what it
    depends on).

    Raises:
        UserError: nothing answers at the address, Ray cannot be started, or the cluster has too few GPUs.
    """
    import ray

    if ray.is_initialized():
        return
    children = _children()
    try:
        with interrupts.kept():
            _start(placement, data_bytes)
    except KeyboardInterrupt:
        ray.shutdown()
        _end(_children() - children)  # Ray forgets the processes that it had started by then
        raise
    gpus = ray.cluster_resources().get("GPU", 0)
    if placement.gpus_per_worker > gpus:
        raise UserError(
            f"a worker needs {placement.gpus_per_worker:g} GPUs and the cluster has {gpus:g}; lower --gpus-per-worker."
        )


def is_running() -> bool:
    """Whether this process has started or joined a Ray."""
    ray = sys.modules.get("ray")
    return hasattr(ray, "is_initialized") and ray.is_initialized()  # pyright: ignore[reportOptionalMemberAccess]


def stop() -> None:
    """End the Ray that was started, or leave the cluster that was joined."""
    if is_running():
        sys.modules["ray"].shutdown()


def _children() -> set[Any]:
    import psutil

    return set(psutil.Process().children(recursive=True))


def _end(processes: set[Any]) -> None:
    import psutil

    for process in processes:
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile
            process.kill()


def _start(placement: Placement, data_bytes: int) -> None:
    import ray

    if placement.address:
        try:
            ours = [str(Path(__file__).resolve().parents[1] / name) for name in ("pipeline", "rl")]
            ray.init(placement.address, log_to_driver=False, logging_level=logging.ERROR, runtime_env={"py_modules": ours})
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"no Ray cluster could be joined at {placement.address}; start one with `ray start --head`."
            ) from error
    else:
        for again in reversed(range(STARTS)):
            try:
                ray.init(
                    "local",  # or Ray would try to join a cluster that somebody has started on this machine
                    num_cpus=worker_count(placement) + 1,
                    include_dashboard=False,
                    object_store_memory=max(120_000_000, 2 * data_bytes),
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
                break
            except Exception as error:  # Ray raises no kind of its own where its processes do not answer in time
                if again:
                    ray.shutdown()
                    continue
                reason = reason_of(error).split(". ")[0]
                raise UserError(
                    f"Ray could not be started here ({reason}); give the same command again, or use --local."
                ) from error


def prepare_environment(own_cluster: bool = True, token: bool = True) -> None:
    """Settings that Ray, MLflow and OpenMP read once, at import: no telemetry, one thread, a token file of one's own, and
    no port that other machines can reach.

    Args:
        own_cluster: Ray is started here; a cluster that runs already has a token, which Ray finds where ``ray start`` left it.
        token: Ray will be used, and needs one.

    Raises:
        UserError: there is no place for the token.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    for wait in ("gcs_server_port_wait_time_s", "gcs_server_request_timeout_seconds", "worker_register_timeout_seconds"):
        os.environ.setdefault(f"RAY_{wait}", "300")  # half a minute or one, which is too short on busy cores
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    if own_cluster:  # the name notwithstanding: a Ray that no other machine can join listens on 127.0.0.1 only
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    if token:
        _prepare_token(own_cluster)
    try:
        Path.home()
    except RuntimeError:  # after the token, which must not be there: MLflow cannot be imported without a home
        os.environ["HOME"] = NO_HOME


def _prepare_token(own_cluster: bool) -> None:
    has_token = "RAY_AUTH_TOKEN_PATH" in os.environ or "RAY_AUTH_TOKEN" in os.environ
    if own_cluster and not has_token:
        os.environ["RAY_AUTH_TOKEN_PATH"], has_token = str(_private_token()), True
    if has_token or os.path.exists(_home() / ".ray" / "auth_token"):
        # or ray.init does not show the token to a cluster that asks for it; said before Ray, which reads it once, is imported
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def worker_count(placement: Placement) -> int:
    """Actors that are wanted. On a cluster, more than it has room for is what its autoscaler is asked for."""
    if placement.workers:
        return placement.workers
    if placement.address:
        return _room(placement)
    if placement.gpus_per_worker:
        import torch

        return max(1, int(torch.cuda.device_count() / placement.gpus_per_worker))
    return os.cpu_count() or 1


def run_tasks(
    function: Callable[..., Any], tasks: Iterable[Any], shared: Mapping[str, Any], placement: Placement, batch: int = 1
) -> Iterator[tuple[int, Any]]:
    """``(index, function(task, device=…, **shared))`` for every task, as they are done.

    ``tasks`` may be endless: one call per actor is under way, the next task is drawn when a result has been taken, and nothing
    is kept of what was yielded. ``shared`` is put into Ray's object store once. An actor that dies, alone or with its node, is
    replaced and its task done again.

    Args:
        batch: tasks per call of an actor; more than 1 saves time where a task takes less than some milliseconds.

    Raises:
        Whatever ``function`` raises; RuntimeError when a task's actors died ``ATTEMPTS`` times.
    """
    tasks = iter(tasks)
    first = list(itertools.islice(tasks, 1))
    tasks = itertools.chain(first, tasks)
    if placement.local or not first:
        _one_thread()
        for index, task in enumerate(tasks):
            yield index, function(task, device=_device(placement), **shared)
        return
    for call, results in _run_on_actors(function, _calls(tasks, batch), shared, placement):
        yield from enumerate(results, call.first)


@dataclass(frozen=True)
class _Call:
    """What an actor is given at once: tasks, and the index of the first."""

    first: int
    tasks: list[Any]
    attempts: int = 0


def _calls(tasks: Iterator[Any], batch: int) -> Iterator[_Call]:
    for first in itertools.count(0, batch):
        chunk = list(itertools.islice(tasks, batch))
        if not chunk:
            return
        yield _Call(first, chunk)


def _run_on_actors(
    function: Callable[..., Any], calls: Iterator[_Call], shared: Mapping[str, Any], placement: Placement
) -> Iterator[tuple[_Call, list[Any]]]:
    import ray
    from ray.exceptions import ObjectLostError, RayActorError, RayTaskError

    references = {name: ray.put(value) for name, value in shared.items()}
    actor_class: Any = ray.remote(num_cpus=1, num_gpus=placement.gpus_per_worker, max_restarts=0)(_Worker)
    actors, again, idle = _actors(placement), [], []
    running: dict[Any, tuple[_Call, Any]] = {}
    try:
        while True:
            while len(running) < actors and (call := again.pop() if again else next(calls, None)):
                actor = idle.pop() if idle else actor_class.remote(function, _device(placement), **references)
                running[actor.run.remote(call.tasks)] = (replace(call, attempts=call.attempts + 1), actor)
            if not running:
                return
            while idle and len(running) < actors:  # nothing is left to do: a worker that waits for a place gets theirs
                ray.kill(idle.pop())
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            call, actor = running.pop(done)
            try:
                results = ray.get(done)
            except RayTaskError as error:
                idle.append(actor)  # so that it ends with the others
                raise error.cause from error
            except (RayActorError, ObjectLostError) as error:  # the second: its node died with the result
                ray.kill(actor)
                if call.attempts >= ATTEMPTS:
                    raise RuntimeError(f"{call.attempts} workers died on the same task ({call.tasks}): {error}") from error
                again.append(call)
                continue
            idle.append(actor)
            del done  # else the last result stays in the object store while the next one is made
            yield call, results
    finally:
        for actor in [*idle, *(actor for _, actor in running.values())]:
            ray.kill(actor)


def _actors(placement: Placement) -> int:
    """How many actors to start: one beyond the room of a cluster that cannot grow would wait, and its task with it."""
    wanted = worker_count(placement)
    return wanted if placement.address else min(wanted, _room(placement))


def _room(placement: Placement) -> int:
    """How many actors the cluster, as it is now, can hold at once."""
    import ray

    resources, share = ray.cluster_resources(), placement.gpus_per_worker
    room = resources.get("CPU", 1)
    if share:
        room = min(room, resources.get("GPU", 0) * (1 // share if share < 1 else 1 / share))
    return max(1, int(room))


def _device(placement: Placement) -> str:
    return "cuda" if placement.gpus_per_worker else "cpu"


class _Worker:
    """An actor: what it does, the shared data, and one thread."""

    def __init__(self, function: Callable[..., Any], device: str, **shared: Any) -> None:
        _one_thread()
        self.function, self.shared = function, {"device": device, **shared}

    def run(self, tasks: list[Any]) -> list[Any]:
        return [self.function(task, **self.shared) for task in tasks]


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _check_reachable(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"--address {address!r} is no address; give host:port, ray://host:port or auto.")
    try:
        with socket.create_connection((host, int(port)), timeout=ANSWER) as connection:
            connection.sendall(_GREETING)
            answer = connection.recv(9)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"no Ray cluster answers at {address} ({error}); start one with `ray start --head` or drop --address."
        ) from error
    if answer[3:4] != _SETTINGS:
        raise UserError(f"what answers at {address} is no Ray cluster; start one with `ray start --head` or drop --address.")


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise UserError(
            "there is no home folder to keep Ray's token in; set HOME, or name a file with RAY_AUTH_TOKEN_PATH."
        ) from error


def _private_token() -> Path:
    """A file that only this user can read, with the token by which Ray's processes know each other.

    Raises:
        UserError: it cannot be written.
    """
    import secrets

    path = _home() / ".cache" / "grad-instructor" / "ray-token"
    mine = path.with_name(f".ray-token-{os.getpid()}")
    try:
        if not path.exists() or not path.stat().st_size:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(32))
            with suppress(FileExistsError):  # another process was first: its token is everyone's
                os.link(mine, path)
            if not path.stat().st_size:
                os.replace(mine, path)
        path.chmod(0o600)
    except OSError as error:
        raise UserError(
            f"Ray's token cannot be kept in {path} ({error.strerror}); name a file with RAY_AUTH_TOKEN_PATH."
        ) from error
    finally:
        with suppress(OSError):
            mine.unlink(missing_ok=True)
    return path
