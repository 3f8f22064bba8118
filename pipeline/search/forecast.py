"""The gain that an ENN will give, predicted from what can be measured of it in seconds.

A ridge regression over few standardised measurements: with a dozen to some dozens of ENNs to learn from, little more can be
fitted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MEASURED = (
    "rank_correlation",
    "calibration_error",
    "value_spread",
    "cosine",
    "cosine_early",
    "cosine_late",
    "agreement",
    "look_ahead",
    "parameters",
    "operations_per_instruction",
)
"""measurements of the first stage; none of them is a time, or the number of workers could change a forecast"""
TRIAL = "gain"
"""of a few fresh targets, where the first stage trains some"""
LOGARITHMIC = ("calibration_error", "value_spread", "parameters", "operations_per_instruction")
PENALTIES = np.logspace(-1, 3, 13)


def features(results: Sequence[Mapping[str, Any]], names: Sequence[str] = (*MEASURED, TRIAL)) -> np.ndarray:
    """(ENNs, measurements) of a stage's results, those of ``names`` that all have; the logarithm of what varies by factors."""
    names = [name for name in names if all(name in result for result in results)]
    values = [[float(result[name]) for name in names] for result in results]
    table = np.array(values, dtype=np.float64).reshape(len(results), len(names))
    for column, name in enumerate(names):
        if name in LOGARITHMIC:
            table[:, column] = np.log10(np.maximum(table[:, column], 1e-6))
    return np.nan_to_num(table)


def regressor() -> Any:
    """Ridge regression; its penalty is chosen by leave-one-out on what it is fitted to."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeCV(PENALTIES))


def forecast(known: Sequence[Mapping[str, Any]], gains: Sequence[float], asked: Sequence[Mapping[str, Any]]) -> list[float]:
    """The gains of the ENNs ``asked``, by their first stage's results, learned from ENNs whose gains are ``known``."""
    return regressor().fit(features(known), np.array(gains)).predict(features(asked)).tolist()
