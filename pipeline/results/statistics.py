"""How sure a number is: bootstrap intervals, differences paired by seed, many tests at once, rank correlations.

All intervals are at 95 % unless told otherwise and seeded, so that a report made twice is the same. scipy is imported when it
is used (it takes a second), so that what was computed before can be shown without it.
"""

import math
from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from pipeline.seeding import numpy_stream

RESAMPLES = 10_000
GROUPS = 1000
"""points or runs that an interval of a rank correlation is resampled from, at most (its cost is their square)"""
DEFINED = 0.75
"""the share of the resamples that must have a rank correlation: an interval of those alone that happen to have one, such as of
one point among many ties, may not even hold the correlation that it is of"""
NAN = math.nan


def mean_interval(values: Sequence[float], confidence: float = 0.95, seed: int = 0) -> tuple[float, float, float]:
    """Mean of ``values`` and its bootstrap interval (BCa, Efron 1987; percentile where BCa is undefined).

    A single value has no interval (NaN); with a value that is not finite there is neither mean nor interval.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.size == 0 or not np.isfinite(sample).all():
        return NAN, NAN, NAN
    mean = float(sample.mean())
    if sample.size == 1:
        return mean, NAN, NAN
    if np.ptp(sample) == 0:
        return mean, mean, mean
    low, high = _bootstrap(sample, confidence, seed, "BCa")
    if math.isnan(low) or math.isnan(high):
        low, high = _bootstrap(sample, confidence, seed, "percentile")
    return mean, low, high


def _bootstrap(sample: Float[np.ndarray, " N"], confidence: float, seed: int, method: str) -> tuple[float, float]:
    from scipy import stats

    draws: Any = numpy_stream(seed, "bootstrap")
    options = {"confidence_level": confidence, "n_resamples": RESAMPLES, "method": method}
    interval = stats.bootstrap((sample,), np.mean, rng=draws, **options).confidence_interval
    return float(interval.low), float(interval.high)


def paired(values: Sequence[float], baseline: Sequence[float], seed: int = 0) -> dict[str, Any]:
    """The mean difference of two arms that share seeds: values[i] and baseline[i] come from the same seed.

    The test is the paired t-test. Wilcoxon's cannot give a p below 2/2ⁿ (0.06 at 5 seeds) and breaks down on the ties that
    accuracies have; the t-test's assumption, normal means, is checked by the interval beside it, which does not make it.
    Where all differences are equal the t-test is undefined: p is 1 if they are zero, else that of the sign test, 2/2ⁿ.

    Returns:
        difference, low, high (bootstrap interval), p, n, test.
    """
    if len(values) != len(baseline):
        raise ValueError(f"{len(values)} values cannot be paired with {len(baseline)}")
    differences = np.asarray(values, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    difference, low, high = mean_interval(differences.tolist(), seed=seed)
    p, test = _p_value(differences)
    return {"difference": difference, "low": low, "high": high, "p": p, "n": len(differences), "test": test}


def _p_value(differences: Float[np.ndarray, " N"]) -> tuple[float, str]:
    count = len(differences)
    if count < 2 or not np.isfinite(differences).all():
        return NAN, "none"
    from scipy import stats

    if not differences.any():
        return 1.0, "none"
    if np.ptp(differences) <= 1e-12 * np.abs(differences).max():
        return 2.0 / 2**count, "sign"
    tested: Any = stats.ttest_1samp(differences, 0.0)
    return float(tested.pvalue), "paired t"


def holm(p_values: Sequence[float | int | None]) -> list[float]:
    """The p of one family of tests, corrected for their number by Holm's step-down (Holm 1979, Scand. J. Statist. 6, 65-70).

    Of m tests, with p in ascending order, the i-th becomes the largest of (m − j + 1) · p_j over j ≤ i, and at most 1. Whoever
    rejects what is then at most α wrongly rejects any true hypothesis of the family with probability at most α, however the
    tests depend on each other.

    Args:
        p_values: None or NaN where there was no test: it counts for nothing.

    Returns:
        The corrected p in the order given; NaN where there was no test.
    """
    tested = [(float(p), index) for index, p in enumerate(p_values) if p is not None and not math.isnan(p)]
    corrected, largest = [NAN] * len(p_values), 0.0
    for before, (p, index) in enumerate(sorted(tested)):
        largest = max(largest, min(1.0, (len(tested) - before) * p))
        corrected[index] = largest
    return corrected


def rank_correlation(
    predicted: Sequence[float],
    realised: Sequence[float],
    groups: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = 1000,
) -> dict[str, float]:
    """How well predictions rank what came true.

    Args:
        groups: the run each point comes from. Points of one run are alike, so whole runs are resampled for the interval.

    Returns:
        kendall (τ-b) with its bootstrap interval low and high (percentile; NaN where too few resamples have a τ), spearman,
        r2 (the share of the realised values' variance that is predicted, 1 − SS_residual/SS_total: below 0 when worse than
        their mean), n.
    """
    from scipy import stats

    x, y = np.asarray(predicted, dtype=np.float64), np.asarray(realised, dtype=np.float64)
    finite = np.isfinite(x) & np.isfinite(y)
    labels = _labels(groups, len(x))[finite]
    x, y = x[finite], y[finite]
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        undefined = dict.fromkeys(("kendall", "low", "high", "spearman"), NAN)
        return {**undefined, "r2": _r2(x, y), "n": len(x)}
    low, high = _kendall_interval(x, y, labels, confidence, seed, resamples)
    kendall: Any = stats.kendalltau(x, y)
    spearman: Any = stats.spearmanr(x, y)
    correlations = {"kendall": float(kendall.statistic), "low": low, "high": high, "spearman": float(spearman.statistic)}
    return {**correlations, "r2": _r2(x, y), "n": len(x)}


def _r2(x: Float[np.ndarray, " N"], y: Float[np.ndarray, " N"]) -> float:
    total = float(((y - y.mean()) ** 2).sum()) if len(y) else 0.0
    return 1.0 - float(((y - x) ** 2).sum()) / total if total > 0 else NAN


def _labels(groups: Sequence[Hashable] | None, count: int) -> Int[np.ndarray, " N"]:
    if groups is None:
        return np.arange(count)
    numbers = {group: index for index, group in enumerate(dict.fromkeys(groups))}
    return np.array([numbers[group] for group in groups], dtype=np.int64)


def _kendall_interval(
    x: Float[np.ndarray, " N"],
    y: Float[np.ndarray, " N"],
    labels: Int[np.ndarray, " N"],
    confidence: float,
    seed: int,
    resamples: int,
) -> tuple[float, float]:
    """τ-b of a resample is (wᵀSw) / √(wᵀXw · wᵀYw), w = how often each group was drawn: S, X and Y hold, for two groups, the
    sums over their pairs of points of sign Δx · sign Δy, |sign Δx| and |sign Δy|. So S, X and Y are summed only once."""
    labels = _at_most(GROUPS, labels, seed)
    count = int(labels.max()) + 1
    drawn = numpy_stream(seed, "bootstrap").multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)
    parts = [np.einsum("rg,rg->r", drawn @ sums, drawn) for sums in _pair_sums(x, y, labels)]
    with np.errstate(divide="ignore", invalid="ignore"):
        tau = parts[0] / np.sqrt(parts[1] * parts[2])
    tau = tau[np.isfinite(tau)]
    if len(tau) < DEFINED * resamples:
        return NAN, NAN
    tail = (1 - confidence) / 2
    low, high = np.quantile(tau, [tail, 1 - tail])
    return float(low), float(high)


def _at_most(most: int, labels: Int[np.ndarray, " N"], seed: int) -> Int[np.ndarray, " N"]:
    """The groups numbered from 0; more than ``most`` are joined at random, which leaves the interval as it was."""
    _, labels = np.unique(labels, return_inverse=True)
    count = int(labels.max()) + 1
    return labels if count <= most else (numpy_stream(seed, "groups").permutation(count) % most)[labels]


def _pair_sums(
    x: Float[np.ndarray, " N"], y: Float[np.ndarray, " N"], labels: Int[np.ndarray, " N"]
) -> list[Float[np.ndarray, "G G"]]:
    order = np.argsort(labels, kind="stable")
    x, y = x[order], y[order]
    starts = np.searchsorted(labels[order], np.arange(int(labels.max()) + 2))
    sums: list[list[np.ndarray]] = [[], [], []]
    for first, last in pairwise(starts):  # a group at a time, so that 10,000 points need no N × N matrix
        sign_x, sign_y = np.sign(x[first:last, None] - x), np.sign(y[first:last, None] - y)
        for rows, pairs in zip(sums, (sign_x * sign_y, np.abs(sign_x), np.abs(sign_y)), strict=True):
            rows.append(np.add.reduceat(pairs.sum(0), starts[:-1]))
    return [np.stack(rows) for rows in sums]
