"""What the code says of itself, as Markdown: the settings with their defaults, and the public names with their docstrings."""

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from benchmarks import tables
from pipeline.config import Config

PACKAGE = "grad_instructor"
SHARED = {
    "feedback": "Random feedback",
    "sign_symmetric": "Feedback with the weights' signs",
    "target_propagation": "Targets",
    "trained": "What rules train of their own",
}
"""files of pipeline/learning that several rules share, and the headings of what they say"""
SETTINGS = {Config, *(type(getattr(Config(), own.name)) for own in dataclasses.fields(Config))}
"""whose fields are in the settings"""
SECTIONS = ("Args:", "Returns:", "Raises:", "Yields:", "Attributes:")


def settings() -> str:
    """A section per group of settings: a table of names, defaults and what they mean."""
    alone, groups = [], []
    for item in dataclasses.fields(Config):
        value = getattr(Config(), item.name)
        if not dataclasses.is_dataclass(value):
            alone.append((item.name, value, meanings(Config)[item.name]))
            continue
        told = meanings(type(value))
        rows = [(f"{item.name}.{own.name}", getattr(value, own.name), told[own.name]) for own in dataclasses.fields(value)]
        groups.append((item.name, inspect.getdoc(type(value)) or "", rows))
    parts = [_settings_table(alone)]
    parts += [f"## {name}\n\n{_markdown(about)}\n\n{_settings_table(rows)}" for name, about, rows in groups]
    return "\n\n".join(parts)


def _settings_table(rows: list[tuple[str, Any, str]]) -> str:
    lines = ["| setting | default | what it is |", "| --- | --- | --- |"]
    lines += [f"| `{name}` | {_default(value)} | {_cell(told)} |" for name, value, told in rows]
    return "\n".join(lines)


def _cell(told: str) -> str:
    return _markdown(" ".join(told.split())).replace("|", r"\|")


def _default(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_default(item) for item in value) or "none"
    return f"`{value}`" if str(value) else "none"


def meanings(kind: type) -> dict[str, str]:
    """The strings below a dataclass's fields, by field."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, below in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            found[field.target.id] = str(below.value.value) if is_text else ""  # type: ignore[union-attr]
    return found


def rules() -> str:
    """A section per learning rule: what its file says of it, and its settings; before them what several share."""
    learning = importlib.import_module("pipeline.learning")
    parts = [f"## {title}\n\n{module(f'pipeline.learning.{name}')}" for name, title in SHARED.items()]
    for name, kind in learning.SIGNALS.items():
        parts.append(f"## {name}\n\n{module(f'pipeline.learning.{name}')}")
        own = [f"- `{field}`: {_cell(told)}" for field, told in _settings_of(kind).items()]
        parts += ["*Settings:*", "\n".join(own)] if own else []
    return "\n\n".join(parts)


SERVED = {
    "layers": "all that are made of layers",
    "positions": "all that are made of layers, at positions",
    "chains": "chains",
}
"""what a rule's :attr:`pipeline.learning.SignalRule.serves` means to whoever has a module"""


def served() -> str:
    """Rows of a table: which modules a learning rule serves."""
    signals = importlib.import_module("pipeline.learning").SIGNALS
    rules = {kind: [f"`{name}`" for name, own in signals.items() if own.serves == kind] for kind in SERVED}
    return "\n".join(f"| {', '.join(names)} | {SERVED[kind]} |" for kind, names in rules.items())


def language() -> str:
    """The language of equations: its operands and operators, as their registries have them."""
    home = "pipeline.learning.expression"
    grammar, operands, unaries, binaries = (
        importlib.import_module(f"{home}.{name}") for name in ("grammar", "operands", "unaries", "binaries")
    )
    leaves = [
        [_code(own.name), _code(own.plain), grammar.said(own.shape), own.means + " (ours; no search proposes it)" * own.ours]
        for own in operands.OPERANDS.values()
    ]
    ones = [
        [_code(own.shown.replace("∙", "x")), _code(own.name), own.means, ", ".join(f"{value:g}" for value in own.values)]
        for own in unaries.UNARIES.values()
    ]
    pairs = [[_code(own.shown), _code(own.name), own.means] for own in binaries.BINARIES.values()]
    return tables.blocks(
        f"### Types\n\n{module(f'{home}.grammar')}",
        f"### Spelling\n\n{module(f'{home}.spelling')}",
        "### Operands and operators",
        tables.table(["operand", "ASCII", "rows × columns", "what it is"], leaves, 4),
        tables.table(["unary operator", "ASCII", "what it does to x", "c in a search"], ones, 4),
        tables.table(["binary operator", "ASCII", "what it makes of two"], pairs, 3),
        f"### Equal equations\n\n{module(f'{home}.simplify')}",
        module(f"{home}.fingerprint"),
    )


