"""Which modules of this project a module imports, directly or by way of others, at its top or inside of a function.

Read from the text, so that it does not depend on what a process has come to import so far, and quickly, by statements'
beginnings and by strings: what is no import but looks like one counts as one. tests/arrow.py reads the same from syntax trees;
a test holds one against the other.

- A package's ``__init__`` counts with each of its modules.
- What imports by a name that is put together imports all of its own package (:func:`pipeline.names.registered`).
- What documentation shows, or only a type checker sees, is no import.
- A string that names a module, such as ``"rl.env:make"`` or ``"pipeline.command_line"``, imports it, but for the keys of a
  dictionary, as names of settings look alike.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

PACKAGES = ("pipeline", "rl", "grad_instructor", "benchmarks")
REGISTRIES = "pipeline.names"
"""imports what others name, each in its own package"""
_PACKAGE = rf"(?:{'|'.join(PACKAGES)})\b"
_LIST = r"\((?:[^()#]|#[^\n]*\n)*\)|[^\n]*"
_FROM = re.compile(rf"(?:^|[;:])[ \t]*from[ \t]+({_PACKAGE}[\w.]*)[ \t]+import[ \t]*({_LIST})", re.M)
_IMPORT = re.compile(r"(?:^|[;:])[ \t]*import[ \t]+([^\n;]*)", re.M)
_STRING = re.compile(rf"""["']({_PACKAGE}(?:\.\w+)+)(?::\w+["']|["'](?!\s*:))""")
_DOTTED = re.compile(rf"\b{_PACKAGE}(?:\.\w+)+")
_UNSEEN = re.compile(
    r'^[ \t]*[rR]?"""(?:[^"\\]|\\.|"(?!""))*"""|^([ \t]*)if (?:typing\.)?TYPE_CHECKING:\n(?:\1[ \t]+[^\n]*\n|\n)+', re.M
)
_PUT_TOGETHER = re.compile(r"\b(?:import_module|__import__|registered)\(")


def needed(file: Path, root: Path) -> dict[str, Path]:
    """The file and all that it imports of the project in ``root``, by name, in alphabetical order."""
    known = modules(root)
    first = next((name for name, path in known.items() if path == file.resolve()), file.stem)
    found: dict[str, Path] = {}
    waiting = [(first, file)]
    while waiting:
        name, path = waiting.pop()
        if name not in found:
            found[name] = path
            waiting += [(other, known[other]) for other in imported(name, path, known)]
    return dict(sorted(found.items()))


def modules(root: Path) -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root.resolve() / package).rglob("*.py")):
            parts = path.relative_to(root.resolve()).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(name: str, path: Path, known: Mapping[str, Path]) -> set[str]:
    """What a module imports itself, and the packages that this is in."""
    text = _UNSEEN.sub("", path.read_text(encoding="utf-8")).replace("\\\n", " ")
    named = set(_named(text))
    if _PUT_TOGETHER.search(text) and name != REGISTRIES:
        own = name if path.name == "__init__.py" else name.rpartition(".")[0]
        named |= {other for other in known if other.startswith(f"{own}.")}
    return {part for one in [name, *named] for part in _with_packages(one) if part in known} - {name}


def _named(text: str) -> Iterator[str]:
    for package, names in _FROM.findall(text):
        yield package
        yield from (f"{package}.{word}" for word in re.findall(r"\w+", re.sub(r"#[^\n]*", "", names)))
    for statement in _IMPORT.findall(text):
        yield from (one.split()[0] for one in statement.split(",") if one.strip())
        if re.search(rf"\b{_PACKAGE}(?!\.)", statement):  # the whole package: what is taken from it is named later
            yield from _DOTTED.findall(text)
    yield from _STRING.findall(text)


def _with_packages(name: str) -> Iterable[str]:
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))
