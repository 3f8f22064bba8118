"""Who proposes architectures: an algorithm of :mod:`pipeline.architectures.searches` over the choices of a file's space.

What it proposes follows from the seed and from what it has been told, in order; a search that goes on tells it the same again.
Scores of a predictor are kept in ``scores.json``, because some take a second each, with what they were made from; without the
file they are computed again.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.architectures.assist import Assist
from pipeline.architectures.searches import SEARCHES
from pipeline.architectures.space import Code, Space
from pipeline.config import Config, to_dotted
from pipeline.config.architecture import operations
from pipeline.data.dataset import Dataset
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.names import parts_of
from pipeline.results.origin import Origin, data_of, fits, mapping
from pipeline.results.seal import CHECKSUM, check_seal, sealed
from pipeline.search.plan import Plan, deciding
from pipeline.search.values import Algorithm, Group
from pipeline.seeding import stream

if TYPE_CHECKING:
    from torch import nn

DECISIVE = ("seed", "target.", "architecture.")
"""settings, or the beginnings of their names, that decide the score of a network"""


class ArchitectureProposals:
    """The candidates of one group; see :class:`pipeline.search.propose.Proposals`.

    Args:
        folder: where the scores are, or are to be.
        dataset: what a predictor looks at.
    """

    def __init__(self, plan: Plan, group: Group, folder: Path, dataset: Dataset | None) -> None:
        self.plan, self.group, self.dataset = plan, group, dataset
        self.space = space_of(group)
        self.config, self.path = plan.config(group), folder / "scores.json"
        self.known: dict[str, dict[str, float]] = {}
        """scores by a network's name"""
        self.unkept = False
        """whether the file lacks one"""
        self.origin: Origin | None = None
        """of the scores"""
        self.assist = self._assist()
        seed = stream(self.config.seed, "search", group.name)
        self.search = SEARCHES[(plan.algorithm or Algorithm()).name](self.space, seed, self.assist)
        self.codes: list[Code] = []
        self.told, self.spent, self.charged = 0, 0.0, 0

    @property
    def total(self) -> int:
        """How many candidates there will be: on a table none is begun once the simulated seconds are spent."""
        return len(self.codes) if self.over else self.plan.budget.candidates

    @property
    def over(self) -> bool:
        """Whether the simulated seconds of the table are spent."""
        return bool(self.config.architecture.table) and self.spent >= self.config.architecture.seconds

    def propose(self, number: int) -> dict[str, Any]:
        """The settings of a candidate, by dotted name."""
        assert number == len(self.codes), "candidates are proposed in order"
        self.codes.append(self.search.ask(number))
        if self.unkept:
            self._keep()
        return self._settings(self.codes[number])

    def tell(self, number: int, result: dict[str, Any] | None, failed: bool = False) -> None:
        """The outcome of a candidate: of the last stage, or None where it was stopped before."""
        del failed
        name, direction = self.plan.objectives[0]
        sign = -1.0 if direction == "minimise" else 1.0
        self.search.tell(number, sign * deciding(result, name) if result else None)
        self.spent += float((result or {}).get("simulated_seconds", 0.0))
        if self.plan.assist:
            self.spent += (len(self.assist.scored) - self.charged) * self.plan.assist.seconds
            self.charged = len(self.assist.scored)

    def _settings(self, code: Code) -> dict[str, Any]:
        return {own.key: own.choice[choice] for own, choice in zip(self.group.space, code, strict=True)}

    # -- scores --------------------------------------------------------------------------------------------------------

    def _assist(self) -> Assist:
        asked = self.plan.assist
        if asked is None or self.dataset is None:
            return Assist()
        from pipeline.architectures.scoring import batch_of
        from pipeline.predictors.rank import combined

        channels = 3 if self.config.architecture.table else None
        batch = batch_of(self.dataset, min(asked.examples, len(self.dataset.y_train)), self.config.seed, channels)
        parts = parts_of(asked.predictor)
        self.origin = self._origin(self.dataset, parts, batch[0])
        self.known = self._kept(parts, self.origin)

        def score(code: Code) -> dict[str, float]:
            name = self.space.text(code)
            if name not in self.known:
                chosen = self._settings(code)
                self.known[name] = {part: self._score(part, chosen, name, batch) for part in parts}
                self.unkept = True
            return self.known[name]

        def among(scores: Sequence[Mapping[str, float]]) -> list[float]:
            return combined(asked.predictor, {part: [own[part] for own in scores] for part in parts})

        return Assist(score, asked.proposals, among=among)

    def _kept(self, parts: Sequence[str], origin: Origin) -> dict[str, dict[str, float]]:
        """Scores that the file holds, of each network by each part of the predictor; none without it.

        Raises:
            UserError: it is damaged, was changed by hand, or was made from something else; the sentence names both.
        """
        if not self.path.exists():
            return {}
        kept = mapping(read_json(self.path))
        check_seal(self.path, kept)
        if CHECKSUM not in kept or not fits(self.path, kept.get("origin"), origin):
            raise UserError(f"{self.path} does not say what it was made from; delete it and give the same command again.")
        try:
            return {name: {part: float(own[part]) for part in parts} for name, own in kept["scores"].items()}
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{self.path} is truncated or corrupt; delete it and give the same command again.") from error

    def _origin(self, dataset: Dataset, parts: Sequence[str], x: Any) -> Origin:
        """What decides the scores: the data, what every network shares, and how it is looked at."""
        from pipeline.predictors import named

        settings: dict[str, Any] = {key: value for key, value in to_dotted(self.config).items() if key.startswith(DECISIVE)}
        looked = {
            "predictors": sorted(repr(named(part)) for part in parts),
            "examples": len(x),
            "input_shape": list(x.shape[1:]),
        }
        return Origin(data_of(dataset), settings | looked)

    def _score(self, predictor: str, chosen: dict[str, Any], name: str, batch: Any) -> float:
        """NaN where the predictor is not made for such a network."""
        from pipeline.enn.readers import Unreadable
        from pipeline.predictors import named
        from pipeline.predictors.checks import Unsuited
        from pipeline.seeding import torch_stream

        network = network_of(self.plan.config(self.group, chosen), self.dataset, stream(self.config.seed, "networks"))
        try:
            return named(predictor).score(network, batch, torch_stream(self.config.seed, "predictor", predictor, name))
        except (Unsuited, Unreadable):
            return math.nan
        except UserError as error:
            raise UserError(f"assist.predictor: {predictor} cannot score {name}: {error}") from error

    def _keep(self) -> None:
        """A number of each network by each part of the predictor."""
        told = {name: {part: str(value) for part, value in own.items()} for name, own in self.known.items()}
        assert self.origin is not None
        write_json(self.path, sealed({"scores": told, "origin": self.origin.as_json()}))
        self.unkept = False


