"""The command line: ``grad-instructor COMMAND [options]``. Nothing heavy is imported before a command is known to be sound."""

if __name__ == "__main__":  # before the imports that take time, so that a process of its own can be interrupted well
    from pipeline.program import program

    program()

import contextlib
import dataclasses
import io
import itertools
import os
import re
import sys
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from pipeline import guest, interrupts
from pipeline.cluster import Placement, prepare_environment
from pipeline.config import PRESETS, Config, from_dotted, identity, to_dotted, validate
from pipeline.errors import UserError, shown, without_secrets

COMMANDS = {
    "run": "the whole story: train an ENN, compare training with and without it, explain it, report",
    "train-enn": "train an ENN by off-policy RL on the training runs of real targets",
    "instruct": "train fresh targets with and without the ENN's instruction (needs train-enn)",
    "explain": "Grad-CAM: what the ENN looks at, over the weight image (needs instruct)",
    "report": "look at the test set, once: the table and the plots (needs instruct)",
    "search": "search over settings by a file of tune_configs: record once, judge in stages, stop early, report",
    "sync": "send records to MLflow that could not be sent before",
    "ui": "open the MLflow UI on a run's folder",
    "doctor": "print versions, devices, data sets found, and the tracking server's health",
}
LOOKING = ("ui", "sync", "doctor")
"""commands that only look"""
WITHOUT_RAY = (*LOOKING, "explain", "report")
ALIASES = {"--dataset": "--data.dataset"}


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where things are. None of this changes a number."""

    output: Path | None = None
    """folder of the results (default: runs/NAME-HASH, a search's runs/search-NAME-HASH); given again, the work goes on there"""
    data_folder: str | None = None
    """folder of MNIST, Fashion-MNIST and CIFAR-10 (default: $GRAD_INSTRUCTOR_DATA, else ~/.cache/grad-instructor)"""
    download: bool = False
    """fetch a data set that is not there"""
    storage_path: str | None = None
    """storage that a copy of the results is kept in (NFS folder, s3://bucket/folder); another machine goes on from it"""
    tracking_uri: str | None = None
    """MLflow server or database (default: mlflow.db in the output folder)"""
    experiment: str = "grad-instructor"
    """MLflow experiment"""


@dataclass(frozen=True, kw_only=True)
class Options(Places):
    """Where things are, and which settings to start from."""

    preset: str = "digits"
    """settings to start from: digits, mnist, mnist-tuned, fashion, paper-shallow or paper-deep"""
    config: Path | None = None
    """JSON or YAML file of settings by dotted name (a search's best.json, a run's config.json); options go before it"""
    adapt: str | None = None
    """an ENN (a file, or the name of one that comes with the package) that keeps learning from the runs that it instructs,
    in place of a new one"""


@dataclass(frozen=True)
class Command:
    """What every working command takes."""

    options: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=Options)
    placement: Annotated[Placement, tyro.conf.arg(name="")] = field(default_factory=Placement)
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)

    @property
    def folder(self) -> Path:
        """The output folder."""
        name = (
            self.options.preset
            if self.config.data == PRESETS[self.options.preset].data
            else Path(self.config.data.dataset).stem
        )
        return (self.options.output or Path("runs") / f"{name}-{identity(self.config)}").absolute()


@dataclass(frozen=True, kw_only=True)
class SearchCommand(Places):
    """What ``search`` takes."""

    file: Annotated[Path, tyro.conf.Positional]
    """a YAML file such as tune_configs/smoke.yaml: space, sampler, scheduler, budget, objectives"""
    placement: Annotated[Placement, tyro.conf.arg(name="")] = field(default_factory=Placement)


@dataclass(frozen=True)
class Look:
    """What the commands take that only look: ui, sync, doctor."""

    output: Path | None = None
    """folder of a run (default: the newest in runs/)"""
    data_folder: str | None = None
    """folder of the data sets"""
    tracking_uri: str | None = None
    """MLflow server or database (default: mlflow.db in the folder)"""
    experiment: str = "grad-instructor"
    """MLflow experiment"""
    host: str = "127.0.0.1"
    """ui: address to listen on"""
    port: int = 5000
    """ui: port to listen on"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command in somebody's process, which is left as it was; the exit code: 0, 2 for bad input, 130 when interrupted.

    Args:
        arguments: instead of the process's own.
    """
    with guest.as_before():
        interrupts.install(guest=True)
        return run(sys.argv[1:] if arguments is None else arguments)


