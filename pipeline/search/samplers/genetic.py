"""A genetic algorithm for one objective: sample a generation, evaluate it, select the better ones, cross over and mutate,
repeat.

Optuna's NSGA-II is one where there is a single objective; here two parents are mixed by BLX-α (Eshelman & Schaffer, 1993),
which draws a child's numbers from around the interval between them, rather than taking each from one of them. A setting that
mutates is drawn anew.
"""

from typing import TYPE_CHECKING, Any

from pipeline.search.samplers.form import Form
from pipeline.search.values import Sampler

if TYPE_CHECKING:
    import optuna


def make(options: Sampler, space: Any, seed: int) -> "optuna.samplers.BaseSampler":
    import optuna

    del space
    return optuna.samplers.NSGAIISampler(
        seed=seed,
        population_size=options.population,
        mutation_prob=options.mutation,
        crossover=optuna.samplers.nsgaii.BLXAlphaCrossover(),
    )


SAMPLER = Form(
    says="a genetic algorithm: select, cross over (BLX-α), mutate",
    takes=("population", "mutation", "random_every"),
    one_objective=True,
    make=make,
)
