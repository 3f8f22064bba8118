"""A search as a value. Nothing here imports torch."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.config import PRESETS, Config, from_dotted, identity, to_dotted, validate
from pipeline.results.measures import in_words
from pipeline.search.kinds import KINDS
from pipeline.search.values import Algorithm, Assistance, Budget, Group, Predict, Record, Sampler, Scheduler, Stage

STANDS_FOR = {time: other for kind in KINDS.values() for time, other in kind.stands_for.items()}
"""what decides in place of a time"""
TIMES = (*STANDS_FOR, "training_seconds")
"""results that are measured times"""


@dataclass(frozen=True)
class Plan:
    """One search."""

    name: str
    question: str
    kind: str
    """one of :data:`pipeline.search.kinds.KINDS`"""
    preset: str
    groups: tuple[Group, ...]
    objectives: tuple[tuple[str, Literal["maximise", "minimise"]], ...]
    stages: tuple[Stage, ...]
    sampler: Sampler = field(default_factory=Sampler)
    scheduler: Scheduler = field(default_factory=Scheduler)
    budget: Budget = field(default_factory=Budget)
    record: Record = field(default_factory=Record)
    predict: Predict | None = None
    algorithm: Algorithm | None = None
    """of a search over architectures"""
    assist: Assistance | None = None
    """of a search over architectures"""

    def config(self, group: Group | None = None, chosen: Mapping[str, Any] | None = None) -> Config:
        """The settings with which a candidate (of a group, without one the first) is trained as the last stage judges it.

        Raises:
            UserError: values that do not go together.
        """
        return validate(from_dotted(self.settings(group or self.groups[0], chosen or {})))

    def settings(self, group: Group, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """What :meth:`config` reads and checks of a candidate, by dotted name; the values may not go together."""
        base = to_dotted(PRESETS[self.preset]) | group.settings
        kind = KINDS[self.kind]
        base |= kind.decide(base, self.last, self.record)
        return kind.complete(base, base | dict(chosen))

    def recording(self, group: Group, config: Config) -> Config:
        """The settings under which the populations were recorded that a candidate with ``config`` learns from and is measured
        on: those of its group, with its own ladder of λ."""
        return self.config(group, {"instruction.ladder": list(config.instruction.ladder)})

    def recordings(self) -> dict[str, Config]:
        """All that is to be recorded, by :func:`pipeline.config.identity`: for every ladder of every group."""
        if not KINDS[self.kind].records:
            return {}
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
        kind = KINDS[self.kind]
        name = asked or (self.objectives[0][0] if self.stages[stage].targets else kind.ranked)
        directions = dict.fromkeys(kind.smaller, "minimise") | dict(self.objectives)
        return name, -1.0 if directions.get(name) == "minimise" else 1.0


def ranked_by(objectives: Iterable[str]) -> str:
    """What candidates are ranked by in place of a measured time, a sentence for each such objective; else a candidate of the
    front might seem to be worse than another in all that is shown."""
    said = "{} vary from one measurement to the next; candidates are ranked by {}, which do not."
    return " ".join(said.format(in_words(name), in_words(STANDS_FOR[name])) for name in objectives if name in STANDS_FOR)


def deciding(result: Mapping[str, Any], name: str) -> float:
    """A result as decisions are made by it: verdicts, forecasts, proposals and the front never see a time."""
    return float(result[other] if (other := STANDS_FOR.get(name, name)) in result else result[name])
