"""What a kind of search is: what may vary, what candidates are compared by, and how one candidate is judged.

The ladder, Tune, resuming, MLflow and the report are the same for all kinds. Nothing here imports torch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import Config
from pipeline.names import SamplerName
from pipeline.search.values import Record, Stage

if TYPE_CHECKING:
    import pipeline.data.dataset
    from pipeline.search.values import Dimension

Checks = list[tuple[bool, str]]
"""what must hold, and the sentence where it does not"""


SECTIONS = {"rule.": ("rule", "equation"), "evolution.": ("equation",), "architecture.": ("architecture",)}
"""settings that only some kinds have a use for, by the beginnings of their names"""


@dataclass(frozen=True)
class Judging:
    """How candidates are judged."""

    judge: Callable[..., dict[str, Any]]
    """(config, stages up to the one asked for, the candidate's folder, **shared) -> what it found out"""
    shared: Mapping[str, Any]
    """what it gets by name besides, the same for all candidates"""
    size: int = 0
    """bytes of what is shared, beside the data set"""
    said: str = ""
    """a sentence about what was made ready"""
    together: Callable[..., list[dict[str, Any]]] | None = None
    """judges several candidates at once: (configs, stages, their folders, **shared) -> what ``judge`` finds out of each, but
    for rounding, which depends on how many they are and in which order, and for measured times"""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of search."""

    name: str
    """as a file's ``kind`` has it"""
    over: str
    """what its candidates are, in the plural"""
    searched: tuple[str, ...]
    """beginnings of the names of settings that may vary"""
    given: tuple[str, ...] = ()
    """among those, settings that are the same for every candidate"""
    decided: tuple[str, ...] = ()
    """beginnings of the names of settings that the stages decide, or that play no part: a file must not give them"""
    objectives: tuple[str, ...]
    """results that candidates can be compared by"""
    smaller: tuple[str, ...]
    """results of which less is better, unless 'objectives' say otherwise"""
    ranked: str
    """what the scheduler compares after a stage without targets"""
    stands_for: Mapping[str, str] = field(default_factory=dict)
    """what decides in place of a time: no two measurements of a time are alike, and searches must be"""
    parts: tuple[str, ...] = ()
    """parts of a file, beside those that every kind has, that it reads"""
    predicted: bool = False
    """its stages may rank candidates by predictors of architectures"""
    records: bool = False
    """its candidates learn from populations that are recorded once for all of them"""
    least_targets: int
    """in the last stage, to measure anything"""
    samplers: tuple[SamplerName, ...] = ()
    """who may propose its candidates; empty: all that propose values of settings"""
    trained_by: str
    """the command that trains what was found"""
    decide: Callable[[Mapping[str, Any], Stage, Record], dict[str, Any]]
    """from the settings of a group, the last stage and the record to the settings that the stages decide, so that a training
    with them ends where the last stage does"""
    complete: Callable[[Mapping[str, Any], dict[str, Any]], dict[str, Any]] = lambda base, values: values
    """from the settings of a group and those of a candidate to the candidate's, with what follows from both"""
    reason: Callable[[str], str]
    """why a setting cannot be searched or given"""
    without_effect: Callable[[str, Mapping[str, Any]], str] = lambda key, base: ""
    """why a setting would not change any candidate; nothing where it would"""
    check_settings: Callable[[Mapping[str, Any]], None] = lambda base: None
    """raises UserError where the settings of a group cannot be searched with"""
    check: Callable[[Sequence[Stage], Sequence[Config], frozenset[str]], Checks]
    """of the stages, the settings of the groups and the names of what is searched"""
    check_data: Callable[[Config, "pipeline.data.dataset.Dataset"], None] = lambda config, dataset: None
    """raises UserError where the settings of a group do not go with the data set"""
    check_space: Callable[[Sequence["Dimension"]], None] = lambda space: None
    """raises UserError where what is to vary cannot be searched"""
    prepare: Callable[[Sequence[Stage], Record, Mapping[str, Config], "pipeline.data.dataset.Dataset", Path], Judging]
    """from the stages, the record, what is to be recorded, the data set and the search's folder to how candidates are judged"""

    proposals: Callable[..., Any] | None = None
    """where it has proposals of its own: (plan, group, folder, data set) -> what has ``total``, ``propose`` and ``tell`` as
    :class:`pipeline.search.propose.Proposals`"""

    def foreign(self, key: str) -> str:
        """Why a setting that only other kinds have a use for has none here; nothing where it has."""
        users = next((kinds for section, kinds in SECTIONS.items() if key.startswith(section)), (self.name,))
        return "" if self.name in users else f"it is of a search of kind {' or '.join(map(repr, users))}."

    def varies(self, key: str) -> bool:
        """Whether a setting may vary."""
        return key.startswith(self.searched) and key not in self.given and not key.startswith(self.decided or ("\0",))