def _code(text: str) -> str:
    """In a cell of a table."""
    return f"`{text}`".replace("|", "\\|")


def predictors() -> str:
    """A table of all predictors, and a section for each: what its file says of it, and its settings."""
    registry = importlib.import_module("pipeline.predictors").PREDICTORS
    head = ["predictor", "looks at", "at which layers", "BatchNorm by", "weights that no path uses"]
    lines = [f"| {' | '.join(head)} |", "| --- | --- | --- | --- | --- |"]
    sections = []
    for name, kind in registry.items():
        seen = ", ".join(word for word, there in (("images", kind.data), ("labels", kind.labels)) if there) or "no data"
        statistics = {"batch": "the batch", "example": "each example", "none": "–"}[kind.statistics]
        dead = "count" if kind.dead_weights else "–"
        lines.append(f"| [`{name}`](#{name}) | {seen} | {kind.layers} | {statistics} | {dead} |")
        sections.append(f"## {name}\n\n{module(f'pipeline.predictors.{name}')}\n\n*Source:* {kind.source}.")
        own = {field: told for field, told in _settings_of(kind).items() if field != "examples"}
        if own:
            sections += ["*Settings:*", "\n".join(f"- `{field}`: {_cell(told)}" for field, told in own.items())]
    return "\n\n".join(["\n".join(lines), *sections, f"## az_nas\n\n{module('pipeline.predictors.az_nas')}"])


