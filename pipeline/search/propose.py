"""Proposing candidates: a sampler (:mod:`pipeline.search.samplers`) as a function of the seed, the candidate's number and what
has been told.

Each proposal uses a fresh sampler whose seed depends on (seed, group, number), and a study in a SQLite file, ``study.db``, that
holds what was proposed and told. So there is no sampler state besides the study, nothing is pickled, a search that was killed
goes on with the proposal at which it stopped, and the same seed proposes the same candidates.
"""

import itertools
import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import Trial, TrialState

from pipeline.addresses import sqlite_uri
from pipeline.config import PRESETS, to_dotted
from pipeline.errors import UserError, reason_of
from pipeline.results.databases import refuse_strange
from pipeline.search.plan import Plan, deciding
from pipeline.search.samplers import SAMPLERS
from pipeline.search.values import Dimension, Group
from pipeline.seeding import stream

optuna.logging.set_verbosity(optuna.logging.ERROR)
DIRECTIONS = {"maximise": StudyDirection.MAXIMIZE, "minimise": StudyDirection.MINIMIZE}


class Proposals:
    """The candidates of one group.

    Args:
        folder: where ``study.db`` is, or is to be.
    """

    def __init__(self, plan: Plan, group: Group, folder: Path) -> None:
        self.plan, self.group = plan, group
        self.defaults = to_dotted(PRESETS[plan.preset]) | group.settings
        self.seed = int(self.defaults["seed"])
        self.study = _study(plan, group, folder)
        self.grid = list(itertools.product(*(d.choice for d in group.space))) if plan.sampler.name == "grid" else []

    @property
    def total(self) -> int:
        """How many candidates there will be."""
        return min(self.plan.budget.candidates, len(self.grid) or self.plan.budget.candidates)

    def propose(self, number: int) -> dict[str, Any]:
        """The settings of a candidate, by dotted name; the same again for one that was proposed before."""
        trials = self.study.get_trials(deepcopy=False)
        if number < len(trials) and (stored := self._stored(trials[number].params)) is not None:
            return stored
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the samplers' being experimental is no news to the user
            self.study.sampler = _sampler(self.plan, self.group, number, stream(self.seed, "search", self.group.name, number))
            laid_down = number < len(trials) and trials[number].state == TrialState.WAITING  # and not asked for yet
            if number < len(trials) and not laid_down:  # a proposal that was interrupted
                return self._suggested(Trial(self.study, trials[number]._trial_id))
            if self.grid and not laid_down:
                cell = zip(self.group.space, self.grid[number], strict=True)
                self.study.enqueue_trial({dimension.key: _label(value) for dimension, value in cell})
            return self._suggested(self.study.ask())

    def _stored(self, params: dict[str, Any]) -> dict[str, Any] | None:
        """The settings that a trial of the study has; None where it lacks one."""
        chosen: dict[str, Any] = {}
        for dimension in self._active(chosen):
            if dimension.key not in params:
                return None
            chosen[dimension.key] = _value_of(dimension, params[dimension.key])
        return chosen

    def _suggested(self, trial: Trial) -> dict[str, Any]:
        chosen: dict[str, Any] = {}
        for dimension in self._active(chosen):
            chosen[dimension.key] = _value_of(dimension, trial._suggest(dimension.key, distribution_of(dimension)))
        return chosen

    def _active(self, chosen: dict[str, Any]) -> Iterator[Dimension]:
        """The dimensions that matter, one after the other, given what was ``chosen`` of those before."""
        for dimension in self.group.space:
            if all((self.defaults | chosen)[key] in wanted for key, wanted in dimension.when):
                yield dimension

    def tell(self, number: int, result: dict[str, Any] | None, failed: bool = False) -> None:
        """The outcome of a candidate: of the last stage, or None where it was stopped before."""
        if self.study.get_trials(deepcopy=False)[number].state.is_finished():
            return
        values = [deciding(result, name) for name, _ in self.plan.objectives] if result else []
        if values and all(math.isfinite(value) for value in values):
            self.study.tell(number, values)
        else:
            self.study.tell(number, state=TrialState.FAIL if failed or result else TrialState.PRUNED)


def distribution_of(dimension: Dimension) -> BaseDistribution:
    """Optuna's form of a dimension. Lists are choices by their JSON text."""
    if dimension.choice:
        return CategoricalDistribution([_label(value) for value in dimension.choice])
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _label(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else value


def _value_of(dimension: Dimension, label: Any) -> Any:
    if dimension.choice:
        return next(value for value in dimension.choice if _label(value) == label)
    # four significant digits: settings are read by people, and a table shows what was tried
    return int(label) if dimension.whole else min(max(float(f"{label:.4g}"), dimension.low), dimension.high)


def _study(plan: Plan, group: Group, folder: Path) -> optuna.Study:
    folder.mkdir(parents=True, exist_ok=True)
    refuse_strange(folder / "study.db")
    name = group.name or plan.name
    directions = [DIRECTIONS[direction] for _, direction in plan.objectives]
    try:
        storage = optuna.storages.RDBStorage(sqlite_uri((folder / "study.db").resolve()))
        study = optuna.create_study(study_name=name, storage=storage, directions=directions, load_if_exists=True)
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("sqlalchemy", "optuna", "sqlite3", "alembic"):
            raise
        raise UserError(
            f"{folder / 'study.db'} cannot be used ({reason_of(error)}); delete it, and give the same command again: "
            "finished candidates are kept."
        ) from error
    return study


def _sampler(plan: Plan, group: Group, number: int, seed: int) -> BaseSampler:
    options = plan.sampler
    random = options.random_every and number % options.random_every == options.random_every - 1
    space = {dimension.key: distribution_of(dimension) for dimension in group.space}
    return SAMPLERS["random" if random else options.name].make(options, space, seed % 2**32)
