"""The imports of this project, drawn from its code: what a module imports, at its top or inside of a function.

python -m tests.arrow                 # the picture: docs/images/imports.svg
python -m tests.arrow --check         # exit code 1 where the picture is stale

The arrow is stated in :mod:`pipeline`: a module imports from its own package and from what stands to the left of it.
"""

import ast
import functools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "imports.svg"
PACKAGES = ("pipeline", "rl", "grad_instructor")

LATER = r"(pipeline|rl)(\.\w+)+(:\w+)?"
"""the name of what is imported when it is asked for"""
Graph = Mapping[str, set[str]]
"""module → the modules of this project that it imports"""


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(root: Path = ROOT) -> Graph:
    """The graph of all imports but those that only a type checker sees."""
    known = modules(root)
    return {name: set(_imported(path, name, known)) for name, path in known.items()}


def _imported(path: Path, name: str, known: Mapping[str, Path]) -> Iterator[str]:
    nodes = list(_running(_parsed(path.read_text(encoding="utf-8"))))
    names = [alias for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    packages = {alias.asname or alias.name: alias.name for alias in names if alias.name in PACKAGES}
    packages |= {alias.name.split(".")[0]: alias.name.split(".")[0] for alias in names if not alias.asname}
    for node in nodes:
        for imported in [*_named(node), *_reached(node, packages)]:
            parts = imported.split(".")
            whole = next((".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in known), None)
            if whole and whole != name:
                yield whole


@functools.cache
def _parsed(text: str) -> ast.Module:
    """Each module is looked at several times."""
    return ast.parse(text)


def names_library(path: Path, library: str) -> bool:
    """Whether a module imports from a library, also for a type checker alone."""
    nodes = ast.walk(_parsed(path.read_text(encoding="utf-8")))
    named = (name for node in nodes for name in _named(node))
    return any(f"{name}.".startswith(f"{library}.") for name in named)


def computed(path: Path, name: str) -> list[int]:
    """Lines on which a module imports by a name that is put together, and not of its own package: where to, nobody can see."""
    calls = [node for node in ast.walk(_parsed(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    return [node.lineno for node in calls if _is_computed(node, name)]


def _is_computed(node: ast.Call, name: str) -> bool:
    if not re.search(r"\b(import_module|__import__)$", ast.unparse(node.func)):
        return False
    what = node.args[0] if node.args else None
    first = what.values[0] if isinstance(what, ast.JoinedStr) and what.values else what
    said = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
    if first is what:
        return not re.fullmatch(LATER, said)
    own = ".".join(name.split(".")[:2])
    return "." not in own or not said.startswith(f"{own}.")


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that may run."""
    for child in ast.iter_child_nodes(tree):
        test = ast.unparse(child.test) if isinstance(child, ast.If) else ""
        if isinstance(child, ast.If) and re.fullmatch(r"(not )?(typing\.)?TYPE_CHECKING", test):
            for other in child.body if test.startswith("not") else child.orelse:
                yield from (other, *_running(other))
            continue
        yield child
        yield from _running(child)


def _named(node: ast.AST) -> list[str]:
    """What a node imports: by a statement, or by a name that is looked up later (``"pipeline.x:function"``)."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert not node.level, "imports are absolute here"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(LATER, node.value):
        return [node.value.partition(":")[0]]
    return []


def _reached(node: ast.AST, packages: Mapping[str, str]) -> list[str]:
    """What a node takes from a package that was imported as a whole (``pipeline.x.function``).

    Args:
        packages: what such packages are called here, and what they are.
    """
    if not isinstance(node, ast.Attribute):
        return []
    called, _, rest = ast.unparse(node).partition(".")
    return [f"{packages[called]}.{rest}"] if called in packages else []


def arrow() -> list[str]:
    """The packages (and modules) of ``pipeline`` from left to right, as its docstring states them; groups share a place."""
    text = ast.get_docstring(ast.parse((ROOT / "pipeline" / "__init__.py").read_text(encoding="utf-8"))) or ""
    stated = re.search(r"``([^`]*→[^`]*)``", text)
    assert stated, "pipeline/__init__.py states no arrow"
    return [" ".join(part.split()) for part in stated[1].split("→")]


def place(module: str, stations: Iterable[str]) -> str:
    """The station of the arrow that a module belongs to.

    Raises:
        LookupError: it belongs to none.
    """
    parts = module.split(".")
    if parts[0] in ("rl", "grad_instructor"):
        return parts[0]
    for station in stations:
        if len(parts) > 1 and parts[1] in re.findall(r"\w+", station):
            return station
    raise LookupError(f"{module} stands nowhere on the arrow of pipeline/__init__.py")


def circles(graph: Graph) -> list[list[str]]:
    """Sets of modules that import each other, directly or by way of others (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            cut = stack.index(name)
            members = stack[cut:]
            del stack[cut:]
            if len(members) > 1:
                found.append(sorted(members))

    for name in graph:
        if name not in index:
            visit(name)
    return found


def between_stations(graph: Graph) -> dict[tuple[str, str], int]:
    """How many imports lead from one station to another."""
    stations, counts = arrow(), {}
    for name, others in graph.items():
        for other in others:
            if "." in name and "." in other:
                pair = (place(name, stations), place(other, stations))
                if pair[0] != pair[1]:
                    counts[pair] = counts.get(pair, 0) + 1
    return counts


def picture(graph: Graph) -> str:
    """An SVG: stations from left to right, an arc for imports, wider for more of them; below the line, those of rl/."""
    stations = [*arrow(), "rl"]
    counts = {pair: count for pair, count in between_stations(graph).items() if "grad_instructor" not in pair}
    step, base = 92, 330
    at = {station: 50 + step * number for number, station in enumerate(stations)}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {step * len(stations) + 10} 470" font-family="sans-serif" '
        'font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="14" y="24" font-size="14">What imports what: an arc from a package to each that it imports '
        "(they lie to its left; those of and to rl/ below the line); width: how many imports</text>",
    ]
    for (one, other), count in sorted(counts.items()):
        of_rl = "rl" in (one, other)
        left, right = sorted((at[one], at[other]))
        width = (right - left) / 2
        height, sweep, colour = (0.16 * width, 0, "#b35c00") if of_rl else (0.42 * width, 1, "#336699")
        parts.append(
            f'<path d="M {left} {base} A {width} {height:.0f} 0 0 {sweep} {right} {base}" fill="none" '
            f'stroke="{colour}" stroke-opacity="0.55" stroke-width="{min(6.0, 0.8 + 0.25 * count):.1f}">'
            f"<title>{one} imports {other}: {count}</title></path>"
        )
    for station, x in at.items():
        words = station.split(" ")[0].strip("(,")
        parts.append(f'<circle cx="{x}" cy="{base}" r="5" fill="#222"/>')
        parts.append(
            f'<text x="{x}" y="{base + 20}" text-anchor="middle" paint-order="stroke" stroke="white" '
            f'stroke-width="3">{words}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def main() -> int:
    drawn = picture(imports())
    if "--check" in sys.argv[1:]:
        return int(not PICTURE.exists() or PICTURE.read_text(encoding="utf-8") != drawn)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(drawn, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
