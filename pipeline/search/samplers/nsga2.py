"""NSGA-II (Deb et al., 2002), by Optuna: a genetic algorithm for several objectives."""

from typing import TYPE_CHECKING, Any

from pipeline.search.samplers.form import Form
from pipeline.search.values import Sampler

if TYPE_CHECKING:
    import optuna


def make(options: Sampler, space: Any, seed: int) -> "optuna.samplers.BaseSampler":
    import optuna

    del space
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=options.population)


SAMPLER = Form(says="a genetic algorithm for several objectives (NSGA-II)", takes=("population", "random_every"), make=make)
