"""Options from words: tyro's errors as one sentence each."""

import contextlib
import dataclasses
import difflib
import io
import itertools
import os
import re
import shutil
import textwrap
import typing
from collections.abc import Iterator
from typing import Annotated, Any

import tyro

from pipeline.command_line import comparing
from pipeline.command_line.options import Command
from pipeline.command_line.registry import COMMANDS
from pipeline.config import Config
from pipeline.errors import UserError

HELP = {"-h", "--help", "--help-all"}
ALIASES = {"--dataset": "--data.dataset"}
NARROWEST = 50
"""columns for which help is laid out at least; a narrower screen breaks its lines"""


def parse(kind: Any, default: Any, name: str, arguments: list[str]) -> Any:
    """The options of a command, or None when its help was asked for.

    Raises:
        UserError: one sentence about the first thing that is wrong.
    """
    if HELP & set(arguments):
        _print_help(kind, name, default, "--help-all" in arguments)
        return None
    errors = io.StringIO()
    given = {} if default is None else {"default": default}
    texts = _texts(name)
    try:
        with contextlib.redirect_stderr(errors):
            parsed, unknown = tyro.cli(kind, **given, **texts, args=arguments, return_unknown_args=True)
        if not unknown:
            return parsed
        problem = _unknown(unknown[0], kind)
    except SystemExit as stop:
        if not stop.code:
            return None
        problem = _one_sentence(errors.getvalue())
    raise UserError(f"{problem} (see `grad-instructor {name} --help`).")


def _texts(name: str, more: str = "") -> Any:
    return {"prog": f"grad-instructor {name}", "description": in_lines(f"{COMMANDS[name].text}.{more}", 2)}


def in_lines(text: str, indent: int = 0) -> str:
    """A text in lines that the screen holds, the second and later ones indented; a word is never broken."""
    width = max(shutil.get_terminal_size().columns, NARROWEST)
    return textwrap.fill(text, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def _print_help(kind: Any, name: str, default: Any, whole: bool) -> None:
    """What a command takes: of settings, unless the ``whole`` is asked for at their ``default``, the groups alone."""
    more, given = "", {"default": default} if whole and default is not None else {}
    if isinstance(kind, type) and issubclass(kind, Command) and not whole:
        hidden = Annotated[Config, tyro.conf.arg(name=""), tyro.conf.Suppress]
        brief = [("config", hidden, dataclasses.field(default_factory=Config))]
        kind = dataclasses.make_dataclass("Brief", brief, bases=(kind,), frozen=True)
        groups = typing.get_type_hints(Config)
        dotted = [f"--{group}.*" if dataclasses.is_dataclass(hint) else f"--{group}" for group, hint in groups.items()]
        more = f" Settings have dotted names: {', '.join(dotted)}; `grad-instructor {name} --help-all` explains each."
    with contextlib.suppress(SystemExit), _wide_enough():
        tyro.cli(kind, **given, **_texts(name, more), args=["--help"])


@contextlib.contextmanager
def _wide_enough() -> Iterator[None]:
    """tyro, which asks for the width of the screen, would write a letter a line on a narrower one."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(max(shutil.get_terminal_size().columns, NARROWEST))
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def option(arguments: list[str], name: str) -> str | None:
    """The value that is given to an option, before the options are parsed; the last, as there, where it is given twice."""
    found = None
    for index, argument in enumerate(arguments):
        given, equals, value = argument.partition("=")
        if dashed(given) != name:
            continue
        if equals:
            found = value
        elif index + 1 < len(arguments):
            found = arguments[index + 1]
    return found


def dashed(name: str) -> str:
    """An option as its help spells it: with underscores it is taken as well."""
    return name.replace("_", "-")


def expand_aliases(arguments: list[str], command: str = "") -> list[str]:
    """The words of a command with each short option by its whole name, and ~ for the home folder also where a shell leaves it
    (``--output=~/runs``)."""

    def expand(argument: str) -> str:
        if argument.startswith("~"):
            return os.path.expanduser(argument)
        name, equals, value = argument.partition("=")
        return ALIASES.get(name, name) + equals + (os.path.expanduser(value) if name.startswith("-") else value)

    expanded = [expand(argument) for argument in arguments]
    return comparing.words(expanded) if command == "compare" else expanded


def _unknown(argument: str, kind: Any) -> str:
    """What to say of an argument that no option takes."""
    name = argument.partition("=")[0]
    near = difflib.get_close_matches(name, _option_names(kind), n=2, cutoff=0.5)
    return f"unknown option {name}" + (f"; did you mean {' or '.join(near)}?" if near else "")


def _option_names(kind: Any, prefix: str = "--", depth: int = 0) -> list[str]:
    """Of a command's options: those of its own parts by their last name, settings by their dotted one."""
    names = []
    for name, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            names += _option_names(hint, f"{prefix}{name}." if depth else prefix, depth + 1)
        else:
            names.append(prefix + name.replace("_", "-"))
    return names


def _one_sentence(text: str) -> str:
    """tyro's box of text as one sentence: what stands between its title and its first ruled line, or its end."""
    lines = [line.strip(" │╭╮╰╯─") for line in re.sub(r"\x1b\[[0-9;]*m", "", text).strip().splitlines()]
    message = " ".join(itertools.takewhile(bool, lines[1:]) if len(lines) > 1 else lines)
    return message.replace(". Expected", "; expected").rstrip(".")
