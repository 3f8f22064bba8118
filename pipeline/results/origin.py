"""What a result on disk was made from, and whether that is what the run has now.

An ENN's card, a population's ``.json``, every checkpoint and row of a training's history and the report carry the digest of
the data, the digests of the ENNs and the settings that decided their numbers, and no others: an ENN does not depend on
``compare.seeds``. So do the scores of networks before they are trained. Beside that stands ``provenance``: which command and
commit made them. A result of another commit fits, one of other data, settings or ENNs does not. Earlier versions noted less: of
their results what is there is compared.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config import Config, to_dotted
from pipeline.data.dataset import SPLITS, Dataset
from pipeline.digests import digest_of_json
from pipeline.enn import Critic, load_critic
from pipeline.enn.files import digest_of
from pipeline.errors import UserError, shown
from pipeline.setting import load_start, target_of

LEARNING = ("seed", "target.", "training.", "enn.", "instruction.", "rl.", "recorded.")
"""settings, or the beginnings of their names, that decide an ENN of RL"""
TUNING = (*LEARNING, "unroll.")
"""that decide what fine-tuning makes of it"""
TRAINING = ("seed", "target.", "training.", "enn.readers", "instruction.trust_region", "rl.period", "rl.score_examples")
TRAINING += ("compare.curve_examples", "rule.")
"""that decide a population of the comparison, beside its seeds and strengths"""
REPORTING = (*TRAINING, "rl.gamma", "rl.score", "compare.")
"""that decide the report"""
CONTENTS = ("unroll.start",)
"""settings that name a file: what is in it counts, wherever it is"""
_PROVENANCE = ("command", "commit", "date")


@dataclass(frozen=True)
class Origin:
    """What decides the numbers of a result."""

    data: Mapping[str, Any]
    """``name`` and ``digest`` of the data set (:func:`data_of`)"""
    settings: Mapping[str, Any]
    """by dotted name; and of scores what else decides them, which has no default"""
    enns: Mapping[str, str] = field(default_factory=dict)
    """digests of ENNs, by name"""
    provenance: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """the command and commit at work; decides nothing"""

    @classmethod
    def of(
        cls,
        config: Config,
        dataset: Dataset,
        decisive: Sequence[str],
        enns: Mapping[str, str] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> "Origin":
        """Of a result for which the settings whose names begin with one of ``decisive`` count."""
        values = {key: value for key, value in to_dotted(config).items() if key.startswith(tuple(decisive))}
        kept = {key: value for key, value in values.items() if key not in CONTENTS}
        return cls(data_of(dataset), kept, dict(enns or {}), brief(provenance or {}))

    @property
    def digest(self) -> str:
        """Of everything; settings at their defaults do not count, so that a new one changes no digest."""
        default = to_dotted(Config())
        changed = {key: value for key, value in self.settings.items() if value != default.get(key)}
        return digest_of_json([self.data["digest"], changed, dict(self.enns)])

    def as_json(self) -> dict[str, Any]:
        """For a .json file."""
        data = {name: self.data[name] for name in ("name", "digest")}
        return {"digest": self.digest, "data": data, "settings": dict(self.settings), "enn": dict(self.enns)}

    def row(self) -> dict[str, Any]:
        """For a row of a training's history, which was made now (``time``, in ms since epoch)."""
        return {"origin": self.digest, "provenance": {**self.provenance, "time": time.time_ns() // 1_000_000}}

    def difference(self, found: Any) -> tuple[str, str] | None:
        """What ``found`` (see :meth:`as_json`) has otherwise, in words: there, and here. What it lacks is not compared."""
        found = found if isinstance(found, Mapping) else {}
        data, settings, enns = (mapping(found.get(name)) for name in ("data", "settings", "enn"))
        if data.get("digest", self.data["digest"]) != self.data["digest"]:
            return f"the data {_named(data)}", _named(self.data)
        default = to_dotted(Config())
        changed = [key for key, value in self.settings.items() if settings and settings.get(key, default.get(key)) != value]
        if changed:
            key, more = changed[0], f", and {len(changed) - 1} more" if len(changed) > 1 else ""
            return f"{key} {shown(settings.get(key, default.get(key)))}", f"{shown(self.settings[key])}{more}"
        for name, digest in self.enns.items():
            if enns and enns.get(name) != digest:
                return f"the ENN {name!r} of digest {shown(enns.get(name))}", f"one of digest {digest!r}"
        return None


def data_of(dataset: Dataset) -> dict[str, Any]:
    """The name, the digest of the contents and the sizes of a data set."""
    sizes = {split: len(getattr(dataset, f"y_{split}")) for split in SPLITS}
    return {"name": dataset.name, "digest": dataset.digest, "sizes": sizes, "classes": dataset.classes}


def brief(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Command, commit and date."""
    return {name: provenance[name] for name in _PROVENANCE if name in provenance}


def distinct(made_by: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Those of different commands or commits, each as it was first."""
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for one in made_by:
        if mapping(one):  # a file may hold anything
            first.setdefault((str(one.get("command")), str(one.get("commit"))), brief(one))
    return list(first.values())


def fits(path: Path, found: Any, origin: Origin) -> bool:
    """Whether the result in ``path`` says what it was made from (``found``), which is then what the run has.

    Raises:
        UserError: it was made from something else; the sentence names both.
    """
    difference = origin.difference(found)
    if difference:
        raise other(path, *difference)
    return isinstance(found, Mapping) and {"data", "settings", "enn"} <= found.keys()


def other(path: Path, there: str, here: str) -> UserError:
    """The sentence for a result that was made from something else."""
    return UserError(
        f"{path} was made with {there} and this run has {here}; put back what it was made with, or choose another --output."
    )


def learned_from(config: Config, dataset: Dataset, provenance: Mapping[str, Any] | None = None) -> Origin:
    """What an ENN of RL, or one taken over by ``unroll.start``, is made from."""
    enns = {}
    if config.unroll.start:
        with suppress(UserError):  # it was taken over already, or will be missed when it is
            enns["start"] = digest_of(load_critic(config.unroll.start))  # also where it does not go with the settings
    return Origin.of(config, dataset, LEARNING, enns, provenance)


def judged_from(config: Config, dataset: Dataset) -> Origin:
    """What a search's recordings and candidates are made from: all their settings."""
    enns = {"start": digest_of(load_start(config, target_of(config, dataset)))} if config.unroll.start else {}
    return Origin.of(config, dataset, ("",), enns)


def tuned_from(config: Config, dataset: Dataset, before: Critic | None, provenance: Mapping[str, Any] | None = None) -> Origin:
    """What a fine-tuned ENN is made from: ``before`` is the one that RL left, None where it is no longer there."""
    enns = {} if before is None else {"before": digest_of(before)}
    return Origin.of(config, dataset, TUNING, enns, provenance)


def mapping(value: Any) -> Mapping[str, Any]:
    """The value of a file, if it is one of names and values; else an empty one."""
    return value if isinstance(value, Mapping) else {}


def _named(data: Mapping[str, Any]) -> str:
    return f"{shown(data.get('name'))} of digest {shown(data.get('digest'))}"
