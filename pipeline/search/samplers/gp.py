"""A Gaussian process: Optuna's with the logarithm of the expected improvement, or with an ``acquisition`` of
:mod:`pipeline.search.samplers.acquisition` the textbook's, for one objective."""

from typing import TYPE_CHECKING, Any

from pipeline.search.samplers.form import Form
from pipeline.search.values import Sampler

if TYPE_CHECKING:
    import optuna


def make(options: Sampler, space: Any, seed: int) -> "optuna.samplers.BaseSampler":
    import optuna

    if not options.acquisition:
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=options.startup)
    from pipeline.search.samplers.bayesian import Bayesian

    return Bayesian(space, options.acquisition, options.trade_off, options.startup, seed)


SAMPLER = Form(
    says="a Gaussian process; `acquisition: pi`, `ei` or `ucb` with their `trade_off`, else Optuna's log EI",
    takes=("startup", "acquisition", "trade_off", "random_every"),
    make=make,
)
