"""Predictors: a number from an untrained network that ranks networks, one file each. A new one is a file with a ``PREDICTOR``,
its class, and its line in :data:`pipeline.names.PredictorName`; the tests of all predictors then run on it."""

from dataclasses import fields
from typing import Any

from pipeline import names
from pipeline.errors import UserError, nearest, shown
from pipeline.predictors import checks
from pipeline.predictors.predictor import Labelled, Predictor, Scored

PREDICTORS: dict[str, type[Predictor]] = names.registered(names.PredictorName, __name__, "PREDICTOR")


def named(name: str, **settings: Any) -> Predictor:
    """The predictor of this name, with settings of its own.

    Raises:
        UserError: there is no such predictor, it has no such setting, or the setting's value is none.
    """
    if not isinstance(name, str) or name not in PREDICTORS:
        near = nearest(name, PREDICTORS)
        raise UserError(f"unknown predictor {shown(name)}; did you mean {near!r}? choose from {', '.join(PREDICTORS)}.")
    kind = PREDICTORS[name]
    known = {field.name: field.default for field in fields(kind)}  # and nothing that belongs to the class
    if wrong := [key for key in settings if key not in known]:
        raise UserError(f"the predictor {name!r} has no setting {wrong[0]!r}; it takes {', '.join(known)}.")
    checked: dict[str, Any] = {key: checks.setting(key, value, known[key]) for key, value in settings.items()}
    return kind(**checked)


__all__ = ["PREDICTORS", "Labelled", "Predictor", "Scored", "named"]
