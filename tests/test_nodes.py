"""The same job on one node and on three, started as on as many machines: the same numbers, bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.faults import RUN, cluster, free_port
from tests.support.tiny_run import HANGS, assert_mirrored, assert_same, finish, results

CLUSTER = """
import dataclasses, json, os, sys
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "1"
from pipeline.cluster import Placement, prepare_environment, run_tasks
prepare_environment()
from pipeline.seeding import stream
import ray
from ray.cluster_utils import Cluster

def where(task, *, device, folder):
    import time
    from pathlib import Path
    Path(folder, str(task)).touch()
    while task < 3 and sum(Path(folder, str(number)).exists() for number in range(3)) < 3:  # the first three at once
        time.sleep(0.05)
    return ray.get_runtime_context().get_node_id(), stream(task, "numbers")

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
for _ in range(2):
    cluster.add_node(num_cpus=1)
ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
results = dict(run_tasks(where, range(9), {"folder": sys.argv[1]}, Placement(workers=3)))
assert len({node for node, _ in results.values()}) == 3, results
assert [number for _, (_, number) in sorted(results.items())] == [stream(task, "numbers") for task in range(9)]
"""


@pytest.mark.slow  # a Ray of three nodes
def test_a_cluster_of_three_nodes_is_used_whole(tmp_path):
    done = subprocess.run([sys.executable, "-c", CLUSTER, tmp_path], capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow  # two runs of the program
@pytest.mark.parametrize("cores", [(1,), (1, 1, 1)], ids=["one node", "three nodes"])
def test_nodes_started_by_ray_start_give_the_same_numbers(cores, undisturbed, folder):
    """`ray start --head` and as many `ray start --address` as there are further nodes, joined by --address."""
    with cluster(*cores) as (address, nodes, variables):
        finish(folder, *RUN, "--address", address, **variables)
        assert len(nodes) == len(cores)
    assert_same(results(folder / "run"), results(undisturbed))
    assert_mirrored(folder / "run", undisturbed)


@pytest.mark.slow  # a run of the program
def test_a_job_that_is_submitted_gives_the_same_numbers(undisturbed, folder):
    """`ray start --head --include-dashboard=true` and `ray job submit -- grad-instructor run --address auto`."""
    needed = "Ray's dashboard is not installed; pip install '.[cluster]'"
    pytest.importorskip("ray.dashboard.optional_deps", reason=needed, exc_type=ImportError)
    port, ours = free_port(), [sys.executable, "-m", "pipeline.command_line"]
    with cluster(2, dashboard=port) as (_, _, variables):
        submit = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", f"http://127.0.0.1:{port}", "--"]
        submit += [*ours, *RUN, "--address", "auto", "--workers", "1", "--output", str(folder / "run")]
        environment = os.environ | variables | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
        done = subprocess.run(submit, env=environment, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert_same(results(folder / "run"), results(undisturbed))
    assert_mirrored(folder / "run", undisturbed)
