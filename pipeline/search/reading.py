"""A search's file, read strictly: one YAML file of ``tune_configs``.

Settings have the dotted names of :mod:`pipeline.config`. A misspelt key, a value of the wrong type or one that is out of range
stops here, before any work, and the message names the nearest right key. Nothing in a file names a folder: results go below
the output folder, and data sets are known by name. Nothing here imports torch.
"""

import dataclasses
import itertools
import json
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pipeline
from pipeline import names
from pipeline.config import PRESETS, Config, coerce, from_dotted, to_dotted, validate
from pipeline.errors import UserError, nearest, shown
from pipeline.search.checks import check
from pipeline.search.kinds import KINDS, Kind
from pipeline.search.plain import as_name, check_keys, check_known, check_mapping, one_of
from pipeline.search.plan import Plan
from pipeline.search.together import check_together
from pipeline.search.values import Algorithm, Assistance, Budget, Dimension, Group, Predict, Record, Sampler, Scheduler, Stage
from pipeline.search.yaml_text import load_yaml

LARGEST_FILE = 20_000
"""bytes"""
MOST_BITS = 6
_FORMS = ("choice", "float", "integer", "bits")
DATASETS: tuple[str, ...] = typing.get_args(names.DataSetName)


def read_plan(path: Path, protocol: str | None = None) -> Plan:
    """The search that a YAML file describes.

    Args:
        protocol: a preset in place of the file's.

    Raises:
        UserError: the file cannot be read or is not such a file; one sentence about the first thing that is wrong.
    """
    path = _named(path)
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UserError(f"{path} is larger than a search file can be; give one of tune_configs.")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        near = f" (did you mean {nearest(path.stem, SHIPPED)!r}?)" if SHIPPED else ""
        raise UserError(
            f"cannot read the search file {path} ({error.strerror}); give a file, or one of {', '.join(SHIPPED)}{near}."
        ) from error
    except ValueError as error:
        raise UserError(f"{path} is not text; give a YAML file such as those of tune_configs.") from error
    if protocol is not None:
        _check_protocol(protocol)
    try:
        return _plan(path.stem, load_yaml(text), protocol)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error.__cause__


TUNE_CONFIGS = Path(pipeline.__file__).parents[1] / "tune_configs"
"""beside the package, in a checkout and where it is installed"""
SHIPPED = sorted(path.stem for path in TUNE_CONFIGS.glob("*.yaml"))


def _named(path: Path) -> Path:
    """The file, or the one of that name which comes with the package."""
    name = str(path)
    return TUNE_CONFIGS / f"{name}.yaml" if name in SHIPPED and not path.is_file() else path


_TOP = {"question", "kind", "preset", "settings", "space", "groups", "objectives", "stages"}
_PARTS = {"sampler": Sampler, "scheduler": Scheduler, "budget": Budget, "record": Record, "predict": Predict}
_PARTS |= {"algorithm": Algorithm, "assist": Assistance}
_OF_SOME = sorted({part for kind in KINDS.values() for part in kind.parts})


ELSEWHERE = {"pblf-wrn": "python -m benchmarks.pblf --protocol pblf-wrn"}
"""protocols whose targets no search file trains, and what does"""


def _check_protocol(name: str) -> None:
    if name in ELSEWHERE:
        raise UserError(f"--protocol {name} trains no multilayer perceptrons, as a search file does; give: {ELSEWHERE[name]}")
    one_of(name, tuple(PRESETS), "--protocol")


def _plan(name: str, values: Any, protocol: str | None) -> Plan:
    check_keys(values, _TOP | set(_PARTS), "the file")
    preset = one_of(protocol or values.get("preset", "digits"), tuple(PRESETS), "preset")
    kind = KINDS[one_of(values.get("kind", "enn"), tuple(KINDS), "kind")]
    for part in [part for part in _OF_SOME if part in values and part not in kind.parts]:
        others = " and ".join(other.over for other in KINDS.values() if part in other.parts)
        raise UserError(f"{part!r} is for searches over {others}; leave it out.")
    settings = _settings(values.get("settings", {}), "settings")
    parts = {part: _build(of, values[part], part) for part, of in _PARTS.items() if part in values}
    if kind.samplers:
        parts.setdefault("sampler", Sampler(kind.samplers[0]))
    stages = _stages(values.get("stages"))

    def decide(base: Mapping[str, Any]) -> dict[str, Any]:
        return kind.decide(base, stages[-1], parts.get("record", Record()))

    plan = Plan(
        name=as_name(name, "the file's name"),
        question=str(values.get("question", "")),
        kind=kind.name,
        preset=preset,
        groups=_groups(kind, preset, settings, values, decide),
        objectives=_objectives(kind, values.get("objectives")),
        stages=stages,
        **parts,
    )
    check(plan)
    return plan


