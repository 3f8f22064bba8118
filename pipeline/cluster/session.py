"""Ray, started here or joined, and ended."""

import logging
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline import interrupts
from pipeline.cluster import watch
from pipeline.cluster.placement import Placement, worker_count
from pipeline.errors import UserError, reason_of

STARTS = 4
"""how often Ray is started before it is given up: on busy machines its processes need longer than it waits for them"""
PATIENCE = 10.0
"""seconds for a process that was killed to be gone"""


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
    if not placement.address:
        watch.watch(_children() - children)
    gpus = ray.cluster_resources().get("GPU", 0)
    if placement.gpus_per_worker > gpus:
        raise UserError(
            f"a worker needs {placement.gpus_per_worker:g} GPUs and the cluster has {gpus:g}; lower --gpus-per-worker."
        )


def _start(placement: Placement, data_bytes: int) -> None:
    import ray

    if placement.address:
        try:
            ours = [str(Path(__file__).resolve().parents[2] / name) for name in ("pipeline", "rl")]
            ray.init(placement.address, log_to_driver=False, logging_level=logging.ERROR, runtime_env={"py_modules": ours})
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"no Ray cluster could be joined at {placement.address}; start one with `ray start --head`."
            ) from error
    else:
        for again in reversed(range(STARTS)):
            children = _children()
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
                    _end(set(watch.needed(_children() - children)))  # or their end would be told as that of the next ones
                    continue
                reason = reason_of(error).split(". ")[0]
                raise UserError(
                    f"Ray could not be started here ({reason}); give the same command again, or use --local."
                ) from error


def _children() -> set[Any]:
    import psutil

    return set(psutil.Process().children(recursive=True))


def _end(processes: set[Any]) -> None:
    """Kill them, and wait for their end."""
    import psutil

    for process in processes:
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile
            process.kill()
    psutil.wait_procs(processes, timeout=PATIENCE)


def is_running() -> bool:
    """Whether this process has started or joined a Ray."""
    ray = sys.modules.get("ray")
    return hasattr(ray, "is_initialized") and ray.is_initialized()  # pyright: ignore[reportOptionalMemberAccess]


def stop() -> None:
    """End the Ray that was started, or leave the cluster that was joined."""
    watch.let_go()
    if is_running():
        sys.modules["ray"].shutdown()
