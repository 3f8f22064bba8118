"""Ctrl-C, SIGTERM and a closed terminal as KeyboardInterrupt, put off while something must not be cut in two.

Whatever hangs, the process ends.

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
GRACE = 20.0
"""seconds from Ctrl-C to the end, whatever hangs: time enough on busy cores, and less than the 30 that Kubernetes gives"""
PATIENCE = 3.0
"""seconds that Ctrl-C waits for a request to MLflow"""
SIGNALS = [signal.SIGINT, signal.SIGTERM]
if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # it is under nohup
    SIGNALS.append(signal.SIGHUP)


class _State:
    put_off = pending = False
    terminals: tuple[int, ...] = ()
    """the file descriptors that are one"""


def install() -> None:
    """Take the signals over, for a new command."""
    _State.put_off = _State.pending = False
    _State.terminals = tuple(filter(os.isatty, (1, 2)))
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


def _stop(number: int, _frame: Any) -> None:
    if number == signal.SIGHUP:
        _print_into_nothing()
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    timer = threading.Timer(GRACE, _give_up)
    timer.daemon = True
    timer.start()
    _State.pending = True
    if not _State.put_off:
        raise KeyboardInterrupt
    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)


def _print_into_nothing() -> None:
    """Whatever is still printed on a terminal that is gone would raise OSError, and hide that this is an interrupt."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for terminal in _State.terminals:
        os.dup2(nothing, terminal)


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def _give_up() -> None:
    """End at once; Ray's processes end with this one."""
    os.write(2, f"\n{GOODBYE}\n".encode())
    os._exit(INTERRUPTED)
