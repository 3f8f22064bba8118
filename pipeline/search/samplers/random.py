"""Every candidate is drawn independently of all others: the control that every other sampler is to beat."""

from typing import TYPE_CHECKING, Any

from pipeline.search.samplers.form import Form
from pipeline.search.values import Sampler

if TYPE_CHECKING:
    import optuna


def make(options: Sampler, space: Any, seed: int) -> "optuna.samplers.BaseSampler":
    import optuna

    del options, space
    return optuna.samplers.RandomSampler(seed=seed)


SAMPLER = Form(says="independent draws: the control", make=make)
