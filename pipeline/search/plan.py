"""A search as a value: one YAML file of ``tune_configs``, read strictly.

Settings have the dotted names of :mod:`pipeline.config`. A misspelt key, a value of the wrong type or one that is out of range
stops here, before any work, and the message names the nearest right key. Nothing in a file names a folder: results go below
the output folder, and data sets are known by name. Nothing here imports torch.
"""

import dataclasses
import difflib
import functools
import itertools
import json
import math
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from pipeline.config import LEAST_RECORDED, PRESETS, Config, coerce, from_dotted, identity, to_dotted, validate
from pipeline.errors import LONGEST, UserError, shown

LARGEST_FILE = 20_000
"""bytes"""
DEEPEST = 20
"""mappings and lists within each other; libyaml crashes on tens of thousands"""
TOO_DEEP = f"lists and mappings are more than {DEEPEST} deep in each other; correct it."
FIXED = ("rl.period", "rl.members", "rl.score_examples", "enn.coarsening", "unroll.start")
"""settings of a search over ENNs that the recorded runs depend on: the same for every candidate"""
DECIDED = ("unroll.segments", "rl.rounds", "rl.updates", "rl.epsilon", "rl.env_runners", "recorded.")
"""settings of a search over ENNs that 'stages' and 'record' decide, or that play no part in it"""
SEARCHED = {"enn": ("enn.", "instruction.", "rl.", "unroll."), "target": ("training.", "target.")}
"""what a search of either kind may vary"""
OBJECTIVES = {
    "enn": (
        "gain",
        "gain_small",
        "gain_he",
        "rank_correlation",
        "calibration_error",
        "cosine",
        "look_ahead",
        "ms_per_instruction",
        "parameters",
    ),
    "target": ("accuracy", "loss", "seconds"),
}
SMALLER = ("calibration_error", "ms_per_instruction", "parameters", "loss", "seconds")
"""results of which less is better, unless 'objectives' say otherwise"""
STANDS_FOR = {"ms_per_instruction": "operations_per_instruction", "seconds": "steps_per_target"}
"""what decides in place of a time: no two measurements of a time are alike, and searches must be"""
TIMES = (*STANDS_FOR, "training_seconds")
"""results that are measured times"""
DATASETS = ("digits", "mnist", "fashion", "cifar10")


@dataclass(frozen=True)
class Dimension:
    """One setting and what it may be."""

    key: str
    choice: tuple[Any, ...] = ()
    """values to choose from"""
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    """an integer between low and high, both included"""
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    """other settings and the values at which this one matters; elsewhere it keeps its default"""

    @property
    def ends(self) -> tuple[Any, ...]:
        """The choices, or both ends of the range."""
        return self.choice or ((int(self.low), int(self.high)) if self.whole else (self.low, self.high))


@dataclass(frozen=True)
class Sampler:
    """Who proposes candidates."""

    name: Literal["tpe", "nsga2", "gp", "botorch", "random", "grid"] = "tpe"
    startup: int = 20
    """random candidates before the sampler learns from them (tpe, gp, botorch)"""
    population: int = 20
    """nsga2: candidates of a generation"""


@dataclass(frozen=True)
class Scheduler:
    """Who is stopped between the stages."""

    name: Literal["asha", "none"] = "asha"
    reduction: float = 3.0
    """one candidate in so many goes on to the next stage"""


@dataclass(frozen=True)
class Budget:
    """How much is tried."""

    candidates: int = 100
    """in each group"""
    ahead: int = 4
    """a candidate is proposed when all but the last so many are judged; workers beyond this number have nothing to do"""


@dataclass(frozen=True)
class Record:
    """The populations that are recorded once for each ladder of λ."""

    rounds: int = 2
    """populations of rl.members, each under the ENN that the ones before it taught"""
    updates: int = 100
    """gradient steps on that ENN (none on one that unroll.start names)"""


