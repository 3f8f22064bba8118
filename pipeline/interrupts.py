"""Ctrl-C, SIGTERM and a closed terminal as KeyboardInterrupt, put off while something must not be cut in two.

Whatever hangs, a process of our own ends. In somebody else's, a second signal interrupts again, and nothing is ended but the
command. An MLflow request cut in two leaves a database locked, or a run that is made twice.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

INTERRUPTED = 130
"""exit code"""
GOODBYE = "grad-instructor: interrupted; give the same command again to continue."
GRACE = 20.0
"""seconds from Ctrl-C to the end, whatever hangs: time enough on busy cores, and less than the 30 that Kubernetes gives"""
PATIENCE = 3.0
"""seconds that Ctrl-C waits for a request to MLflow"""
AGAIN = 1.5
"""seconds after which an interrupt that nobody has heard is raised again: libraries swallow some, in an import, say"""
SIGNALS = [signal.SIGINT, signal.SIGTERM]
if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # it is under nohup
    SIGNALS.append(signal.SIGHUP)


class _State:
    put_off = pending = heard = False
    guest = True
    """until a program says that the process is its own"""
    terminals: tuple[int, ...] = ()
    """the file descriptors that are one"""
    replaced: dict[int, int] = {}  # noqa: RUF012 (there is one state)
    """terminals that are gone, and copies of them"""
    timer: threading.Timer | None = None
    unraisable: Callable[[Any], Any] = staticmethod(sys.__unraisablehook__)
    """that of whoever's process it is"""
    code: int | None = None
    """with which a command has ended, in a process of our own"""


def install(guest: bool = False) -> None:
    """Take the signals over, for a new command; ``guest``: in somebody else's process."""
    _State.put_off = _State.pending = _State.heard = False
    _State.guest = guest
    _State.terminals = tuple(filter(os.isatty, (1, 2)))
    if sys.unraisablehook is not _unraised:
        _State.unraisable, sys.unraisablehook = sys.unraisablehook, _unraised
    install_again()


def install_again() -> None:
    """Take the signals back from whoever has put handlers of their own in their place."""
    if _is_main_thread() and not _State.pending:
        for number in SIGNALS:
            signal.signal(number, _stop)


@contextmanager
def as_before() -> Iterator[None]:
    """The handlers of signals, their timer and a lost terminal are those of before when the block ends."""
    if not _is_main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}  # Ray Tune takes SIGUSR1, and stays
    timer = signal.getitimer(signal.ITIMER_REAL)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if _State.timer is not None:
            _State.timer.cancel()
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for terminal, copy in _State.replaced.items():
            os.dup2(copy, terminal)
            os.close(copy)
        _State.replaced = {}
        signal.setitimer(signal.ITIMER_REAL, *timer)


@contextmanager
def kept() -> Iterator[None]:
    """The signals stay ours during the block: Ray, when it starts, puts a handler in their place that ends the process."""
    own = signal.signal

    def keep(number: Any, handler: Any) -> Any:
        return signal.getsignal(number) if number in SIGNALS else own(number, handler)

    signal.signal = keep
    try:
        yield
    finally:
        signal.signal = own
    check()


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
    check()


def check() -> None:
    """Raises KeyboardInterrupt where a signal came that nobody has heard."""
    if _State.pending and not _State.heard:
        raise KeyboardInterrupt


def hear() -> None:
    """Whoever calls this tidies up after an interrupt: it is not raised again."""
    _State.heard = True
    if _State.pending and _is_main_thread():
        signal.setitimer(signal.ITIMER_REAL, 0)


def is_under_way() -> bool:
    """Whether a signal has come."""
    return _State.pending


def in_guest() -> bool:
    """Whether this process is somebody else's."""
    return _State.guest


def over(code: int) -> None:
    """The command is done and its status written: a signal that comes while Python tidies up ends the process at once."""
    _State.code = code
    for number in SIGNALS:
        signal.signal(number, lambda *_: os._exit(code))


def end() -> None:
    """The last of what Python calls at exit, if it was told first: it would give the signals back now, then take modules apart
    for a second, in which a signal would be taken for the end of a command that has ended well."""
    if _State.code is not None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # it is gone, or closed, or there was none
                stream.flush()
        os._exit(_State.code)


def _stop(number: int, _frame: Any) -> None:
    if number == signal.SIGHUP:
        _print_into_nothing()
    if _State.guest and _State.pending:
        raise KeyboardInterrupt
    if not _State.guest:
        for other in SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        _State.timer = threading.Timer(GRACE, _give_up)
        _State.timer.daemon = True
        _State.timer.start()
    _State.pending = True
    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE if _State.put_off else AGAIN, AGAIN)
    if not _State.put_off:
        raise KeyboardInterrupt


def _unraised(told: Any) -> None:
    """An interrupt that came while Python took an object apart, where nothing can be raised: it is raised again in a moment."""
    if not (_State.pending and issubclass(told.exc_type, KeyboardInterrupt)):
        _State.unraisable(told)


def _print_into_nothing() -> None:
    """Whatever is still printed on a terminal that is gone would raise OSError, and hide that this is an interrupt."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for terminal in _State.terminals:
        _State.replaced.setdefault(terminal, os.dup(terminal))
        os.dup2(nothing, terminal)
    os.close(nothing)


def _interrupt(_number: int, _frame: Any) -> None:
    if not _State.heard:
        raise KeyboardInterrupt


def _give_up() -> None:
    """End at once; Ray's processes end with this one."""
    os.write(2, f"\n{GOODBYE}\n".encode())
    os._exit(INTERRUPTED)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