def run(argv: list[str]) -> int:
    """Run one command, with the signals taken over; the exit code."""
    try:
        _print_what_can_be_printed()
        works = bool(argv) and argv[0] in COMMANDS and argv[0] not in WITHOUT_RAY and not {"-h", "--help"} & set(argv)
        prepare_environment(not any(word.partition("=")[0] == "--address" for word in argv), works)
        return dispatch(argv)
    except UserError as error:
        print(f"grad-instructor: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        interrupts.hear()
        print(f"\n{interrupts.GOODBYE}", file=sys.stderr)
        return interrupts.INTERRUPTED
    except BrokenPipeError:
        return 1


def dispatch(argv: list[str]) -> int:
    """Find the command, read its options, and do it."""
    if not argv or argv[0] in ("-h", "--help"):
        print(overview())
        return 0 if argv else 2
    if argv[0] == "--version":
        from pipeline import __version__

        print(f"grad-instructor {__version__}")
        return 0
    name, rest = argv[0], _expand_aliases(argv[1:])
    line = "grad-instructor " + " ".join(map(without_secrets, argv))
    if name not in COMMANDS:
        raise UserError(f"unknown command {name!r}; choose from {', '.join(COMMANDS)}.")
    if name in LOOKING:
        look = parse(Look, Look(), name, rest)
        if look is None:
            return 0
        from pipeline import commands

        return getattr(commands, name)(look)
    if name == "search":
        search = parse(SearchCommand, None, name, rest)
        if search is None:
            return 0
        from pipeline.search import command as searching

        return searching.work(search, line)
    command = parse(Command, _defaults(rest), name, rest)
    if command is None:
        return 0
    validate(command.config)
    from pipeline import commands

    return commands.work(name, command, line)


def overview() -> str:
    """What ``grad-instructor --help`` prints."""
    lines = [f"  {name:<10} {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: grad-instructor COMMAND [options]",
            "",
            "Train an Evaluation Neural Network (ENN) on the training runs of many small networks, and instruct new ones.",
            "",
            *lines,
            "",
            "Start with:  grad-instructor run          (real handwritten digits, about two minutes)",
            "then:        grad-instructor run --preset mnist",
            "Options of a command:  grad-instructor COMMAND --help",
        ]
    )


def parse(kind: Any, default: Any, name: str, arguments: list[str]) -> Any:
    """The options of a command, or None when its help was asked for.

    Raises:
        UserError: one sentence about the first thing that is wrong.
    """
    errors = io.StringIO()
    given = {} if default is None else {"default": default}
    texts: Any = {"prog": f"grad-instructor {name}", "description": COMMANDS[name] + "."}
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


def _defaults(arguments: list[str]) -> Command:
    """Where the settings start from: the preset, or the folder that is continued; for another ENN with ``--adapt``."""
    command, adapt = _beginning(arguments), _option(arguments, "--adapt")
    if adapt is None:
        return command
    from pipeline.setting import adapting

    return replace(command, config=adapting(command.config, adapt))


def _beginning(arguments: list[str]) -> Command:
    """The settings of ``--config``, of the folder that is continued, or of the preset."""
    preset, output, file = (_option(arguments, name) for name in ("--preset", "--output", "--config"))
    if file is not None:
        preset, config = settings_of(Path(file), preset)
        return Command(Options(preset=preset), Placement(), config)
    if preset is None and output is not None and (saved := saved_settings(Path(output))) is not None:
        return Command(Options(preset=saved[0]), Placement(), saved[1])
    if preset is not None and preset not in PRESETS:
        import difflib

        near = difflib.get_close_matches(preset, PRESETS, n=1, cutoff=0.0)[0]
        raise UserError(f"unknown preset {preset!r}; choose from {', '.join(PRESETS)} (did you mean {near}?).")
    return Command(Options(), Placement(), PRESETS[preset or "digits"])


