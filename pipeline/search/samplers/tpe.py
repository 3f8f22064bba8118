"""Tree-structured Parzen estimator (Bergstra et al., 2011), by Optuna."""

from typing import TYPE_CHECKING, Any

from pipeline.search.samplers.form import Form
from pipeline.search.values import Sampler

if TYPE_CHECKING:
    import optuna


def make(options: Sampler, space: Any, seed: int) -> "optuna.samplers.BaseSampler":
    import optuna

    del space
    return optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=options.startup, multivariate=True, group=True, constant_liar=True
    )


SAMPLER = Form(says="densities of good and of bad candidates (TPE)", takes=("startup", "random_every"), make=make)
