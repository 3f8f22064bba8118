"""Bayesian optimisation of one objective: a Gaussian process (scikit-learn's) and a textbook acquisition function.

The first ``startup`` candidates are random. Later ones maximise the acquisition, over random candidates and ever closer ones
around the best, of a process with a Matérn kernel (ν = 5/2, a length for every coordinate) and noise, fitted to all that was
told. Candidates that were proposed and not yet told are taken to come out as the process expects (Ginsbourger et al., 2010:
"kriging believer"), so that those of one batch differ. A candidate that failed or was stopped counts as the worst that was
told: it was no better.

Letters: N candidates, D coordinates.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from pipeline.search.samplers.acquisition import ACQUISITIONS, TRADE_OFF
from pipeline.search.samplers.encoding import Encoding

DRAWN, AROUND, ROUNDS = 1024, 256, (0.1, 0.03, 0.01)
"""candidates among which the acquisition is maximised: random ones, and around the best so far, ever closer"""
LEAST = 2
"""told candidates that a process can be fitted to"""


class Bayesian(BaseSampler):
    """See above.

    Args:
        space: the settings that are searched, all of them.
        acquisition: a name of ``ACQUISITIONS``.
        trade_off: how much it explores; None: ``TRADE_OFF``.
        startup: random candidates before the process is asked.
    """

    def __init__(
        self, space: Mapping[str, BaseDistribution], acquisition: str, trade_off: float | None, startup: int, seed: int
    ) -> None:
        self.encoding, self.worth = Encoding(space), ACQUISITIONS[acquisition]
        self.trade_off = TRADE_OFF if trade_off is None else trade_off
        self.startup, self.seed = startup, seed
        self.random = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        del study
        return dict(self.encoding.space) if trial.number >= self.startup else {}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        if not search_space:
            return {}
        before = [own for own in study.get_trials(deepcopy=False) if own.number < trial.number]
        told = [own for own in before if own.state.is_finished()]
        if sum(own.state == TrialState.COMPLETE for own in told) < LEAST:
            return self.encoding.values(self.encoding.draw(1, np.random.default_rng(self.seed))[0])
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1), warnings.catch_warnings():  # sums that threads share come out in another order
            warnings.simplefilter("ignore")  # a length at its bound is no news
            return self._best(told, [own for own in before if not own.state.is_finished()], _values(study, told))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.random.sample_independent(study, trial, param_name, param_distribution)

    def _best(
        self, told: Sequence[FrozenTrial], asked: Sequence[FrozenTrial], values: Float[np.ndarray, " N"]
    ) -> dict[str, Any]:
        """The settings that are worth most."""
        code, best, draws = self.encoding, float(values.max()), np.random.default_rng(self.seed)
        marks = code.marks([own.params for own in told])
        x = code.points(marks)
        model = _fitted(x, values, self.seed)
        if asked:
            believed = code.points(code.marks([own.params for own in asked]))
            model = _refitted(model, np.concatenate([x, believed]), np.concatenate([values, model.predict(believed)]))
        good = marks[np.argsort(-values, kind="stable")[:4]]
        rivals = np.concatenate([code.draw(DRAWN, draws), *(code.near(own, ROUNDS[0], AROUND // 4, draws) for own in good)])
        for spread in ROUNDS:
            chosen = self._most(model, rivals, best)
            rivals = np.concatenate([chosen[None], code.near(chosen, spread, AROUND, draws)])
        return code.values(self._most(model, rivals, best))

    def _most(self, model: Any, rivals: Float[np.ndarray, "N S"], best: float) -> Float[np.ndarray, " S"]:
        """The one that is worth most."""
        mean, deviation = model.predict(self.encoding.points(rivals), return_std=True)
        return rivals[int(np.argmax(self.worth(mean, np.maximum(deviation, 1e-9), best, self.trade_off)))]


def _values(study: Study, told: Sequence[FrozenTrial]) -> Float[np.ndarray, " N"]:
    """Standardised, more being better."""
    sign = 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
    known = [sign * float(own.value or 0.0) for own in told if own.state == TrialState.COMPLETE]
    worst = min(known)
    values = np.array([sign * float(own.value or 0.0) if own.state == TrialState.COMPLETE else worst for own in told])
    return (values - values.mean()) / (values.std() or 1.0)


def _fitted(x: Float[np.ndarray, "N D"], values: Float[np.ndarray, " N"], seed: int) -> Any:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    each: Any = np.full(x.shape[1], 0.5)
    lengths = Matern(each, (0.05, 20.0), nu=2.5)
    kernel = ConstantKernel(1.0, (0.05, 20.0)) * lengths + WhiteKernel(0.05, (1e-4, 1.0))
    return GaussianProcessRegressor(kernel, n_restarts_optimizer=1, random_state=seed % 2**32).fit(x, values)


def _refitted(model: Any, x: Float[np.ndarray, "N D"], values: Float[np.ndarray, " N"]) -> Any:
    """The same kernel, on more points."""
    from sklearn.gaussian_process import GaussianProcessRegressor

    as_it_is: Any = None
    return GaussianProcessRegressor(model.kernel_, optimizer=as_it_is).fit(x, values)