Decide = Callable[[Mapping[str, Any]], dict[str, Any]]
"""from the settings of a group to those that the stages decide"""


def _groups(kind: Kind, preset: str, settings: dict[str, Any], values: dict[str, Any], decide: Decide) -> tuple[Group, ...]:
    if ("space" in values) == ("groups" in values):
        raise UserError("give either 'space' or 'groups', which is several spaces by name.")
    if "space" in values:
        return (_group("", kind, preset, settings, values["space"], decide),)
    found = []
    check_mapping(values["groups"], "groups")
    for name, group in values["groups"].items():
        where = f"groups.{as_name(name, 'groups')}"
        check_keys(group, {"settings", "space"}, where)
        own = settings | _settings(group.get("settings", {}), f"{where}.settings")
        found.append(_group(name, kind, preset, own, group.get("space"), decide))
    if not found:
        raise UserError("'groups' is empty; give at least one group with a 'space'.")
    if len({(to_dotted(PRESETS[preset]) | group.settings)["data.dataset"] for group in found}) > 1:
        raise UserError("groups: all groups are judged on one data set; give data.dataset once, in 'settings'.")
    return tuple(found)


def _group(name: str, kind: Kind, preset: str, settings: dict[str, Any], space: Any, decide: Decide) -> Group:
    base = to_dotted(PRESETS[preset]) | settings
    if base["data.dataset"] not in DATASETS:
        raise UserError(f"data.dataset is {shown(base['data.dataset'])}; a search names a data set: {', '.join(DATASETS)}.")
    for key in settings:
        if kind.foreign(key) or (kind.decided and key.startswith(kind.decided)):
            raise UserError(
                f"settings: {key!r} has no effect in a search over {kind.over}; leave it out: "
                f"{kind.foreign(key) or kind.reason(key)}"
            )
    base |= decide(base)
    kind.check_settings(base)
    validate(from_dotted(base))
    check_mapping(space, "space")
    if not space:
        raise UserError("'space' is empty; give at least one setting to search.")
    dimensions = tuple(_dimension(key, values, kind, base, space) for key, values in space.items())
    kind.check_space(dimensions)
    check_together(dimensions, base)
    return Group(name, settings, dimensions)


def _dimension(key: Any, values: Any, kind: Kind, base: dict[str, Any], space: dict[str, Any]) -> Dimension:
    check_known(key, list(base), "space")
    if not kind.varies(key):
        raise UserError(f"space: {key!r} cannot be searched here; {kind.foreign(key) or kind.reason(key)}")
    if reason := kind.without_effect(key, base):
        raise UserError(f"space: {key!r} would have no effect: {reason}")
    where = f"space.{key}"
    check_keys(values, {*_FORMS, "log", "when"}, where)
    forms = [form for form in _FORMS if form in values]
    if len(forms) != 1:
        raise UserError(
            f"{where}: give one of 'choice: [values]', 'float: [low, high]', 'integer: [low, high]' and 'bits: number'."
        )
    log, form = values.get("log", False), forms[0]
    if not isinstance(log, bool) or (log and form in ("choice", "bits")):
        raise UserError(f"{where}: 'log' is {shown(log)}; give true or false, and only with a range.")
    check_mapping(values.get("when", {}), f"{where}.when")
    when = tuple(_condition(other, wanted, where, base, space) for other, wanted in values.get("when", {}).items())
    found = values[form]
    if form == "bits":
        found, form = _every_bits(found, where), "choice"
    if not isinstance(found, list) or not found or (form != "choice" and len(found) != 2):
        raise UserError(
            f"{where}: {form!r} is {shown(found)}; give {'a list of values' if form == 'choice' else '[low, high]'}."
        )
    if form == "choice":
        dimension = Dimension(key, choice=tuple(_value(key, item, where) for item in found), when=when)
        if len(set(map(json.dumps, dimension.choice))) != len(found):
            raise UserError(f"{where}: a value is given twice; give each once.")
    else:
        low, high = (_value(key, item, where) for item in found)
        whole = form == "integer"
        if not all(isinstance(end, int if whole else int | float) and not isinstance(end, bool) for end in (low, high)):
            raise UserError(f"{where}: {form!r} is {shown(found)}; give two {'whole ' if whole else ''}numbers.")
        if not low < high or (log and low <= 0):
            raise UserError(f"{where}: {form!r} is {shown(found)}; give a low end {'above 0 and ' * log}below the high one.")
        dimension = Dimension(key, low=float(low), high=float(high), log=log, whole=whole, when=when)
    return dimension