@dataclass(frozen=True)
class Stage:
    """One step of judging; counts are totals since the candidate's start."""

    name: str
    updates: int = 0
    """off-policy gradient steps on recorded runs"""
    segments: int = 0
    """gradient steps of fine-tuning through unrolled training"""
    targets: int = 0
    """fresh targets that it instructs (or, in a search over targets, that are trained)"""
    steps: int = 0
    """of a search over targets: optimiser steps (0: training.steps)"""
    rank_by: str = ""
    """what the scheduler compares after this stage (default: the first objective, or rank_correlation without targets)"""


@dataclass(frozen=True)
class Predict:
    """Rank candidates after the first stage by the gain that they are predicted to give in the next stage with targets."""

    after: int = 12
    """candidates whose gain must be known before predictions are used; until then the first stage's own ``rank_by`` counts"""


@dataclass(frozen=True)
class Group:
    """Settings and a space of their own, with the same budget as every other group."""

    name: str
    settings: dict[str, Any]
    space: tuple[Dimension, ...]


@dataclass(frozen=True)
class Plan:
    """One search."""

    name: str
    question: str
    kind: Literal["enn", "target"]
    preset: str
    groups: tuple[Group, ...]
    objectives: tuple[tuple[str, Literal["maximise", "minimise"]], ...]
    stages: tuple[Stage, ...]
    sampler: Sampler = field(default_factory=Sampler)
    scheduler: Scheduler = field(default_factory=Scheduler)
    budget: Budget = field(default_factory=Budget)
    record: Record = field(default_factory=Record)
    predict: Predict | None = None

    def config(self, group: Group | None = None, chosen: Mapping[str, Any] | None = None) -> Config:
        """The settings with which a candidate (of a group, without one the first) is trained as the last stage judges it.

        Raises:
            UserError: values that do not go together.
        """
        group = group or self.groups[0]
        base = to_dotted(PRESETS[self.preset]) | group.settings
        base |= _decided(self.kind, base, self.last, self.record)
        values = base | dict(chosen or {})
        if values["recorded.rounds"]:
            values["recorded.settings"] = [f"{key}={json.dumps(base[key])}" for key in base if _recorded(base, values, key)]
        return validate(from_dotted(values))

    def recording(self, group: Group, config: Config) -> Config:
        """The settings under which the populations were recorded that a candidate with ``config`` learns from and is measured
        on: those of its group, with its own ladder of λ."""
        return self.config(group, {"instruction.ladder": list(config.instruction.ladder)})

    def recordings(self) -> dict[str, Config]:
        """All that is to be recorded, by :func:`pipeline.config.identity`: for every ladder of every group."""
        found = [self.config(group, {"instruction.ladder": ladder}) for group in self.groups for ladder in self._ladders(group)]
        return {identity(config): config for config in found}

    def _ladders(self, group: Group) -> list[Any]:
        searched = [dimension for dimension in group.space if dimension.key == "instruction.ladder"]
        own = [list(self.config(group).instruction.ladder)]
        found = [*(own if not searched or searched[0].when else []), *(item for d in searched for item in d.choice)]
        return [ladder for place, ladder in enumerate(found) if ladder not in found[:place]]

    @property
    def last(self) -> Stage:
        """The stage whose results are the outcome."""
        return self.stages[-1]

    def rank_by(self, stage: int) -> tuple[str, float]:
        """What the scheduler compares after a stage, and the sign that makes more of it better."""
        asked = self.stages[stage].rank_by
        name = asked or (self.objectives[0][0] if self.stages[stage].targets else "rank_correlation")
        directions = dict.fromkeys(SMALLER, "minimise") | dict(self.objectives)
        return name, -1.0 if directions.get(name) == "minimise" else 1.0


def deciding(result: Mapping[str, Any], name: str) -> float:
    """A result as decisions are made by it: verdicts, forecasts, proposals and the front never see a time."""
    return float(result[other] if (other := STANDS_FOR.get(name, name)) in result else result[name])


def _decided(kind: str, base: Mapping[str, Any], last: Stage, record: Record) -> dict[str, Any]:
    """The settings that the stages decide, so that a training with them ends where the last stage does."""
    if kind == "target":
        return {"training.steps": last.steps} if last.steps else {}
    started = bool(base["unroll.start"])
    return {
        "unroll.segments": last.segments,
        "rl.rounds": 0,
        "rl.updates": last.updates,
        "recorded.rounds": 0 if started else record.rounds,
        "recorded.updates": record.updates,
    }