def network_of(config: Config, dataset: "Dataset | None", seed: int) -> "nn.Module":
    """The network that a candidate's settings stand for, at its initialisation: a cell's, or the target's from He."""
    from torch import nn

    from pipeline.architectures.spaces.nasbench201 import CELLS, CHANNELS
    from pipeline.setting import convnet_of, target_of
    from pipeline.targets import initialise
    from pipeline.targets.nasbench201 import Cell, network

    assert dataset is not None
    if config.architecture.table:
        return network(Cell(operations(config.architecture)), dataset.classes, CHANNELS, CELLS, seed)
    if config.architecture.channels:
        return convnet_of(config, dataset.image_shape, dataset.classes, seed)
    target = target_of(config, dataset)
    return nn.Sequential(nn.Flatten(), target.module([tensor[0] for tensor in initialise(target, "he", [seed])]))


def space_of(group: Group) -> Space:
    """The choices of a file's space as a space of architectures."""
    keys = [own.key for own in group.space]

    def text(code: Code) -> str:
        return json.dumps({key: own.choice[choice] for key, own, choice in zip(keys, group.space, code, strict=True)})

    def none(*_: object) -> Any:
        raise NotImplementedError("a file's space names its architectures by their settings")

    return Space("file", {own.key: own.choice for own in group.space}, none, text, none)