def _settings_of(kind: type) -> dict[str, str]:
    """The fields of a learning rule's class, those that it has from others first, and what they mean."""
    found: dict[str, str] = {}
    settings = (
        {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()
    )  # and nothing that belongs to the class
    for base in reversed(kind.__mro__):
        if dataclasses.is_dataclass(base) and "__annotations__" in vars(base):
            found |= {name: told for name, told in meanings(base).items() if name in settings}
    return found


def samplers() -> str:
    """A table of the samplers of a search: what each is, and which options it reads."""
    from pipeline.search.samplers import SAMPLERS

    lines = ["| sampler | what it does | its options |", "| --- | --- | --- |"]
    for name, form in SAMPLERS.items():
        lines.append(f"| `{name}` | {_cell(form.says)} | {', '.join(f'`{own}`' for own in form.takes) or 'none'} |")
    return "\n".join(lines)


def search_file() -> str:
    """A table for each part of a search's file: its keys, their defaults and what they mean."""
    from pipeline.search import values

    parts = []
    for kind in (values.Sampler, values.Scheduler, values.Budget, values.Stage, values.Record, values.Predict):
        told, name = meanings(kind), "stages" if kind is values.Stage else kind.__name__.lower()
        rows = []
        for own in dataclasses.fields(kind):
            given = own.default is not dataclasses.MISSING
            rows.append((own.name, own.default if given else "to be given", told[own.name]))
        rows = [(own, "" if default is None else default, text) for own, default, text in rows]
        parts.append(f"### {name}\n\n{_markdown(inspect.getdoc(kind) or '')}\n\n{_settings_table(rows)}")
    return "\n\n".join(parts)


def kinds() -> str:
    """A table of the kinds of search: what may vary, and what candidates are compared by."""
    from pipeline.search.kinds import KINDS

    lines = ["| kind | candidates | settings that may vary | compared by |", "| --- | --- | --- | --- |"]
    for name, kind in KINDS.items():
        varied = ", ".join(f"`{own}*`" for own in kind.searched)
        lines.append(f"| `{name}` | {kind.over} | {varied} | {', '.join(f'`{own}`' for own in kind.objectives)} |")
    return "\n".join(lines)


def module(name: str) -> str:
    """What a module says of itself."""
    return _markdown(inspect.getdoc(importlib.import_module(name)) or "")


def api() -> str:
    """Every public name with its signature and its docstring, those of one place in the code together, then the namespaces."""
    package = importlib.import_module(PACKAGE)
    public = {name: getattr(package, name) for name in package.__all__ if not name.startswith("__")}
    spaces = {name: value for name, value in public.items() if inspect.ismodule(value)}
    places: dict[str, list[str]] = {}
    for name, value in public.items():
        if name not in spaces:
            places.setdefault(_place(value), []).append(_entry(name, value))
    parts = [f"## {place}\n\n" + "\n\n".join(entries) for place, entries in places.items()]
    for name, value in spaces.items():
        own = [_entry(f"{name}.{one}", getattr(value, one)) for one in value.__all__ if one not in public]
        parts.append("\n\n".join([f"## {PACKAGE}.{name}\n\n{module(value.__name__)}", *own]))
    return "\n\n".join(parts)


def _place(value: Any) -> str:
    """A heading: where a name is made, without this project's packages of packages."""
    module = getattr(value, "__module__", None) or ""
    if not module.startswith(("pipeline", PACKAGE)):
        return "tables"
    return module.removeprefix("pipeline.").split(".")[0].replace("_", " ")


def _entry(name: str, value: Any) -> str:
    parts = [f"### {name}"]
    if callable(value):
        parts.append(f"```python\n{name}{_signature(value)}\n```")
    if callable(value):
        parts.append(_markdown(inspect.getdoc(value) or ""))
    if isinstance(value, dict):
        parts.append("One of: " + ", ".join(f"`{key}`" for key in value) + ".")
    if inspect.isclass(value):
        fields = [] if value in SETTINGS else [f"- `{field}`: {_cell(told)}" for field, told in _fields(value).items() if told]
        parts += ["*Fields:*", "\n".join(fields)] if fields else []
        methods = [
            f"- `{method}{_signature(found, True)}`: {_markdown(_first(found))}"
            for method, found in _methods(value)
            if _first(found)
        ]
        parts += ["*Methods:*", "\n".join(methods)] if methods else []
    return "\n\n".join(part for part in parts if part)


def _fields(kind: type) -> dict[str, str]:
    """What a class says below each of its fields."""
    return meanings(kind) if dataclasses.is_dataclass(kind) or issubclass(kind, tuple) else {}


def _methods(kind: type) -> Iterator[tuple[str, Any]]:
    for name, value in vars(kind).items():
        found = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if not name.startswith("_") and inspect.isfunction(found):
            yield name, found


def _first(value: Any) -> str:
    return " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())


def _signature(value: Any, method: bool = False) -> str:
    """Names, and defaults where they are short; the docstring says what they are."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return "(…)"
    names = [own for own in found.parameters.values() if not (method and own.name in ("self", "cls"))]
    shown = []
    for own in names:
        star = {own.VAR_POSITIONAL: "*", own.VAR_KEYWORD: "**"}.get(own.kind, "")
        default = "" if own.default is own.empty else f"={own.default!r}" if len(repr(own.default)) <= 24 else "=…"
        shown.append(f"{star}{own.name}{default}")
    return f"({', '.join(shown)})"


def _markdown(text: str) -> str:
    """A docstring: roles and double back quotes become single ones, sections of arguments become lists."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    text = re.sub(r"``([^`]+)``", r"`\1`", text)
    lines, inside = [], False
    for line in text.splitlines():
        if line.strip() in SECTIONS:
            inside = True
            lines += ["", f"*{line.strip()}*", ""]
        elif inside and line.startswith("    ") and not line.startswith("        "):
            name, colon, told = line.strip().partition(": ")
            lines.append(f"- `{name}`: {told}" if colon and len(name) < 60 else f"- {line.strip()}")
        elif inside and line.startswith("        "):
            lines.append(f"  {line.strip()}")
        else:
            inside = inside and not line.strip()
            lines.append(line)
    return re.sub(r"::$", ":", "\n".join(lines).strip(), flags=re.MULTILINE)