def _recorded(base: Mapping[str, Any], values: Mapping[str, Any], key: str) -> bool:
    """Whether a setting is to be named because the ENN that recorded differs in it."""
    return key.startswith(("enn.", "instruction.", "rl.")) and key != "instruction.ladder" and base[key] != values[key]


def read_plan(path: Path) -> Plan:
    """The search that a YAML file describes.

    Raises:
        UserError: the file cannot be read or is not such a file; one sentence about the first thing that is wrong.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UserError(f"{path} is larger than a search file can be; give one of tune_configs.")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read the search file {path} ({error.strerror}); give one of tune_configs.") from error
    except ValueError as error:
        raise UserError(f"{path} is not text; give a YAML file such as those of tune_configs.") from error
    try:
        return _plan(path.stem, load_yaml(text))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error.__cause__


_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, where PyYAML has it, is ten times as fast


class _Loader(_Safe):
    """YAML in which a key given twice is an error, and 1e-3 is a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def _mapping(loader: Any, node: yaml.MappingNode) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str) or key in values:
            raise UserError(f"the key {shown(key)} is given twice or is no name; give each key once.")
        values[key] = loader.construct_object(value, deep=True)
    return values


def _whole(loader: Any, node: yaml.ScalarNode) -> int:
    number = yaml.SafeLoader.construct_yaml_int(loader, node)
    if abs(number) >= 2**63:
        raise UserError("a whole number has more than 18 digits; give a smaller one.")
    return number


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", _whole)


def load_yaml(text: str) -> Any:
    """What a YAML text says; plain values only.

    Raises:
        UserError: it is no YAML, or says more than plain values.
    """
    try:
        depth = _deepest_brackets(text)
        if depth > DEEPEST:  # before libyaml, which crashes on it or has an error of its own, by version
            raise UserError(TOO_DEEP)
        depth = 0
        for event in yaml.parse(text, _Safe):
            if isinstance(event, yaml.AliasEvent):
                raise UserError("aliases (*name) are not read; write the values out.")
            if getattr(event, "tag", None):
                raise UserError("tags (!name) are no YAML that is read here; write plain values.")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise UserError(TOO_DEEP)
        return _Loader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        problem = repr(error.problem)[1:-1][:LONGEST]
        raise UserError(f"{line}it is not YAML that can be read ({problem}); correct it.") from error
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        raise UserError("it is not YAML that can be read; correct it.") from error


def _deepest_brackets(text: str) -> int:
    """How many brackets are open at once at most (those in quotation marks too: nobody writes so many)."""
    steps = (1 if sign in "[{" else -1 for sign in re.findall(r"[\[\]{}]", text))
    return max(itertools.accumulate(steps, lambda depth, step: max(0, depth + step)), default=0)


# -- from plain values to a plan ---------------------------------------------------------------------------------------

_TOP = {"question", "kind", "preset", "settings", "space", "groups", "objectives", "stages"}
_PARTS = {"sampler": Sampler, "scheduler": Scheduler, "budget": Budget, "record": Record, "predict": Predict}


def _plan(name: str, values: Any) -> Plan:
    _check_keys(values, _TOP | set(_PARTS), "the file")
    preset = _one_of(values.get("preset", "digits"), tuple(PRESETS), "preset")
    kind = _one_of(values.get("kind", "enn"), tuple(SEARCHED), "kind")
    settings = _settings(values.get("settings", {}), "settings")
    parts = {part: _build(of, values[part], part) for part, of in _PARTS.items() if part in values}
    stages = _stages(values.get("stages"))
    if kind == "target" and "record" in values:
        raise UserError("'record' is for searches over ENNs; leave it out.")
    decide = functools.partial(_decided, kind, last=stages[-1], record=parts.get("record", Record()))
    plan = Plan(
        name=_name(name, "the file's name"),
        question=str(values.get("question", "")),
        kind=kind,
        preset=preset,
        groups=_groups(kind, preset, settings, values, decide),
        objectives=_objectives(kind, values.get("objectives")),
        stages=stages,
        **parts,
    )
    _check(plan)
    return plan


