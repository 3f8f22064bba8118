"""What a process starts ends with it, however it ends."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pipeline import children

CHECKOUT = Path(__file__).resolve().parents[1]
SECONDS = 600
"""after which something is taken never to end"""
LIVES = 60
"""seconds that a child's child, which watches nothing, lives by itself; then it says so in a file"""
SLEEPS = f"""
import subprocess, sys
subprocess.run([sys.executable, '-c', 'import time; time.sleep({LIVES}); open("alone", "w").close()'])
"""
COUNT = 5
PARENT = f"""
import sys, time, psutil
from concurrent.futures import ProcessPoolExecutor
from pipeline import children

pool = ProcessPoolExecutor(2, initializer=children.in_pool).map(time.sleep, [1000] * 2)
alone = children.start([sys.executable, "-m", "timeit", "import time; time.sleep(1000)"])
group = children.start([sys.executable, "-m", "timeit", {SLEEPS!r}], process_group=0)
while len(psutil.Process().children(recursive=True)) < {COUNT}:
    time.sleep(0.01)
print(flush=True)
time.sleep(1000)
"""


def test_children_end_with_a_parent_that_is_killed(tmp_path):
    """One by itself, one that has started another, and a pool's."""
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=tmp_path, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline()
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    _, left = psutil.wait_procs(family, timeout=SECONDS)
    for one in left:
        one.kill()
    assert len(family) == COUNT and not left and not os.listdir(tmp_path), "none by itself"


def test_a_child_is_the_module_that_was_asked_for():
    """Its arguments, its path and its exit code are those of ``python -m``."""
    command = [sys.executable, "-m", "json.tool", "--no-such-option"]
    plain = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    process = children.start(command, stderr=subprocess.PIPE)
    assert process.wait(SECONDS) == plain.returncode == 2 and process.stderr and process.stderr.read() == plain.stderr
    with pytest.raises(ValueError, match="-m"):
        children.start([sys.executable, "-c", "pass"])
