"""Whether another ``pipeline`` or ``rl`` is in the way of Grad-Instructor's own.

Both are packages beside this one, and both names are common. Where Python would find somebody else's instead, an import would
fail with "'pipeline' is not a package", deep inside; here it is said in one sentence that names the file. Nothing but the
standard library is imported, and neither package is.
"""

import importlib.util
import os
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

NAMES = ("pipeline", "rl")
HOME = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
"""the folder that this package and its neighbours lie in"""
COMMAND_LINE = ("-m", "grad-instructor")
"""how a process of the command line is called while this package is imported; it prints its own sentence"""


class Shadowed(ImportError):
    """One of Grad-Instructor's packages cannot be imported, for another has its name. The message is one sentence.

    Sent to another process it is a plain ImportError: where it was raised, this module may not be there to be named.
    """

    def __reduce__(self) -> tuple[type[ImportError], tuple[str]]:
        return ImportError, (str(self),)


def check(names: Iterable[str] = NAMES) -> None:
    """Nothing, where an import of each of ``names`` gives Grad-Instructor's own package.

    Raises:
        Shadowed: names the file that is in the way.
    """
    for name in names:
        loaded = sys.modules.get(name)
        file = _file_of_module(loaded) if loaded else _file_of_spec(importlib.util.find_spec(name))
        if _is_ours(name, file):
            continue
        if file is None:
            raise Shadowed(f"Grad-Instructor's own package {name!r} is not in {HOME}; install Grad-Instructor again.")
        how = "was imported in place" if loaded else "is in the way"
        raise Shadowed(f"{file} {how} of Grad-Instructor's own package {name!r}; rename it, or start Python in another folder.")


def check_workers(folder: str | None = None) -> None:
    """Nothing, where Ray's processes will import Grad-Instructor's own packages: they look into the working folder first,
    where this process may not look at all.

    Args:
        folder: the working folder of the process that starts Ray (default: of this one).

    Raises:
        Shadowed: names the file that is in the way.
    """
    try:
        path = [folder or os.getcwd(), *sys.path]
    except OSError:  # the folder was deleted: nothing is in it
        return
    for name in NAMES:
        file = _file_of_spec(PathFinder.find_spec(name, path))
        if file is not None and not _is_ours(name, file):  # None: a finder of an editable installation comes next
            raise Shadowed(
                f"{file} is in the way of Grad-Instructor's own package {name!r} in Ray's processes, which look into the "
                "working folder first; rename it, or work in another folder."
            )


def is_command_line() -> bool:
    """Whether this process was started as ``python -m …`` or ``grad-instructor``, and not as somebody's script."""
    called = os.path.basename((getattr(sys, "argv", None) or [""])[0])
    return os.path.splitext(called)[0] in COMMAND_LINE


def _is_ours(name: str, file: str | None) -> bool:
    return file is not None and os.path.dirname(os.path.realpath(file)) == os.path.join(HOME, name)


def _file_of_module(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        return file
    return next(iter(getattr(module, "__path__", ())), f"something without a file ({module!r})")


def _file_of_spec(spec: ModuleSpec | None) -> str | None:
    if spec is None:
        return None
    if spec.has_location and spec.origin:
        return spec.origin
    return next(iter(spec.submodule_search_locations or ()), None)  # a folder without __init__.py
