"""Child processes that end when the one that started them has ended, also by SIGKILL, which leaves it no time to say so.

A child's standard input is a pipe whose other end its parent alone holds, and never writes to. Once that end is closed, for
whatever reason, the child sends SIGTERM to itself, and to its whole group where that is its own. A pipe and a thread are all
that is needed, on every system; Linux' own signal at a parent's death reaches the child, and none of those that it has started.

python children.py MODULE ...     # what :func:`start` starts: ``python -m MODULE ...``, which watches its parent
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any


def start(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """Start a module of Python's that ends with this process.

    Args:
        command: ``[sys.executable, "-m", MODULE, ...]``.
        options: of ``subprocess.Popen``. Wait for it with ``wait``: ``communicate`` closes the pipe at once.

    Raises:
        ValueError: the command is of another form.
    """
    python, flag, *module = command
    if flag != "-m":
        raise ValueError(f"a module is started as [python, '-m', module, ...], and this is {list(command)}")
    return subprocess.Popen([python, __file__, *module], stdin=subprocess.PIPE, **options)


def in_pool() -> None:
    """The initialiser of a pool's processes, which would wait for ever for work from one that was killed."""
    import multiprocessing

    if parent := multiprocessing.parent_process():

        def watch() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


def _watch() -> None:
    while os.read(0, 1024):
        pass
    if hasattr(os, "getpgrp") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGTERM)
    else:
        os.kill(os.getpid(), signal.SIGTERM)


def _be_one() -> None:
    """Become the module that the arguments name, with the path that ``-m`` gives."""
    import runpy

    if not sys.flags.safe_path:
        sys.path[0] = os.getcwd()
    threading.Thread(target=_watch, daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _be_one()
