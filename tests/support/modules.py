"""Programs in a process of their own that need not import torch and SciPy for themselves: ``python -m MODULE`` by forking.

The process that forks is a new one (``forkserver``): nothing that tests have done is in it.
"""

import atexit
import faulthandler
import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COMMON = ["numpy", "torch", "scipy.stats", "sklearn.ensemble", "matplotlib", "rich.console", "yaml"]
"""imported once; none of them starts a thread or reads the environment variables that tests set"""


def run_module(
    module: str, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], output: Path, seconds: float
) -> int:
    """Run ``python -m module arguments`` in ``folder``; its exit status.

    Args:
        output: a file for what it prints, errors in between.
        seconds: after which it is taken to hang, and is killed.

    Raises:
        TimeoutError: it hangs.
    """
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(COMMON)
    process = context.Process(target=_program, args=(module, list(arguments), folder, dict(environment), output))
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
        raise TimeoutError(f"{module} did not end in {seconds:.0f} s: {output.read_text()[-3000:]}")
    return process.exitcode


def _program(module: str, arguments: list[str], folder: Path, environment: dict[str, str], output: Path) -> None:
    with output.open("wb") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    faulthandler.enable()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # it is asked of the environment again
    multiprocessing.set_start_method(None, force=True)  # the default, as in any program
    sys.argv = [module, *arguments]
    sys.path[:0] = [str(folder), *environment.get("PYTHONPATH", "").split(os.pathsep)]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
