"""Ctrl-C and SIGTERM as KeyboardInterrupt, put off while something must not be cut in two. Whatever hangs, the process ends.

An MLflow request cut in two leaves a database locked, or a run that is made twice.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

INTERRUPTED = 130
"""exit code"""
GOODBYE = "grad-instructor: interrupted; give the same command again to continue."
GRACE = 8.0
"""seconds from Ctrl-C to the end, whatever hangs"""
PATIENCE = 3.0
"""seconds that Ctrl-C waits for a request to MLflow"""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _State:
    put_off = pending = False


def install() -> None:
    """Take the signals over, for a new command."""
    _State.put_off = _State.pending = False
    install_again()


def install_again() -> None:
    """Take the signals back: Ray puts handlers of its own in their place when it starts."""
    if threading.current_thread() is threading.main_thread() and not _State.pending:
        for number in SIGNALS:
            signal.signal(number, _stop)


@contextmanager
def put_off() -> Iterator[None]:
    """An interrupt waits for the end of the block, or ``PATIENCE`` seconds."""
    _State.put_off = True
    try:
        yield
    finally:
        _State.put_off = False
        if _State.pending:
            signal.setitimer(signal.ITIMER_REAL, 0)
    if _State.pending:
        raise KeyboardInterrupt


def _stop(_number: int, _frame: Any) -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    timer = threading.Timer(GRACE, _give_up)
    timer.daemon = True
    timer.start()
    _State.pending = True
    if not _State.put_off:
        raise KeyboardInterrupt
    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def _give_up() -> None:
    """End at once; Ray's processes end with this one."""
    os.write(2, f"\n{GOODBYE}\n".encode())
    os._exit(INTERRUPTED)
