"""The commands that work, as functions: what ``grad-instructor run`` and ``grad-instructor search`` do, from Python.

The process that calls them is left as it was: signal handlers, environment, threads, random numbers, logging
(:mod:`pipeline.command_line.guest`). Given again, they go on where they stopped, or return what is done.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from grad_instructor.neighbours import check, check_workers

check()  # rl too: the ENN is trained there

from pipeline import interrupts  # noqa: E402
from pipeline.addresses import without_secrets  # noqa: E402
from pipeline.cluster import Placement, prepare_environment  # noqa: E402
from pipeline.command_line import guest  # noqa: E402
from pipeline.command_line.beginning import saved_settings  # noqa: E402
from pipeline.command_line.options import Command, Options, SearchCommand  # noqa: E402
from pipeline.command_line.registry import function_of  # noqa: E402
from pipeline.config import PRESETS, Config, preset_named, validate  # noqa: E402
from pipeline.files import read_json  # noqa: E402


@dataclass(frozen=True)
class Report:
    """What a run ends with."""

    folder: Path
    """where everything is"""
    rows: list[dict[str, Any]]
    """one for each arm: its name, test accuracy, paired difference, p …, as in ``report.json``"""
    head_to_head: list[dict[str, Any]]
    """arms compared with each other"""

    @property
    def enn(self) -> Path:
        """The ENN, for :func:`grad_instructor.load`."""
        return self.folder / "enn.safetensors"

    def __str__(self) -> str:
        return (self.folder / "report.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class SearchReport:
    """What a search ends with."""

    folder: Path
    """where everything is"""
    rows: list[dict[str, Any]]
    """one for each candidate: what was chosen, how it ended, its results, as in ``search.json``"""
    front: list[str]
    """names of the candidates that no other is better than in every objective"""
    best: list[Path]
    """``best.json``, or one for each group: settings that every command takes with ``--config``"""

    def __str__(self) -> str:
        return (self.folder / "search.md").read_text(encoding="utf-8")


def run(
    config: Config | str | None = None,
    output: str | Path | None = None,
    *,
    placement: Placement | None = None,
    data_folder: str | None = None,
    download: bool = False,
    storage_path: str | None = None,
    tracking_uri: str | None = None,
    experiment: str = "grad-instructor",
) -> Report:
    """The whole story, as ``grad-instructor run``: train an ENN, compare training with and without it, explain it, report.

    Args:
        config: settings, or the name of a preset (default: those of the run in ``output``, if there is one, else digits).
        output: folder of the results (default: ``runs/NAME-HASH``); given again, the work goes on there.
        placement: where the work runs (default: Ray actors on this machine; ``Placement(local=True)``: in this process).
        data_folder, download, storage_path, tracking_uri, experiment: as the options of these names.

    Raises:
        UserError: bad input, in one sentence.
        Shadowed: another ``pipeline`` or ``rl`` is in the way.
    """
    preset, settings = _settings(config, output)
    options = Options(
        preset=preset,
        output=None if output is None else Path(output),
        data_folder=data_folder,
        download=download,
        storage_path=storage_path,
        tracking_uri=tracking_uri,
        experiment=experiment,
    )
    command = Command(options, placement or Placement(), validate(settings))
    command = replace(command, options=replace(options, output=command.folder))  # absolute, whatever the process does next
    with _as_guest(command.placement, settings.rl.env_runners > 0):
        function_of("run")(command, _line("run", config if isinstance(config, str) else "settings", command.folder))
    written = read_json(command.folder / "report.json")
    return Report(command.folder, written["rows"], written["head_to_head"])


def search(
    file: str | Path,
    output: str | Path,
    *,
    placement: Placement | None = None,
    data_folder: str | None = None,
    download: bool = False,
    storage_path: str | None = None,
    tracking_uri: str | None = None,
    experiment: str = "grad-instructor",
) -> SearchReport:
    """A search over settings, as ``grad-instructor search``.

    Args:
        file: a YAML file such as those of ``tune_configs`` (:func:`grad_instructor.read_plan` reads one without working).
        output: folder of the results; given again, the search goes on there.
        placement: where the work runs (default: Ray actors on this machine; ``Placement(local=True)``: in this process).
        data_folder, download, storage_path, tracking_uri, experiment: as the options of these names.

    Raises:
        UserError: bad input, in one sentence.
        Shadowed: another ``pipeline`` or ``rl`` is in the way.
    """
    folder = Path(output).absolute()
    command = SearchCommand(
        file=Path(file),
        placement=placement or Placement(),
        output=folder,
        data_folder=data_folder,
        download=download,
        storage_path=storage_path,
        tracking_uri=tracking_uri,
        experiment=experiment,
    )
    with _as_guest(command.placement):
        function_of("search")(command, _line("search", str(file), folder))
    written = read_json(folder / "search.json")
    return SearchReport(folder, written["rows"], written["pareto"], sorted(folder.glob("best*.json")))


@contextmanager
def _as_guest(placement: Placement, env_runners: bool = False) -> Iterator[None]:
    """A command's surroundings in somebody's process, which is left as it was."""
    if env_runners or not placement.local:
        check_workers()
    with guest.as_before():
        interrupts.install(guest=True)
        prepare_environment(placement.address is None)
        try:
            yield
        except KeyboardInterrupt:
            interrupts.hear()
            raise


def _settings(config: Config | str | None, output: str | Path | None) -> tuple[str, Config]:
    """The preset that is nearest, by which the folder is named, and the settings."""
    if config is None and output is not None and (saved := saved_settings(Path(output))) is not None:
        return saved
    if isinstance(config, Config):
        alike = [name for name, preset in PRESETS.items() if preset == config]
        return next(iter(alike), "digits"), config
    name = config or "digits"
    return name, preset_named(name)


def _line(name: str, what: str, folder: Path) -> str:
    """The call, as it is noted beside what it makes."""
    return without_secrets(f"grad_instructor.{name}({what!r}, {folder.name!r})")