Decide = Callable[[Mapping[str, Any]], dict[str, Any]]
"""from the settings of a group to those that the stages decide"""


def _groups(kind: str, preset: str, settings: dict[str, Any], values: dict[str, Any], decide: Decide) -> tuple[Group, ...]:
    if ("space" in values) == ("groups" in values):
        raise UserError("give either 'space' or 'groups', which is several spaces by name.")
    if "space" in values:
        return (_group("", kind, preset, settings, values["space"], decide),)
    found = []
    _check_mapping(values["groups"], "groups")
    for name, group in values["groups"].items():
        where = f"groups.{_name(name, 'groups')}"
        _check_keys(group, {"settings", "space"}, where)
        own = settings | _settings(group.get("settings", {}), f"{where}.settings")
        found.append(_group(name, kind, preset, own, group.get("space"), decide))
    if not found:
        raise UserError("'groups' is empty; give at least one group with a 'space'.")
    if len({(to_dotted(PRESETS[preset]) | group.settings)["data.dataset"] for group in found}) > 1:
        raise UserError("groups: all groups are judged on one data set; give data.dataset once, in 'settings'.")
    return tuple(found)


def _group(name: str, kind: str, preset: str, settings: dict[str, Any], space: Any, decide: Decide) -> Group:
    base = to_dotted(PRESETS[preset]) | settings
    if base["data.dataset"] not in DATASETS:
        raise UserError(f"data.dataset is {shown(base['data.dataset'])}; a search names a data set: {', '.join(DATASETS)}.")
    for key in settings if kind == "enn" else ():
        if key.startswith(DECIDED):
            raise UserError(f"settings: {key!r} has no effect in a search over ENNs; leave it out: {_reason(kind, key)}")
    base |= decide(base)
    if kind == "enn" and base["unroll.start"] not in ("", *shipped_enns()):
        raise UserError(
            f"unroll.start is {shown(base['unroll.start'])}; a search names an ENN of the package: {', '.join(shipped_enns())}."
        )
    validate(from_dotted(base))
    _check_mapping(space, "space")
    if not space:
        raise UserError("'space' is empty; give at least one setting to search.")
    return Group(name, settings, tuple(_dimension(key, values, kind, base, space) for key, values in space.items()))


def _dimension(key: Any, values: Any, kind: str, base: dict[str, Any], space: dict[str, Any]) -> Dimension:
    _check_known(key, list(base), "space")
    if not key.startswith(SEARCHED[kind]) or (kind == "enn" and (key in FIXED or key.startswith(DECIDED))):
        raise UserError(f"space: {key!r} cannot be searched here; {_reason(kind, key)}")
    if reason := _without_effect(kind, key, base):
        raise UserError(f"space: {key!r} would have no effect: {reason}")
    where = f"space.{key}"
    _check_keys(values, {"choice", "float", "integer", "log", "when"}, where)
    forms = [form for form in ("choice", "float", "integer") if form in values]
    if len(forms) != 1:
        raise UserError(f"{where}: give one of 'choice: [values]', 'float: [low, high]' and 'integer: [low, high]'.")
    log, form = values.get("log", False), forms[0]
    if not isinstance(log, bool) or (log and form == "choice"):
        raise UserError(f"{where}: 'log' is {shown(log)}; give true or false, and only with a range.")
    _check_mapping(values.get("when", {}), f"{where}.when")
    when = tuple(_condition(other, wanted, where, base, space) for other, wanted in values.get("when", {}).items())
    found = values[form]
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
    for end in dimension.ends:
        try:
            validate(from_dotted(base | _as_if(dimension, base) | {key: end}))
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
    return dimension


def _as_if(dimension: Dimension, base: dict[str, Any]) -> dict[str, Any]:
    """The settings under which a dimension matters."""
    return {key: wanted[0] for key, wanted in dimension.when if base[key] not in wanted}


