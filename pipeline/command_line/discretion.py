"""What is printed by others than us, in a process of our own: tracebacks, warnings and logs, without passwords and tokens."""

import errno
import logging
import sys
import threading
import traceback
import warnings
from types import TracebackType
from typing import Any

from pipeline.addresses import without_secrets


def install() -> None:
    """From now on all of these go through :func:`pipeline.addresses.without_secrets`."""
    sys.excepthook = _print_exception
    threading.excepthook = _print_of_a_thread
    form, record = warnings.formatwarning, logging.getLogRecordFactory()
    warnings.formatwarning = lambda *args, **keywords: without_secrets(form(*args, **keywords))
    logging.setLogRecordFactory(lambda *args, **keywords: _discreet(record(*args, **keywords)))


def _print_of_a_thread(raised: threading.ExceptHookArgs) -> None:
    error = raised.exc_value
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
        return  # it could not print: the main thread meets with that too, and says so
    _print_exception(raised.exc_type, error, raised.exc_traceback)


def _print_exception(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    print(_written(kind, error, trace), end="", file=sys.stderr, flush=True)


def _written(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> str:
    return without_secrets("".join(traceback.format_exception(kind, error, trace)))


def _discreet(record: logging.LogRecord) -> logging.LogRecord:
    told: Any = record.exc_info
    if told and told[0] is not None:
        record.exc_text = _written(*told).rstrip()
    try:
        record.msg, record.args = without_secrets(record.getMessage()), None
    except (TypeError, ValueError):  # its words and values do not fit together
        record.msg, record.args = without_secrets(f"{record.msg} {record.args}"), None
    return record
