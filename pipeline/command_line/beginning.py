"""Where a command's settings start from: a preset, a file, or the folder that is continued."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pipeline.cluster import Placement
from pipeline.command_line import comparing
from pipeline.command_line.options import Command, CompareCommand, Options
from pipeline.command_line.parsing import option
from pipeline.config import PRESETS, Config, from_dotted, preset_named, to_dotted
from pipeline.errors import UserError, shown
from pipeline.files import PARSED, check_size, read_json
from pipeline.received import refuse_links


def defaults(arguments: list[str]) -> Command:
    """Where the settings start from: the preset, or the folder that is continued; for another ENN with ``--adapt``."""
    command, adapt = _beginning(arguments), option(arguments, "--adapt")
    if adapt is None:
        return command
    from pipeline.setting import adapting

    return replace(command, config=adapting(command.config, adapt))


def compare_defaults(arguments: list[str]) -> CompareCommand:
    """The same for ``compare``, which trains no ENN: all learning rules, and a learning rate chosen for each."""
    if option(arguments, "--adapt") is not None:
        raise UserError("`compare` trains no ENN, so that none can go on learning; leave out --adapt, or use `run`.")
    command = _beginning(arguments, comparing.of_preset)
    return CompareCommand(command.options, command.placement, command.config)


def _beginning(arguments: list[str], of_preset: Callable[[Config], Config] = lambda config: config) -> Command:
    """The settings of ``--config``, of the folder that is continued, or of the preset."""
    preset, output, file = (option(arguments, name) for name in ("--preset", "--output", "--config"))
    if file is not None:
        preset, config = settings_of(Path(file), preset, of_preset)
        return Command(Options(preset=preset), Placement(), config)
    if output is not None:
        refuse_links(Path(output).absolute(), begun_only=True)  # before anything in it is opened
    if preset is None and output is not None and (saved := saved_settings(Path(output))) is not None:
        return Command(Options(preset=saved[0]), Placement(), saved[1])
    return Command(Options(), Placement(), of_preset(preset_named("digits" if preset is None else preset)))


def settings_of(
    path: Path, preset: str | None = None, of_preset: Callable[[Config], Config] = lambda config: config
) -> tuple[str, Config]:
    """The preset and the settings that a file gives: ``{"preset": NAME, "settings": {DOTTED: VALUE}}``, or ``{DOTTED: VALUE}``.

    Raises:
        UserError: it cannot be read, or says what is no setting.
    """
    from pipeline.search.yaml_text import load_yaml

    try:
        check_size(path, path.stat().st_size, PARSED)
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read the settings {path} ({error.strerror}); give a JSON or YAML file.") from error
    except ValueError as error:
        raise UserError(f"{path} is not text; give a JSON or YAML file of settings.") from error
    try:
        values = load_yaml(text)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if not isinstance(values, dict) or not isinstance(values.get("settings", {}), dict):
        raise UserError(f"{path} holds no settings; give dotted names and values, such as 'rl.gamma: 0.9'.")
    name = preset or values.get("preset", "digits")
    settings = values["settings"] if "settings" in values else {key: item for key, item in values.items() if key != "preset"}
    if name not in PRESETS:
        raise UserError(f"{path}: the preset {name!r} is unknown; choose from {', '.join(PRESETS)}.")
    try:
        return name, from_dotted(to_dotted(of_preset(PRESETS[name])) | settings)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def saved_settings(folder: Path) -> tuple[str, Config] | None:
    """The preset and the settings of the run in a folder; None where there is no run.

    Raises:
        UserError: its config.json cannot be read, is damaged, or is of another version.
    """
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
