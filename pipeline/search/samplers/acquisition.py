"""What makes a candidate worth trying, given what a model expects of it: three textbook acquisition functions.

With the mean μ and the standard deviation s that a Gaussian process has for a candidate, the best value y* so far, the standard
normal's density φ and distribution Φ, and a trade-off t ≥ 0, the larger of which explores more:

    pi   probability of improvement (Kushner, 1964)            Φ(z),                      z = (μ − y* − t) / s
    ei   expected improvement (Močkus, 1975)                   (μ − y* − t) Φ(z) + s φ(z)
    ucb  upper confidence bound (Srinivas et al., 2010)        μ + t s

More is better. μ, s, y* and t are in units of the standard deviation of all values that were told.

Letters: N candidates.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

TRADE_OFF = 0.1
"""unless the search's file says otherwise; the dissertation's, for ucb (Eyono, 2020)"""
Acquisition = Callable[[Float[np.ndarray, " N"], Float[np.ndarray, " N"], float, float], Float[np.ndarray, " N"]]
"""(mean, deviation, best, trade_off) -> how much each is worth"""


def probability_of_improvement(
    mean: Float[np.ndarray, " N"], deviation: Float[np.ndarray, " N"], best: float, trade_off: float
) -> Float[np.ndarray, " N"]:
    from scipy.special import ndtr

    return ndtr((mean - best - trade_off) / deviation)


def expected_improvement(
    mean: Float[np.ndarray, " N"], deviation: Float[np.ndarray, " N"], best: float, trade_off: float
) -> Float[np.ndarray, " N"]:
    from scipy.special import ndtr

    gain = mean - best - trade_off
    z = gain / deviation
    return gain * ndtr(z) + deviation * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)


def upper_confidence_bound(
    mean: Float[np.ndarray, " N"], deviation: Float[np.ndarray, " N"], best: float, trade_off: float
) -> Float[np.ndarray, " N"]:
    del best
    return mean + trade_off * deviation


ACQUISITIONS: dict[str, Acquisition] = {
    "pi": probability_of_improvement,
    "ei": expected_improvement,
    "ucb": upper_confidence_bound,
}
"""by name, as :data:`pipeline.names.Acquisition` lists them"""
