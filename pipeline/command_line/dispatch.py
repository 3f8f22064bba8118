"""From the words of a command line to the command: parse, then call."""

import codecs
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pipeline import interrupts
from pipeline.addresses import keep_secret, keep_word, shown_address, without_secrets
from pipeline.cluster import prepare_environment
from pipeline.command_line import comparing, guest
from pipeline.command_line.beginning import compare_defaults, defaults
from pipeline.command_line.folders import check_name
from pipeline.command_line.options import Command, CompareCommand, ReportCommand
from pipeline.command_line.parsing import HELP, dashed, expand_aliases, in_lines, option, parse
from pipeline.command_line.registry import COMMANDS, function_of
from pipeline.config import validate
from pipeline.errors import UserError, nearest, shown


def in_a_guest(arguments: list[str] | None = None) -> int:
    """See :func:`pipeline.command_line.main`."""
    with guest.as_before():
        interrupts.install(guest=True)
        return run(sys.argv[1:] if arguments is None else arguments)


def run(argv: list[str]) -> int:
    """Run one command, with the signals taken over; the exit code."""
    try:
        _print_what_can_be_printed()
        _keep_secrets(argv)
        works = bool(argv) and argv[0] in COMMANDS and COMMANDS[argv[0]].uses_ray and not HELP & set(argv)
        prepare_environment(not any(word.partition("=")[0] == "--address" for word in argv), works)
        return dispatch(argv)
    except UserError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        interrupts.hear()
        print(f"\n{interrupts.GOODBYE}", file=sys.stderr)
        return interrupts.INTERRUPTED
    except BrokenPipeError:
        return 1
    except OSError as error:
        if error.filename is not None or _still_prints():
            raise
        return _cannot_print(error)


def dispatch(argv: list[str]) -> int:
    """Find the command, read its options, and do it."""
    if argv[:1] == ["help"]:
        argv = [*(argv[1:] if argv[1:2] and argv[1] in COMMANDS else []), "--help"]
    if not argv or argv[0] in HELP:
        print(overview())
        return 0 if argv else 2
    if argv[0] in ("--version", "version"):
        from pipeline import __version__

        print(f"grad-instructor {__version__}")
        return 0
    name = argv[0]
    if name not in COMMANDS:
        near = nearest(name, [*COMMANDS, "help", "version"])
        raise UserError(f"unknown command {shown(name)}; choose from {', '.join(COMMANDS)} (did you mean {near!r}?).")
    _check_here()
    words = expand_aliases(argv[1:], name)
    if option(words, "--output") == "":  # a variable that is not set, in a script: results would go to the working folder
        raise UserError("--output is empty; give a folder, or leave it out.")
    takes = COMMANDS[name].takes
    starts = {
        Command: lambda: defaults(words),
        CompareCommand: lambda: compare_defaults(words),
        ReportCommand: lambda: ReportCommand(**vars(defaults(words))),
    }
    brief = HELP & set(words) and "--help-all" not in words
    options = parse(takes, None if brief else starts.get(takes, lambda: None)(), name, words)
    if options is None:  # its help was asked for
        return 0
    if isinstance(options, CompareCommand):
        comparing.check_arms(options.config)
    places: Any = options.options if isinstance(options, Command) else options
    check_name(places.output)
    if isinstance(options, Command):
        validate(options.config)
    from pipeline.progress import saying

    with saying(getattr(places, "quiet", False), getattr(options, "json", False)):
        return function_of(name)(options, line_of(argv))


def _check_here() -> None:
    """Raises UserError where the working folder was deleted: libraries end the process on it, each in its own words."""
    try:
        os.getcwd()
    except OSError as error:
        raise UserError(
            "the folder that this is started in is no more; go to another one (cd), and give the same command again."
        ) from error


ADDRESSES = ("--tracking-uri", "--storage-path", "--address")
"""options whose values are addresses"""


SECRET_VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""of the environment, by which libraries are told what an address leaves out"""


def line_of(argv: Sequence[str]) -> str:
    """The line that was typed, as it is recorded: without passwords and tokens."""
    told, before = [], ""
    for word in argv:
        name, equals, value = word.partition("=")
        if dashed(before) in ADDRESSES:
            word = shown_address(word)
        elif dashed(name) in ADDRESSES and equals:
            word = f"{name}={shown_address(value)}"
        told.append(without_secrets(word))
        before = word
    return " ".join(["grad-instructor", *told])


def _keep_secrets(argv: Sequence[str]) -> None:
    """Before anything can be said of them."""
    for name in ADDRESSES:
        if address := option(list(argv), name):
            keep_secret(address)
    for word in argv:  # one that was given in the wrong place is told in a sentence about a file
        if "://" in word:
            keep_secret(word.partition("=")[2] if word.startswith("-") else word)
    keep_secret(os.environ.get("MLFLOW_TRACKING_URI", ""))
    for name in SECRET_VARIABLES:
        keep_word(os.environ.get(name, ""))


def overview() -> str:
    """What ``grad-instructor --help`` prints."""
    about = "Train an Evaluation Neural Network (ENN) on the training runs of many small networks, and instruct new ones."
    return "\n".join(
        [
            "usage: grad-instructor COMMAND [options]",
            "",
            in_lines(about),
            "",
            *(in_lines(f"  {name:<10} {entry.text}", 13) for name, entry in COMMANDS.items()),
            "",
            "Start with:  grad-instructor run          (real handwritten digits, about two minutes)",
            "then:        grad-instructor run --preset mnist",
            "Options of a command:  grad-instructor COMMAND --help  (--help-all with every setting)",
        ]
    )


def _still_prints() -> bool:
    """Whether what is to be printed gets there: a disk may be full that the output is kept on."""
    try:
        os.write(1, b"\n")
    except OSError:
        return False
    return True


def _cannot_print(error: OSError) -> int:
    """Say so, where that can be done, and let Python say no more of it when it ends; the exit code."""
    sys.stdout = None
    return _refuse(
        f"what is printed cannot be written ({error.strerror}); give the same command again, with its output elsewhere "
        "(earlier results are whole)."
    )


def _refuse(sentence: str) -> int:
    """Say what is wrong; the exit code."""
    with suppress(OSError):
        print(f"grad-instructor: {without_secrets(sentence)}", file=sys.stderr, flush=True)
    return 2


def flush() -> int:
    """Write out what is left to be printed; the exit code where that fails, else 0."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except BrokenPipeError:
        sys.stdout = None
        return 1
    except OSError as error:
        return _cannot_print(error)
    return 0


ALIKE = str.maketrans({"−": "-", "–": "-", "─": "-", "×": "x", "→": ">", "…": ".", "°": " ", "≤": "<", "≥": ">"})
"""what is printed in place of characters that an encoding lacks: a number keeps its sign"""


def _print_what_can_be_printed() -> None:
    """Where the terminal's encoding lacks characters, some have others that look alike; λ and ρ become question marks."""
    codecs.register_error("grad-instructor", _alike)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="grad-instructor")


def _alike(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end].translate(ALIKE)
    return found.encode("ascii", "replace").decode(), error.end
