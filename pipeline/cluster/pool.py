"""A pool of Ray actors that do tasks; the only place that places work on GPUs."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipeline.cluster.placement import Placement, device_of, room_for, worker_count

ATTEMPTS = 4
"""how often a task is given to an actor before the actors' deaths are taken to be the task's fault"""


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
            yield index, function(task, device=device_of(placement), **shared)
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
                actor = idle.pop() if idle else actor_class.remote(function, device_of(placement), **references)
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
    return wanted if placement.address else min(wanted, room_for(placement))


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