def _condition(key: Any, wanted: Any, where: str, base: dict[str, Any], space: dict[str, Any]) -> tuple[str, tuple[Any, ...]]:
    _check_known(key, list(base), f"{where}.when")
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
    _check_mapping(values, where)
    known = list(to_dotted(Config()))
    for key in values:
        _check_known(key, known, where)
    return {key: _value(key, value, where) for key, value in values.items()}


def _objectives(kind: str, values: Any) -> tuple[tuple[str, Literal["maximise", "minimise"]], ...]:
    _check_mapping(values, "objectives")
    if not values:
        raise UserError(f"'objectives' is empty; give at least one of {', '.join(OBJECTIVES[kind])}.")
    for name, direction in values.items():
        _check_known(name, list(OBJECTIVES[kind]), "objectives")
        _one_of(direction, ("maximise", "minimise"), f"objectives.{name}")
    return tuple(values.items())


def _stages(values: Any) -> tuple[Stage, ...]:
    if not isinstance(values, list) or not values:
        raise UserError("'stages' is to be a list of at least one stage, each with a name.")
    return tuple(_build(Stage, stage, f"stages[{number}]") for number, stage in enumerate(values))


def _build(kind: Any, values: Any, where: str) -> Any:
    """A dataclass of plain fields."""
    hints = typing.get_type_hints(kind)
    _check_keys(values, set(hints), where)
    missing = [item.name for item in dataclasses.fields(kind) if item.name not in values and _required(item)]
    if missing:
        raise UserError(f"{where} lacks {missing[0]!r}; give it.")
    return kind(**{key: coerce(hints[key], value, f"{where}.{key}") for key, value in values.items()})


def _required(item: Any) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING


def _check(plan: Plan) -> None:
    """Raises UserError where the parts do not go together."""
    stages, target = plan.stages, plan.kind == "target"
    names = [stage.name for stage in stages]
    counts = [(s.updates, s.segments, s.targets, s.steps) for s in stages]
    smallest = 1 if target else 2
    checks = [
        (len(set(names)) == len(names), "stages: two have the same name; give each its own."),
        (stages[-1].targets >= smallest, f"stages: the last one needs 'targets' of at least {smallest} to measure anything."),
        (all(min(count) >= 0 for count in counts), "stages: a count is below 0; give at least 0."),
        (
            all(
                a[:3] <= b[:3] and all(x <= y for x, y in zip(a[:3], b[:3], strict=True)) for a, b in itertools.pairwise(counts)
            ),
            "stages: counts are totals since the start and cannot fall from one stage to the next.",
        ),
        (
            target or all(a.updates == b.updates or not a.segments for a, b in itertools.pairwise(stages)),
            "stages: 'updates' cannot grow once 'segments' have begun.",
        ),
        (
            not target or not any(s.updates or s.segments for s in stages),
            "stages: a search over targets has no updates, no segments.",
        ),
        (not target or all(s.targets for s in stages), "stages: in a search over targets each one needs 'targets'."),
        (
            target or all(s.targets != 1 for s in stages),
            "stages: 'targets' is 1; give at least 2 (every other one starts from He), or none.",
        ),
        (target or not any(s.steps for s in stages), "stages: 'steps' are for searches over targets; set training.steps."),
        (
            not (target and stages[-1].steps and any(d.key == "training.steps" for g in plan.groups for d in g.space)),
            "stages: the last one gives 'steps', so that training.steps cannot be searched; drop one of them.",
        ),
        (
            target or not plan.config().unroll.start or not any(s.updates for s in stages),
            "stages: an ENN of unroll.start is not taught from recorded runs; leave out 'updates'.",
        ),
        (plan.budget.candidates >= 1, f"budget.candidates is {plan.budget.candidates}; give at least 1."),
        (plan.budget.ahead >= 1, f"budget.ahead is {plan.budget.ahead}; give at least 1."),
        (
            1 < plan.scheduler.reduction < math.inf,
            f"scheduler.reduction is {plan.scheduler.reduction}; give a number above 1.",
        ),
        (plan.sampler.startup >= 1, f"sampler.startup is {plan.sampler.startup}; give at least 1."),
        (plan.sampler.population >= 2, f"sampler.population is {plan.sampler.population}; give at least 2."),
        (plan.record.rounds >= 1, f"record.rounds is {plan.record.rounds}; give at least 1."),
        (plan.record.updates >= 0, f"record.updates is {plan.record.updates}; give at least 0."),
        (
            target or all(plan.config(group).rl.members >= LEAST_RECORDED for group in plan.groups),
            f"settings: rl.members must be at least {LEAST_RECORDED}, so that every start and λ is held out.",
        ),
        (plan.predict is None or not target, "'predict' is for searches over ENNs; leave it out."),
        (plan.predict is None or plan.predict.after >= 5, "predict.after must be at least 5."),
        (
            plan.predict is None or (plan.scheduler.name != "none" and any(s.targets for s in stages[1:])),
            "'predict' needs a scheduler, and targets in a stage after the first; leave it out.",
        ),
        (
            plan.sampler.name != "grid" or all(d.choice for g in plan.groups for d in g.space),
            "sampler grid needs a 'choice' for every setting of the space.",
        ),
    ]
    for stage in stages:
        _name(stage.name, "stages")
        if stage.rank_by:
            _check_known(stage.rank_by, list(OBJECTIVES[plan.kind]), f"stages.{stage.name}.rank_by")
            if stage.rank_by.startswith("gain") and not stage.targets:
                raise UserError(f"stages.{stage.name}.rank_by is {stage.rank_by!r}, which needs 'targets' in the stage.")
    for holds, message in checks:
        if not holds:
            raise UserError(message)


