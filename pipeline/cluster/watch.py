"""Ray's own processes on this machine, watched: where one is killed, Ray ends this process too, and fills the screen first."""

import os
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from pipeline import interrupts

NEEDED = {"raylet": "raylet", "gcs_server": "control store"}
"""without which Ray cannot go on, by the name of its program"""
LOST = 1
"""exit code"""


PRINTING = "print_to_stdstream"


class _State:
    watched: frozenset[int] = frozenset()
    printing: Any = None
    """Ray's function that prints a raylet's last words"""


def watch(processes: Iterable[Any]) -> None:
    """Of these, children of this process that were started for Ray, watch those that it cannot do without."""
    found = {process.pid: name for process, name in needed(processes).items()}
    _State.watched = frozenset(found)
    worker = sys.modules.get("ray._private.worker")
    if found and _State.printing is None and hasattr(worker, PRINTING):
        _State.printing = getattr(worker, PRINTING)
        setattr(worker, PRINTING, lambda *_args, **_keywords: None)
    for number, name in found.items():
        threading.Thread(target=_wait, args=(number, NEEDED[name]), daemon=True).start()


def needed(processes: Iterable[Any]) -> dict[Any, str]:
    """Those that Ray cannot do without, and their names; one that ends meanwhile is none of them."""
    import psutil

    found = {}
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if (name := process.name()) in NEEDED:
                found[process] = name
    return found


def let_go() -> None:
    """They are about to be ended."""
    _State.watched = frozenset()
    if _State.printing is not None:
        setattr(sys.modules["ray._private.worker"], PRINTING, _State.printing)
        _State.printing = None


def _wait(number: int, name: str) -> None:
    try:
        os.waitid(os.P_PID, number, os.WEXITED | os.WNOWAIT)  # it is left for Ray to take note of
    except ChildProcessError:  # whoever started it has heard already
        return
    if number not in _State.watched or interrupts.is_under_way():
        return
    _State.watched = frozenset()
    print(
        f"\ngrad-instructor: Ray's {name} was killed, and Ray ends with it (was memory short?); give the same command again to "
        "continue.",
        file=sys.stderr,
        flush=True,
    )
    if not interrupts.in_guest():
        os._exit(LOST)
