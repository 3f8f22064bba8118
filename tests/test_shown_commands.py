"""Every command that a text of ours shows: our own ones are parsed by our parsers, those of others by theirs where they are
here; what is not tried at all is said to be so by the text that shows it, and so is the extra that a command needs."""

import argparse
import ast
import contextlib
import importlib
import importlib.util
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from pipeline.cluster import Placement
from pipeline.command_line.beginning import compare_defaults
from pipeline.command_line.options import Command, Options, PredictCommand, ReportCommand, SearchCommand
from pipeline.command_line.parsing import expand_aliases, option, parse
from pipeline.command_line.registry import COMMANDS
from pipeline.config import PRESETS
from pipeline.errors import UserError

CHECKOUT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
FILES = [
    *(CHECKOUT / name for name in ("README.md", "SECURITY.md", "Makefile")),
    *sorted((CHECKOUT / "cluster").iterdir()),
    *sorted((CHECKOUT / "tune_configs").iterdir()),
    *sorted((CHECKOUT / "notebooks").glob("*.ipynb")),
    *sorted((CHECKOUT / "docs").rglob("*.md")),
    *(path for name in ("pipeline", "rl", "benchmarks") for path in sorted((CHECKOUT / name).rglob("*.py"))),
    *sorted((CHECKOUT / "pipeline" / "enn" / "shipped").glob("*.json")),
]

RAY = "start|stop|status|up|exec|attach|submit|down|rsync-down|rsync-up|dashboard|monitor|job|get-auth-token"
PROGRAM = re.compile(
    rf"(?:^|(?<=[\s`'\"]))(?:grad-instructor [a-z]|python3? (?:benchmarks/|-m )|ray (?:{RAY})\b|"
    r"kubectl |docker (?:build|run|push)\b|helm |sbatch |pip3? install )"
)
"""where a command begins, wherever it stands"""
MAKE = re.compile(r"^make [a-zA-Z]")
"""in code alone, since others make things too"""
WORDS = re.compile(r"make |grad-instructor |python|ray |kubectl |docker |helm |sbatch |pip")
"""without any of them there is no command"""
VARIABLE = re.compile(r"\$\{?[A-Za-z_]\w*(\[[^\]]*\])?\}?")
"""of a shell"""

NOT_TRIED = {
    r"ray (up|exec|attach|down|rsync-|dashboard|stop)": "a cloud|machines of your own|several machines",
    r"kubectl |helm ": "Kubernetes",
    r"docker ": "Docker",
    r"sbatch |srun ": "Slurm",
}
"""what no test does, and what it needs; the text must say so in a sentence with the words "not tried here\""""
EXTRAS = {
    r"ray (job|up|exec|down|rsync-|dashboard)|ray start .*--(include-dashboard=true|dashboard-host)": "cluster",
    r"python -m benchmarks\.prediction\b": "benchmarks",
    r"python -m benchmarks\.assisted": "architectures",
    r"grad-instructor predict( --architectures|.* --dataset cifar10)": "architectures",
    r"grad-instructor search tune_configs/nas_[rea]": "architectures",
}
"""what a command needs beyond `pip install .`; the text must name the extra"""


# -- collecting --------------------------------------------------------------------------------------------------------


def shown_in(path: Path) -> list[str]:
    """The commands that a file shows, without comments behind them."""
    text = path.read_text()
    if not WORDS.search(text):
        return []
    if path.suffix == ".py":
        pieces = [piece for string in strings(text) for piece in [*spans(string), *no_prose(lines(string))]]
    elif path.suffix == ".md":
        blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", text, flags=re.DOTALL)
        pieces = [*spans(re.sub(r"```.*?```", "", text, flags=re.DOTALL)), *(line for block in blocks for line in lines(block))]
    elif path.suffix == ".ipynb":
        cells = ["".join(cell["source"]) for cell in json.loads(text)["cells"]]
        pieces = [piece for cell in cells for piece in [*spans(cell), *(line for line in lines(cell) if line.startswith("!"))]]
    elif path.suffix == ".json":
        pieces = [json.loads(text)["card"]["command"]]
    else:
        pieces = [*spans(text), *lines(re.sub(r"`[^`\n]*`", "", text))]
    commands = [command for piece in pieces for part in parts(piece) if (command := begun(part))]
    return list(dict.fromkeys(commands))