def _every_bits(count: Any, where: str) -> list[list[int]]:
    """All lists of so many bits."""
    if type(count) is not int or not 1 <= count <= MOST_BITS:
        raise UserError(f"{where}: 'bits' is {shown(count)}; give how many, from 1 to {MOST_BITS}.")
    return [list(bits) for bits in itertools.product((0, 1), repeat=count)]


def _condition(key: Any, wanted: Any, where: str, base: dict[str, Any], space: dict[str, Any]) -> tuple[str, tuple[Any, ...]]:
    check_known(key, list(base), f"{where}.when")
    earlier = list(itertools.takewhile(lambda other: other != where.removeprefix("space."), space))
    if key in space and key not in earlier:
        raise UserError(f"{where}: 'when' asks for {key!r}, which comes later; put it before.")
    values = wanted if isinstance(wanted, list) and not isinstance(base[key], list) else [wanted]
    if isinstance(base[key], list) and isinstance(wanted, list) and wanted and isinstance(wanted[0], list):
        values = wanted
    if not values:
        raise UserError(f"{where}: 'when' gives no value of {key!r}; give at least one.")
    return key, tuple(_value(key, item, where) for item in values)


def _value(key: str, value: Any, where: str) -> Any:
    try:
        return to_dotted(from_dotted({key: value}))[key]
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _settings(values: Any, where: str) -> dict[str, Any]:
    check_mapping(values, where)
    known = list(to_dotted(Config()))
    for key in values:
        check_known(key, known, where)
    return {key: _value(key, value, where) for key, value in values.items()}


def _objectives(kind: Kind, values: Any) -> tuple[tuple[str, Literal["maximise", "minimise"]], ...]:
    check_mapping(values, "objectives")
    if not values:
        raise UserError(f"'objectives' is empty; give at least one of {', '.join(kind.objectives)}.")
    for name, direction in values.items():
        check_known(name, list(kind.objectives), "objectives")
        one_of(direction, ("maximise", "minimise"), f"objectives.{name}")
    return tuple(values.items())


def _stages(values: Any) -> tuple[Stage, ...]:
    if not isinstance(values, list) or not values:
        raise UserError("'stages' is to be a list of at least one stage, each with a name.")
    return tuple(_build(Stage, stage, f"stages[{number}]") for number, stage in enumerate(values))


def _build(kind: Any, values: Any, where: str) -> Any:
    """A dataclass of plain fields."""
    hints = typing.get_type_hints(kind)
    check_keys(values, set(hints), where)
    missing = [item.name for item in dataclasses.fields(kind) if item.name not in values and _required(item)]
    if missing:
        raise UserError(f"{where} lacks {missing[0]!r}; give it.")
    return kind(**{key: _part(hints[key], value, f"{where}.{key}") for key, value in values.items()})


def _part(hint: Any, value: Any, where: str) -> Any:
    if typing.get_origin(hint) is Literal:
        return one_of(value, tuple(filter(None, typing.get_args(hint))), where) if value != "" else coerce(hint, value, where)
    return coerce(hint, value, where)


def _required(item: Any) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
