"""Where work runs: in this process, on this machine's cores and GPUs, or on a cluster of Ray's.

``--local`` runs the same function in this process. All give the same numbers: a task's numbers depend on the task alone, and
every worker computes with one thread.
"""

from pipeline.cluster.environment import NO_HOME, prepare_environment
from pipeline.cluster.placement import Placement, check, worker_count
from pipeline.cluster.pool import run_tasks
from pipeline.cluster.session import is_running, start, stop

__all__ = [
    "NO_HOME",
    "Placement",
    "check",
    "is_running",
    "prepare_environment",
    "run_tasks",
    "start",
    "stop",
    "worker_count",
]