def _without_effect(kind: str, key: str, base: Mapping[str, Any]) -> str:
    """Why a setting would not change any candidate; nothing where it would."""
    if kind == "target":
        return ""
    if base["unroll.start"] and key.startswith(("enn.", "rl.")):
        return f"every candidate starts from the ENN {base['unroll.start']}, which is what it is."
    if key.startswith("rl.") and not base["rl.updates"]:
        return "no stage has 'updates'."
    if key.startswith("unroll.") and not base["unroll.segments"]:
        return "no stage has 'segments'."
    return ""


def shipped_enns() -> list[str]:
    """Names of the ENNs that come with the package (:func:`pipeline.enn.files.shipped`, which needs torch)."""
    return sorted(path.stem for path in (Path(__file__).parents[1] / "enn" / "shipped").glob("*.safetensors"))


def _reason(kind: str, key: str) -> str:
    if kind == "enn" and key.startswith(("unroll.segments", "rl.rounds", "rl.updates", "recorded.")):
        return "'stages' and 'record' say how long a candidate learns, and from what."
    if kind == "enn" and key.startswith(DECIDED):
        return "it says how runs are collected under an ENN that learns meanwhile, which no candidate does."
    if key in FIXED or kind == "enn":
        return "the recorded runs depend on it, so give it once in 'settings'."
    return f"a search over targets varies {' and '.join(SEARCHED[kind])}* settings."


def _name(value: Any, where: str) -> str:
    """A name that is safe as a folder's."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", value):
        raise UserError(f"{where}: {shown(value)} is no name; use letters, digits, - and _, at most 64.")
    return value


def _one_of(value: Any, options: tuple[str, ...], where: str) -> Any:
    if not isinstance(value, str) or value not in options:
        near = difflib.get_close_matches(str(value)[:80], options, n=1, cutoff=0.0)[0]
        raise UserError(f"{where} is {shown(value)}; give one of {', '.join(options)} (did you mean {near!r}?).")
    return value


def _check_mapping(values: Any, where: str) -> None:
    if not isinstance(values, dict):
        raise UserError(f"{where} is to be a mapping, with a line 'name: value' for each.")


def _check_keys(values: Any, known: set[str], where: str) -> None:
    _check_mapping(values, where)
    for key in values:
        _check_known(key, sorted(known), where)


def _check_known(key: Any, known: list[str], where: str) -> None:
    if key not in known:
        near = difflib.get_close_matches(str(key)[:80], known, n=1, cutoff=0.0)[0]
        raise UserError(f"{where}: unknown key {shown(key)}; did you mean {near!r}?")
