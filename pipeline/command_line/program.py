"""The command ``grad-instructor``: a process of its own, which can be interrupted well before anything heavy is imported."""

import atexit
import os
import sys

from pipeline import interrupts


def program() -> None:
    """Run the command that this process was started for, and end it with its exit code."""
    _open_what_is_closed()
    atexit.register(interrupts.end)
    interrupts.install()
    try:
        from pipeline.command_line import discretion
        from pipeline.command_line.dispatch import flush, run

        discretion.install()
        code = run(sys.argv[1:])
        code = flush() or code
    except KeyboardInterrupt:
        print(f"\n{interrupts.GOODBYE}", file=sys.stderr)
        code = interrupts.INTERRUPTED
    if code == interrupts.INTERRUPTED:  # Python's tidying up after torch and Ray takes seconds
        os._exit(code)
    interrupts.over(code)
    sys.exit(code)


def _open_what_is_closed() -> None:
    """A service may start a program without input or output. The next files to be opened would take their place, and whatever
    is written to the screen would be written into them."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
