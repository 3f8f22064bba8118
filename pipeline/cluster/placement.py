"""What is asked for, whether it is there, and how much work it has room for."""

import math
import os
import socket
from dataclasses import dataclass
from typing import Annotated

import tyro

from pipeline.errors import UserError

ANSWER = 30.0
"""seconds that a cluster may take to answer, on busy machines"""
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
    address: Annotated[str | None, tyro.conf.arg(metavar="STR", help_behavior_hint="")] = None
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


def worker_count(placement: Placement) -> int:
    """Actors that are wanted. On a cluster, more than it has room for is what its autoscaler is asked for."""
    if placement.workers:
        return placement.workers
    if placement.address:
        return room_for(placement)
    if placement.gpus_per_worker:
        import torch

        return max(1, int(torch.cuda.device_count() / placement.gpus_per_worker))
    return os.cpu_count() or 1


def room_for(placement: Placement) -> int:
    """How many actors the cluster, as it is now, can hold at once."""
    import ray

    resources, share = ray.cluster_resources(), placement.gpus_per_worker
    room = resources.get("CPU", 1)
    if share:
        room = min(room, resources.get("GPU", 0) * (1 // share if share < 1 else 1 / share))
    return max(1, int(room))


def device_of(placement: Placement) -> str:
    """Of a worker."""
    return "cuda" if placement.gpus_per_worker else "cpu"
