"""The command ``grad-instructor``: a process of its own, which can be interrupted well before anything heavy is imported."""

import atexit
import os
import sys

from pipeline import interrupts


def program() -> None:
    """Run the command that this process was started for, and end it with its exit code."""
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
