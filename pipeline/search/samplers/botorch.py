"""Gaussian processes of BoTorch, an extra."""

from typing import TYPE_CHECKING, Any

from pipeline.errors import UserError
from pipeline.search.samplers.form import Form
from pipeline.search.values import Sampler

if TYPE_CHECKING:
    import optuna


def make(options: Sampler, space: Any, seed: int) -> "optuna.samplers.BaseSampler":
    import optuna

    del space
    try:
        from optuna_integration import BoTorchSampler  # pyright: ignore[reportMissingImports]  (an extra)
    except ImportError as error:
        raise UserError(
            "sampler botorch needs packages that are not installed; install them with: pip install 'grad-instructor[search]', "
            "or choose gp."
        ) from error
    random = optuna.samplers.RandomSampler(seed=seed)
    return BoTorchSampler(n_startup_trials=options.startup, seed=seed, independent_sampler=random)


SAMPLER = Form(says="BoTorch's Gaussian process, with `pip install '.[search]'`", takes=("startup", "random_every"), make=make)