def strings(source: str) -> Iterator[str]:
    """The strings of a module, X for what is filled in."""
    nodes = list(ast.walk(ast.parse(source)))
    filled = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    inside = {id(part) for node in filled for part in ast.walk(node)} - set(map(id, filled))
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def spans(text: str) -> list[str]:
    """What stands between back quotes, within a paragraph."""
    return [" ".join(span.split()) for span in re.findall(r"`+([^`]+?)`+", text) if "\n\n" not in span]


def lines(text: str) -> list[str]:
    """Lines without the signs of comments and lists, those that go on joined."""
    joined = re.sub(r"\\\n[#\s]*", " ", text)
    return [re.sub(r"^[\s#\-@]*(entrypoint: |RUN |CMD )?", "", line) for line in joined.splitlines()]


def no_prose(texts: list[str]) -> list[str]:
    """Their parts, without those that begin as `make` does: in a sentence others make things too."""
    return [part for text in texts for part in parts(text) if not MAKE.search(part)]


def parts(line: str) -> list[str]:
    """The commands of a line, which one after the other."""
    return [part.strip() for part in re.split(r";|&&|, then | then: |\|\|", line)]


def begun(part: str) -> str | None:
    """The command in a part of a line, from its first word on."""
    found = MAKE.search(part) or PROGRAM.search(part)
    if not found:
        return None
    command = re.split(r"\s#|\s{2,}\(|\s{3,}|`", part[found.start() :])[0].strip()
    return re.sub(r"(?<=\S)[.,:)&}]+$", "", command.rstrip("& ")) or None


COLLECTED = [(path.relative_to(CHECKOUT).as_posix(), command) for path in FILES for command in shown_in(path)]


# -- holding them against what is known ----------------------------------------------------------------------------------


class Parsed(Exception):
    """A parser has taken all that it was given."""


def check(command: str) -> None:
    """That the command's program takes it.

    Raises:
        AssertionError: it does not, or nobody knows.
    """
    command = VARIABLE.sub("1", command.replace('"$@"', "").replace("…", "X"))
    words = split(command)
    while re.fullmatch(r"[A-Z_]+=\S+", words[0]):
        words.pop(0)
    program, arguments = words[0], words[1:]
    known = {"grad-instructor": ours, "python": python, "python3": python, "ray": rays, "make": makes, "pip": installs}
    known |= {"kubectl": names_a_file, "docker": names_a_file, "sbatch": slurm, "pip3": installs}
    assert program in known, f"nobody knows {program}"
    known[program](arguments)


