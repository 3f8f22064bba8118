"""The arrow: who may import whom, read from the code. :mod:`tests.arrow` draws it."""

import pytest

from benchmarks import imports
from pipeline.config import Config, to_dotted
from tests import arrow

GRAPH = arrow.imports()
STATIONS = arrow.arrow()
TO_RL = ("command_line", "search")
"""what trains ENNs, and so imports rl/ when it does"""


def against_the_arrow(graph):
    """Every import that leads to the right, or to where it must not."""
    found = []
    for name, others in graph.items():
        for other in others:
            if not allowed(name, other):
                found.append(f"{name} imports {other}")
    return found


def allowed(name, other):
    if "." not in name and name != "rl":  # pipeline/__init__ and the public name
        return name == "grad_instructor"
    if name.startswith("grad_instructor") or other in ("pipeline", "rl"):
        return True
    if other.startswith("grad_instructor"):
        return False
    here, there = arrow.place(name, STATIONS), arrow.place(other, STATIONS)
    if here == there:
        return True
    if here == "rl":
        return there != "command_line"
    if there == "rl":
        return here in TO_RL
    return STATIONS.index(there) < STATIONS.index(here)


def test_every_import_follows_the_arrow():
    assert against_the_arrow(GRAPH) == []


def test_no_two_modules_import_each_other():
    assert arrow.circles(GRAPH) == []


BY_COMPUTED_NAMES = ("grad_instructor", "pipeline.names")
"""what looks names up in a table, and the registries, each of which names its own package"""


def test_what_is_imported_can_be_read_in_the_code():
    found = {name: arrow.computed(path, name) for name, path in arrow.modules().items()}
    assert {name: lines for name, lines in found.items() if lines and name not in BY_COMPUTED_NAMES} == {}
    assert all(found[name] for name in BY_COMPUTED_NAMES), "the search finds what is there"


@pytest.mark.parametrize(
    "line",
    [
        'import_module(f"pipeline.{name}")',
        'import_module(f"pipeline.enn.{name}")',
        'importlib.import_module("pipeline." + "enn")',
        "__import__(name)",
        'import_module("..enn", __package__)',
        "from pipeline.enn import files",
        "import pipeline\npipeline.enn.load_critic()",
        "import pipeline as p\np.enn.load_critic()",
        'late("pipeline.enn.files:shipped")',
        'import_module("pipeline.enn")',
        "if not TYPE_CHECKING:\n    import pipeline.enn",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import pipeline.enn",
        "if TYPE_CHECKING or True:\n    import pipeline.enn",
        "try:\n    import pipeline.enn\nexcept ImportError:\n    pass",
    ],
)
def test_no_way_to_import_goes_unseen(line, tmp_path):
    for name in ("config", "enn"):
        (tmp_path / "pipeline" / name).mkdir(parents=True)
        (tmp_path / "pipeline" / name / "__init__.py").touch()
    path = tmp_path / "pipeline" / "config" / "one.py"
    path.write_text(f"{line}\n")
    seen = against_the_arrow({"pipeline.config.one": arrow.imports(tmp_path)["pipeline.config.one"]})
    assert seen or arrow.computed(path, "pipeline.config.one")
    path.write_text('import_module(f"pipeline.config.{name}")\nimport_module("pipeline.config.two")\n')
    assert not against_the_arrow({"pipeline.config.one": arrow.imports(tmp_path)["pipeline.config.one"]})
    assert not arrow.computed(path, "pipeline.config.one")


def test_what_a_benchmarks_parts_depend_on_is_all_that_is_imported():
    """Read from lines, as the cache of benchmarks does, and from syntax trees, but for settings that are called as modules."""
    known = imports.modules(arrow.ROOT)
    some = [f"benchmarks.{name}" for name in ("quick", "rules", "scores", "pblf_wrn")]
    graph = {name: set(arrow._imported(known[name], name, known)) for name in some}
    settings = set(to_dotted(Config())) & known.keys()
    assert settings & graph["benchmarks.quick"] and not settings & imports.imported(some[0], known[some[0]], known)
    for name, others in (GRAPH | graph).items():
        assert others - (settings | {"rl"} if name in some else set()) <= imports.imported(name, known[name], known), name


def test_only_rl_knows_rllib():
    using = [name for name, path in arrow.modules().items() if arrow.names_library(path, "ray.rllib")]
    assert [name for name in using if not name.startswith("rl.")] == []
    assert using, "the search finds what is there"


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("pipeline.targets.mlp", "pipeline.enn"),
        ("pipeline.errors", "pipeline.config"),
        ("pipeline.compare", "pipeline.search"),
        ("pipeline.results.tables", "pipeline.compare"),
        ("pipeline.targets.mlp", "rl.train"),
        ("pipeline.search", "pipeline.command_line"),
        ("rl.train", "pipeline.command_line"),
        ("pipeline.enn", "grad_instructor"),
    ],
)
def test_an_import_against_the_arrow_is_seen(name, other):
    assert against_the_arrow({name: {other}})


def test_a_circle_is_seen_also_a_lazy_one(tmp_path):
    package = tmp_path / "pipeline"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "one.py").write_text("from pipeline import two\n")
    (package / "two.py").write_text("def late():\n    from pipeline.three import name\n")
    (package / "three.py").write_text("LATER = 'pipeline.one:function'\n")
    (package / "four.py").write_text("from pipeline import one\n")
    assert arrow.circles(arrow.imports(tmp_path)) == [["pipeline.one", "pipeline.three", "pipeline.two"]]


def test_what_only_a_type_checker_sees_is_no_import(tmp_path):
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "one.py").write_text(
        "if TYPE_CHECKING:\n    import pipeline.two\nelse:\n    import pipeline.three\n"
    )
    for name in ("two", "three"):
        (tmp_path / "pipeline" / f"{name}.py").touch()
    assert arrow.imports(tmp_path)["pipeline.one"] == {"pipeline.three"}


def test_a_module_that_stands_nowhere_is_refused():
    with pytest.raises(LookupError, match=r"pipeline\.elsewhere stands nowhere"):
        arrow.place("pipeline.elsewhere", STATIONS)


def test_the_picture_is_that_of_the_code():
    assert arrow.PICTURE.read_text(encoding="utf-8") == arrow.picture(GRAPH), "python -m tests.arrow draws it again"
