"""BOHB's proposals (Falkner et al. 2018, arXiv 1807.01774): a tree of Parzen estimators over all decisions at once.

The estimators are those of Optuna (its multivariate ``TPESampler``), with BOHB's numbers: a third of the proposals is
uniform, as are those before there are D + 1 results; the good are the best 15 %; of 64 samples the best is proposed.
hpbandster, the authors' own package and what Ray Tune's ``TuneBOHB`` needs, has had no release since 2018.

BOHB's other half, successive halving, needs accuracies on the way. The table has none, so that every architecture is trained
whole there (Zhang and Jia's code, like that of NAS-Bench-201, has one fidelity as well); where networks are really trained, the
stages of the search are the halving. Assisted, a proposal is the best of ten uniform draws: the estimators then play no part.
"""

import math
import warnings
from typing import Any

from pipeline.architectures.searches.search import Search
from pipeline.architectures.space import Code
from pipeline.seeding import stream

UNIFORM, GOOD, SAMPLES = 1 / 3, 0.15, 64
"""the share of proposals that is drawn uniformly; the share of results that counts as good; samples of which the best is
taken"""


class BOHB(Search):
    """Its study is in memory: it is told again what was told before."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._study, self._told = _new_study(), 0
        self._choices: Any = {str(place): _choices(count) for place, count in enumerate(self.space.counts)}

    def ask(self, number: int) -> Code:
        draws = self.draws(number)
        if self.assist.score is not None:  # the estimators play no part
            return self.assist.best(self.space.draw(draws, self.assist.count))
        if draws.random() < UNIFORM or self._told <= len(self.space.counts):
            code = self.space.draw(draws, 1)[0]
            self._study.enqueue_trial({str(place): choice for place, choice in enumerate(code)})
        self._study.sampler = _sampler(stream(self.seed, "estimators", number))
        found = self._study.ask(self._choices).params
        return tuple(int(found[name]) for name in self._choices)

    def tell(self, number: int, reward: float | None) -> None:
        if self.assist.score is None:
            self._study.tell(number, reward, state=None if reward is not None else _failed())
            self._told += reward is not None


def _new_study() -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(direction="maximize")


def _sampler(seed: int) -> Any:
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the sampler's being experimental is no news to the user
        return optuna.samplers.TPESampler(
            seed=seed % 2**32, n_startup_trials=0, n_ei_candidates=SAMPLES, multivariate=True, gamma=_good
        )


def _good(count: int) -> int:
    """How many of so many results count as good."""
    return max(1, math.ceil(GOOD * count))


def _choices(count: int) -> Any:
    import optuna

    return optuna.distributions.CategoricalDistribution(range(count))


def _failed() -> Any:
    from optuna.trial import TrialState

    return TrialState.FAIL


SEARCH = BOHB