def split(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # a quotation mark whose other half stands on in prose
        return command.replace("'", "").replace('"', "").split()


FLAGS = ("--local", "--json", "--quiet", "--download")
"""options without a value"""


def ours(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("X", "COMMAND", "--help"):
        return
    name, rest = arguments[0], expand_aliases(arguments[1:], arguments[0])
    assert name in COMMANDS, f"there is no command {name}"
    if not rest:
        return  # it is only named
    preset = option(rest, "--preset") or "digits"
    assert preset in PRESETS, preset
    default = Command(Options(), Placement(), PRESETS[preset])
    if name == "compare":
        default = compare_defaults(rest)
    kind, start = {"search": (SearchCommand, None), "predict": (PredictCommand, None)}.get(name, (type(default), default))
    if COMMANDS[name].only_looks:
        kind, start = COMMANDS[name].takes, None
    if name == "report":
        kind, start = ReportCommand, ReportCommand(**vars(default))
    if rest and rest[-1].startswith("--") and "=" not in rest[-1] and rest[-1] not in FLAGS:
        rest = [*rest, "X"]  # an option that a sentence names without a value
    try:
        parse(kind, start, name, rest)
    except UserError as error:
        raise AssertionError(str(error)) from error
    for word in rest:
        assert not word.startswith("tune_configs/") or "NAME" in word or (CHECKOUT / word).exists(), f"there is no {word}"


def python(arguments: list[str]) -> None:
    assert arguments[0] == "-m", arguments
    name, given = arguments[1].removesuffix("X"), arguments[2:]
    if name in ("benchmarks.NAME", "benchmarks."):
        return
    assert importlib.util.find_spec(name), f"there is no module {name}"
    if not name.startswith(("benchmarks.", "tests.support.")):
        return
    module = importlib.import_module(name)
    real = argparse.ArgumentParser.parse_args

    def only_parse(parser, *_, **__):
        if any(word.strip("'") == "X" for word in given):  # filled in when it is shown: the options' names are known
            unknown = {word for word in given if word.startswith("--")} - set(parser._option_string_actions)
            assert not unknown, f"there is no {unknown}"
        else:
            real(parser, given)
        raise Parsed

    said = io.StringIO()
    argparse.ArgumentParser.parse_args = only_parse  # type: ignore[method-assign]
    try:
        with contextlib.redirect_stderr(said), contextlib.suppress(Parsed):
            module.main()
            raise AssertionError(f"{name} parses nothing")
    except SystemExit:
        raise AssertionError(said.getvalue()) from None
    finally:
        argparse.ArgumentParser.parse_args = real  # type: ignore[method-assign]


def rays(arguments: list[str]) -> None:
    import click
    from ray.scripts.scripts import cli

    command, name, rest = cli, "ray", list(arguments)
    while isinstance(command, click.Group):
        name = rest.pop(0)
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"Ray has no command {name}"
        command = found
    if not rest:
        return  # it is only named
    try:
        command.make_context(name, list(rest))
    except click.ClickException as error:
        raise AssertionError(error.format_message()) from error
    for inner in (" ".join(rest[rest.index("--") + 1 :]) if "--" in rest else "", *rest):
        if inner.startswith("grad-instructor "):
            check(inner)
    cluster_files = [word for word in rest if word.startswith("cluster/")]
    assert all((CHECKOUT / word).exists() for word in cluster_files), cluster_files


def makes(arguments: list[str]) -> None:
    targets = re.findall(r"^([\w-]+):", (CHECKOUT / "Makefile").read_text(), flags=re.MULTILINE)
    asked = [word for word in arguments if "=" not in word and word != "X" and not word.startswith("$")]
    assert set(asked) <= set(targets), f"the Makefile has no {asked}"


def installs(arguments: list[str]) -> None:
    for word in arguments:
        found = re.fullmatch(r"(?:\.|grad-instructor)\[([\w,-]+)\]", word)
        assert not found or set(found[1].split(",")) <= set(PROJECT["optional-dependencies"]), f"there is no extra {word}"


def names_a_file(arguments: list[str]) -> None:
    files = [word for word in arguments if word.startswith("cluster/")]
    assert all((CHECKOUT / word).exists() for word in files), files
    if "grad-instructor" in arguments:
        ours(arguments[arguments.index("grad-instructor") + 1 :])


def slurm(arguments: list[str]) -> None:
    assert (CHECKOUT / arguments[0]).exists()
    ours(["run", *arguments[1:]])


def sentences(text: str) -> list[str]:
    """Of a text, without the signs of its comments."""
    return re.split(r"(?<=\.)\s", " ".join(re.sub(r"^\s*#", "", text, flags=re.MULTILINE).split()))


def untold(path: str, command: str, text: str) -> list[str]:
    """What a text should say of a command that it shows, and does not."""
    missing = [
        f"{path} does not say that `{command}` is not tried here, and that it needs {needs}"
        for program, needs in NOT_TRIED.items()
        if re.match(program, command)
        and not any("not tried here" in told.lower() and re.search(needs, told) for told in sentences(text))
    ]
    return missing + [
        f"{path} does not say that `{command}` needs pip install '.[{extra}]'"
        for needing, extra in EXTRAS.items()
        if re.match(needing, command) and not re.search(rf"(\.|grad-instructor)\[{extra}\]", text)
    ]


# -- the tests -----------------------------------------------------------------------------------------------------------


def test_many_are_found_in_all_kinds_of_files() -> None:
    assert len(COLLECTED) > 100
    found = set(COLLECTED)
    for path, command in (
        ("README.md", "make run"),
        ("README.md", "grad-instructor run --preset mnist"),
        ("README.md", "grad-instructor doctor"),
        ("README.md", "make test-all"),
        ("cluster/aws.yaml", "ray up cluster/aws.yaml"),
        ("cluster/slurm.sh", 'sbatch cluster/slurm.sh --preset mnist --output "$HOME/results/mnist"'),
        ("cluster/rayjob.yaml", "kubectl apply -f cluster/rayjob.yaml"),
        ("tune_configs/every_enn.yaml", "python -m benchmarks.predicted_enn FOLDER"),
        ("benchmarks/baselines.py", "python -m benchmarks.baselines --steps 330 --baseline adamw"),
        ("benchmarks/ship.py", "python -m benchmarks.ship digits-mlp runs/digits-3b5c"),
        ("pipeline/command_line/stages.py", "grad-instructor ui --output X"),
        ("pipeline/command_line/dispatch.py", "grad-instructor run"),
        ("pipeline/cluster/placement.py", "ray start --head"),
        ("pipeline/enn/shipped/digits-mlp.json", "grad-instructor run --preset digits"),
        ("notebooks/01_instruct_your_own.ipynb", "grad-instructor run --dataset mine.npz"),
    ):
        assert (path, command) in found, (path, command, [own for at, own in COLLECTED if at == path])
    assert any(path == "cluster/slurm.sh" and command.startswith("ray start --head") for path, command in COLLECTED)


def test_every_shown_command_is_one_that_its_program_takes() -> None:
    failed = []
    for path, command in COLLECTED:
        try:
            check(command)
        except AssertionError as error:
            failed.append(f"{path}: {command}: {error}")
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize(
    "wrong",
    [
        "grad-instructor rum",
        "grad-instructor run --presett mnist",
        "grad-instructor run --preset mnits",
        "grad-instructor search tune_configs/no_such_file.yaml",
        "grad-instructor ui --outputs x",
        "python -m benchmarks.nothing",
        "python -m benchmarks.baselines --stepps 3",
        "python -m benchmarks.baselines --baseline sgdd",
        "python -m pipeline.data.splitz",
        "make tests",
        "pip install '.[clutser]'",
        "ray job sumbit -- grad-instructor run",
        "ray job submit --adress x -- grad-instructor run",
        "ray job submit -- grad-instructor run --presett mnist",
        "ray start --heads",
        "ray up cluster/azure.yaml",
        "kubectl apply -f cluster/nothing.yaml",
        "sbatch cluster/slurm.sh --presett mnist",
        "helm install grad-instructor",
    ],
)
def test_a_wrong_command_is_noticed(wrong) -> None:
    with pytest.raises(AssertionError):
        check(wrong)


def test_what_is_not_tried_and_what_needs_more_is_said_to() -> None:
    missing = [told for path, command in COLLECTED for told in untold(path, command, (CHECKOUT / path).read_text())]
    assert not missing, "\n".join(missing)


def test_an_untold_need_is_noticed() -> None:
    assert untold("x", "kubectl apply -f x", "It runs on Kubernetes. Slurm is not tried here.")
    assert not untold("x", "kubectl apply -f x", "# Not tried here: it needs\n# Kubernetes.")
    assert untold("x", "ray job submit -- y", "pip install .") and not untold("x", "ray job submit -- y", "'.[cluster]'")


def test_the_extra_for_clusters_has_the_dashboard_of_the_same_ray() -> None:
    (ray,) = [Requirement(line) for line in PROJECT["dependencies"] if line.startswith("ray")]
    (dashboard,) = map(Requirement, PROJECT["optional-dependencies"]["cluster"])
    assert dashboard.name == "ray" and dashboard.extras == {"default"} and dashboard.specifier == ray.specifier


def test_a_token_is_made_as_the_files_of_clusters_say(tmp_path) -> None:
    shown = "ray get-auth-token --generate"
    assert shown in {command for _, command in COLLECTED}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_AUTH")} | {"HOME": str(tmp_path)}
    command = [sys.executable, "-m", "ray.scripts.scripts", *shown.split()[1:]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / ".ray" / "auth_token").read_text().strip()) >= 32
