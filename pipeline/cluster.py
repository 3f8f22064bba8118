"""A pool of Ray actors that train populations; the only place that places work on GPUs.

``--local`` runs the same function in this process. Both give the same numbers: a task's numbers depend on the task alone, and
every worker computes with one thread.
"""

import logging
import math
import os
import socket
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import UserError

ATTEMPTS = 4
"""how often a task is given to an actor before the actors' deaths are taken to be the task's fault"""

_SETTINGS = b"\x04"
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + _SETTINGS + bytes(5)
"""how HTTP/2, which Ray speaks, begins: whatever else listens would keep ray.init waiting for minutes"""


@dataclass(frozen=True)
class Placement:
    """Where work runs. None of this changes a number."""

    workers: int = 0
    """Ray actors that train populations; 0 means one per core"""
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
    import torch

    wants = placement.device != "cpu" or (placement.gpus_per_worker > 0 and not placement.address)
    if wants and not torch.cuda.is_available():
        raise UserError(
            "a GPU was asked for and this machine has none that torch can use; use --device cpu --gpus-per-worker 0."
        )
    if placement.address and placement.address != "auto":
        _check_reachable(placement.address)


def start(placement: Placement, data_bytes: int) -> None:
    """Start Ray here, or connect to the cluster at ``placement.address``, whose nodes are sent this package's code (not what it
    depends on).

    Raises:
        UserError: nothing answers at the address, or the cluster has too few GPUs.
    """
    import ray

    if ray.is_initialized():
        return
    if placement.address:
        try:
            ours = [str(Path(__file__).resolve().parents[1] / name) for name in ("pipeline", "rl")]
            ray.init(placement.address, log_to_driver=False, logging_level=logging.ERROR, runtime_env={"py_modules": ours})
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"no Ray cluster could be joined at {placement.address}; start one with `ray start --head`."
            ) from error
    else:
        workers = worker_count(placement)
        ray.init(
            num_cpus=workers + 1,
            include_dashboard=False,
            object_store_memory=max(120_000_000, 2 * data_bytes),
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    gpus = ray.cluster_resources().get("GPU", 0)
    if placement.gpus_per_worker > gpus:
        raise UserError(
            f"a worker needs {placement.gpus_per_worker:g} GPUs and the cluster has {gpus:g}; lower --gpus-per-worker."
        )


def prepare_environment(own_cluster: bool = True) -> None:
    """Settings that Ray, MLflow and OpenMP read once, at import: no telemetry, one thread, a token file of one's own.

    Args:
        own_cluster: Ray is started here; a cluster that runs already has a token, which Ray finds where ``ray start`` left it.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    has_token = "RAY_AUTH_TOKEN_PATH" in os.environ or "RAY_AUTH_TOKEN" in os.environ
    if own_cluster and not has_token:
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(_private_token())
    elif has_token or (Path.home() / ".ray" / "auth_token").exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # or ray.init does not show the token to a cluster that asks for it


def worker_count(placement: Placement) -> int:
    """Actors to start."""
    if placement.workers:
        return placement.workers
    if placement.gpus_per_worker and not placement.address:
        import torch

        return max(1, int(torch.cuda.device_count() / placement.gpus_per_worker))
    return os.cpu_count() or 1


def run_tasks(
    function: Callable[..., Any], tasks: Sequence[Any], shared: Mapping[str, Any], placement: Placement
) -> Iterator[tuple[int, Any]]:
    """``(index, function(task, device=…, **shared))`` for every task, as they are done.

    ``shared`` is put into Ray's object store once. An actor that dies is replaced and its task done again.

    Raises:
        Whatever ``function`` raises; RuntimeError when a task's actors died ``ATTEMPTS`` times.
    """
    if placement.local or not tasks:
        _one_thread()
        for index, task in enumerate(tasks):
            yield index, function(task, device="cuda" if placement.gpus_per_worker else "cpu", **shared)
        return
    yield from _run_on_actors(function, tasks, shared, placement)


def _run_on_actors(
    function: Callable[..., Any], tasks: Sequence[Any], shared: Mapping[str, Any], placement: Placement
) -> Iterator[tuple[int, Any]]:
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    references = {name: ray.put(value) for name, value in shared.items()}
    actor_class: Any = ray.remote(num_cpus=1, num_gpus=placement.gpus_per_worker, max_restarts=0)(_Worker)
    waiting, attempts = list(range(len(tasks)))[::-1], [0] * len(tasks)
    actors = min(worker_count(placement), len(tasks), _room(placement))
    idle = [actor_class.remote(**references) for _ in range(actors)]
    running: dict[Any, tuple[int, Any]] = {}
    device = "cuda" if placement.gpus_per_worker else "cpu"
    try:
        while waiting or running:
            while waiting and idle:
                index, actor = waiting.pop(), idle.pop()
                attempts[index] += 1
                running[actor.run.remote(function, tasks[index], device)] = (index, actor)
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            index, actor = running.pop(done)
            try:
                result = ray.get(done)
            except RayTaskError as error:
                idle.append(actor)  # so that it ends with the others
                raise error.cause from error
            except RayActorError as error:
                if attempts[index] >= ATTEMPTS:
                    raise RuntimeError(f"{attempts[index]} workers died on the same task ({tasks[index]}): {error}") from error
                waiting.append(index)
                idle.append(actor_class.remote(**references))
                continue
            idle.append(actor)
            yield index, result
    finally:
        for actor in [*idle, *(actor for _, actor in running.values())]:
            ray.kill(actor)


def _room(placement: Placement) -> int:
    """How many actors the cluster can hold at once: one beyond that would wait for ever, and its task with it."""
    import ray

    resources, share = ray.cluster_resources(), placement.gpus_per_worker
    room = resources.get("CPU", 1)
    if share:
        room = min(room, resources.get("GPU", 0) * (1 // share if share < 1 else 1 / share))
    return max(1, int(room))


class _Worker:
    """An actor: the shared data, and one thread."""

    def __init__(self, **shared: Any) -> None:
        _one_thread()
        self.shared = shared

    def run(self, function: Callable[..., Any], task: Any, device: str) -> Any:
        return function(task, device=device, **self.shared)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _check_reachable(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"--address {address!r} is no address; give host:port, ray://host:port or auto.")
    try:
        with socket.create_connection((host, int(port)), timeout=3) as connection:
            connection.sendall(_GREETING)
            answer = connection.recv(9)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"no Ray cluster answers at {address} ({error}); start one with `ray start --head` or drop --address."
        ) from error
    if answer[3:4] != _SETTINGS:
        raise UserError(f"what answers at {address} is no Ray cluster; start one with `ray start --head` or drop --address.")


def _private_token() -> Path:
    """A file that only this user can read, with the token by which Ray's processes know each other."""
    import secrets

    path = Path.home() / ".cache" / "grad-instructor" / "ray-token"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, stat.S_IRUSR | stat.S_IWUSR)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    return path