def settings_of(path: Path, preset: str | None = None) -> tuple[str, Config]:
    """The preset and the settings that a file gives: ``{"preset": NAME, "settings": {DOTTED: VALUE}}``, or ``{DOTTED: VALUE}``.

    Raises:
        UserError: it cannot be read, or says what is no setting.
    """
    from pipeline.search.yaml_text import load_yaml

    try:
        values = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the settings {path} ({error.strerror}); give a JSON or YAML file.") from error
    except ValueError as error:
        raise UserError(f"{path} is not text; give a JSON or YAML file of settings.") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if not isinstance(values, dict) or not isinstance(values.get("settings", {}), dict):
        raise UserError(f"{path} holds no settings; give dotted names and values, such as 'rl.gamma: 0.9'.")
    name = preset or values.get("preset", "digits")
    settings = values["settings"] if "settings" in values else {key: item for key, item in values.items() if key != "preset"}
    if name not in PRESETS:
        raise UserError(f"{path}: the preset {name!r} is unknown; choose from {', '.join(PRESETS)}.")
    try:
        return name, from_dotted(to_dotted(PRESETS[name]) | settings)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def saved_settings(folder: Path) -> tuple[str, Config] | None:
    """The preset and the settings of the run in a folder; None where there is no run.

    Raises:
        UserError: its config.json cannot be read, is damaged, or is of another version.
    """
    from pipeline.files import read_json

    path = folder / "config.json"
    if not os.path.exists(path):
        return None
    saved = read_json(path)
    try:
        preset, config = saved["preset"], from_dotted(saved["settings"])
        if preset in PRESETS:
            return preset, config
        reason = f"the preset {shown(preset)} is unknown"
    except (UserError, LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError) as error:
        reason = str(error).rstrip(".") if isinstance(error, UserError) else "it is not what this program writes"
    raise UserError(f"{path} holds no settings that this version can read ({reason}); choose another --output.")


def check_settings(command: Command) -> None:
    """Raises UserError where the output folder holds a run of other settings. Nothing is written.

    Data are told apart by what is in them, not by the path of their file (see :func:`pipeline.compare.folder.check_data`).
    """
    saved = saved_settings(command.folder)
    if saved is not None:
        compare_settings(str(command.folder), to_dotted(saved[1]), to_dotted(command.config))


def compare_settings(place: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raises UserError where the run in ``place`` has other settings (by dotted name) than are given here."""
    files = all(name.endswith(".npz") for name in (here["data.dataset"], str(there["data.dataset"])))
    changed = [key for key in here if here[key] != there[key] and not (files and key == "data.dataset")]
    if changed:
        key, more = changed[0], f", and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise UserError(
            f"{place} holds a run with other settings ({key} is {there[key]!r} there and {here[key]!r} here{more}); "
            "choose another --output or drop the options."
        )


def make_folder(command: Command) -> Path:
    """The command's output folder, which is there afterwards.

    Raises:
        UserError: it cannot be made.
    """
    try:
        command.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the output folder {command.folder} ({error.strerror}); choose another --output."
        ) from error
    return command.folder


def _option(arguments: list[str], name: str) -> str | None:
    for index, argument in enumerate(arguments):
        if argument == name and index + 1 < len(arguments):
            return arguments[index + 1]
        if argument.startswith(name + "="):
            return argument.split("=", 1)[1]
    return None


def _expand_aliases(arguments: list[str]) -> list[str]:
    def expand(argument: str) -> str:
        name, equals, value = argument.partition("=")
        return ALIASES.get(name, name) + equals + value

    return [expand(argument) for argument in arguments]


def _unknown(argument: str, kind: Any) -> str:
    """What to say of an argument that no option takes."""
    import difflib

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


def _print_what_can_be_printed() -> None:
    """λ and ρ become question marks where the terminal's encoding lacks them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def newest_folder(runs: Path = Path("runs")) -> Path:
    """The folder in ``runs`` that was worked in last.

    Raises:
        UserError: there is none.
    """
    folders = [path.parent for path in runs.glob("*/config.json")]
    if not folders:
        raise UserError("no run was found in ./runs; give its folder with --output.")
    return max(folders, key=lambda folder: (folder / "config.json").stat().st_mtime).absolute()
