"""``python -m grad_instructor``, and the command ``grad-instructor``: a process of its own."""

import os
import signal
import sys

from grad_instructor.neighbours import Shadowed, check, check_workers

WORKING = ("run", "train-enn", "instruct", "compare", "search", "predict")
"""commands that may start Ray"""


def program() -> None:
    """Run the command that this process was started for, once it is known that it will be Grad-Instructor's code that runs."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # until the command listens: nothing has begun
    try:
        check()
        if sys.argv[1:2] and sys.argv[1] in WORKING and not {"-h", "--help"} & set(sys.argv):
            check_workers()
    except Shadowed as error:
        print(f"grad-instructor: {error}", file=sys.stderr)
        sys.exit(2)
    from pipeline.command_line.program import program

    program()


if __name__ == "__main__":
    program()
