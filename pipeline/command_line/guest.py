"""A command that is called in somebody's process, a notebook's or a test's, leaves it as it was.

What the libraries that a command uses change of a process is put back: Ray takes over signals, faulthandler and excepthook,
RLlib seeds every generator of random numbers and asks torch for deterministic algorithms, MLflow's database sets up logging.
"""

import faulthandler
import io
import logging
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from pipeline import interrupts

QUIETENED = ("ray.rllib", "ray.tune")
"""loggers that are told to say less"""


@contextmanager
def as_before() -> Iterator[None]:
    """Signal handlers, environment, working folder, logging, hooks, streams, threads and random numbers are those of before
    when the block ends, however it ends."""
    with ExitStack() as undo:
        for remember in (_environment, _folder, _hooks, _logging, _streams, _torch, _random):
            undo.callback(remember())
        undo.enter_context(interrupts.as_before())
        yield


def _environment() -> Callable[[], None]:
    before = os.environ.copy()

    def restore() -> None:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update({name: value for name, value in before.items() if os.environ.get(name) != value})

    return restore


def _folder() -> Callable[[], None]:
    try:
        before = os.getcwd()
    except OSError:  # it was deleted
        return lambda: None

    def restore() -> None:
        with suppress(OSError):
            os.chdir(before)

    return restore


def _hooks() -> Callable[[], None]:
    hooks, watched = (sys.excepthook, threading.excepthook, sys.unraisablehook), faulthandler.is_enabled()

    def restore() -> None:
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
        if not watched:
            faulthandler.disable()

    return restore


def _logging() -> Callable[[], None]:
    loggers = [logging.root, *(one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger))]
    before = [(one, one.level, one.propagate, one.disabled, list(one.handlers)) for one in loggers]
    known, limit = {one.name for one in loggers}, logging.root.manager.disable

    def restore() -> None:
        for one, level, one.propagate, one.disabled, one.handlers in before:
            one.setLevel(level)
        for name in QUIETENED:
            if name not in known:
                logging.getLogger(name).setLevel(logging.NOTSET)
        logging.disable(limit)

    return restore


def _streams() -> Callable[[], None]:
    before = [(one, one.errors) for one in (sys.stdout, sys.stderr) if isinstance(one, io.TextIOWrapper)]

    def restore() -> None:
        for stream, errors in before:
            if not stream.closed and stream.errors != errors:
                stream.reconfigure(errors=errors)

    return restore


def _torch() -> Callable[[], None]:
    torch: Any = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else None
    deterministic = torch.are_deterministic_algorithms_enabled() if torch else False
    cudnn = (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) if torch else (False, False)

    def restore() -> None:
        now: Any = sys.modules.get("torch")
        if not hasattr(now, "set_num_threads"):  # not there, or interrupted while it was imported
            return
        now.set_num_threads(threads or _usual_threads())
        if now.are_deterministic_algorithms_enabled() != deterministic:
            now.use_deterministic_algorithms(deterministic)
        now.backends.cudnn.deterministic, now.backends.cudnn.benchmark = cudnn

    return restore


def _usual_threads() -> int:
    """As many as torch takes by itself."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(asked) if asked.isdigit() and int(asked) else cores


def _random() -> Callable[[], None]:
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    ours, theirs = random.getstate(), numpy.random.get_state() if numpy else None
    drawn = torch.get_rng_state() if torch else None

    def restore() -> None:
        random.setstate(ours)
        if numpy:
            numpy.random.set_state(theirs)
        if torch:
            torch.set_rng_state(drawn)

    return restore
