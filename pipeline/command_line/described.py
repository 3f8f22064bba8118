"""What runs are said to be in MLflow's columns: few parameters, and true ones. All settings are in ``config.json``."""

from collections.abc import Mapping
from typing import Any

from pipeline.arms import ARMS, BEFORE, FIRST
from pipeline.command_line.comparing import of_preset
from pipeline.config import PRESETS, Config, rule_settings, to_dotted

MOST = 30
"""columns of parameters of all runs of a folder together"""
TARGETS = (
    "data.dataset",
    "seed",
    "target.hidden",
    "target.activation",
    "target.initialisation",
    "training.optimiser",
    "training.learning_rate",
    "training.schedule",
    "training.batch_size",
    "training.steps",
    "rule.name",
    "compare.seeds",
)
"""settings that say how targets are trained"""
INSTRUCTED = ("enn.readers", "instruction.refresh", "instruction.trust_region")
"""settings of arms that an ENN instructs"""
LEARNED = (*INSTRUCTED, "rl.rounds", "rl.period", "rl.gamma", "unroll.segments")
"""settings that say how an ENN learns"""
OF_ARMS = ("arm", "strength", "lambda", "trained_on")
"""parameters that arms have beside settings"""


def of_work(config: Config, preset: str, without_enn: bool) -> dict[str, Any]:
    """Of a folder's own run: the settings that its children have, and those that are not the preset's, while there is room."""
    values = to_dotted(config)
    names = [*TARGETS, "compare.baseline", *(() if without_enn else LEARNED)]
    usual = to_dotted(of_preset(PRESETS[preset]) if without_enn else PRESETS[preset])
    own = [name for name, value in values.items() if value != usual[name] and name not in names and not _is_long(value)]
    names += own[: MOST - len(OF_ARMS) - len(names)]
    return {name: values[name] for name in names}


def _is_long(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 8


def of_enn(config: Config) -> dict[str, Any]:
    """Of the ENN's run."""
    values = to_dotted(config)
    return {name: values[name] for name in (*TARGETS, *LEARNED) if not name.startswith(("compare.", "rule."))}


def of_arm(config: Config, arm: str, strength: float | None, chooses_rate: bool) -> dict[str, Any]:
    """Of an arm, as it is trained: its own start, rule, learning rate and strength in place of the configured ones.

    Args:
        strength: what was chosen on validation data; None where nothing is to be chosen, or is not yet.
        chooses_rate: what is chosen is a factor of the learning rate.
    """
    own, values = ARMS[arm], to_dotted(config)
    names = (*TARGETS, *(INSTRUCTED if own.enn else ()))
    values |= {"target.initialisation": own.start or config.target.initialisation, "rule.name": rule_of(config, own.signal)}
    told: dict[str, Any] = {"arm": arm, "trained_on": "training and validation" if own.everything else "training"}
    if own.enn:
        reader = config.enn.readers[0] if own.enn in (FIRST, BEFORE) else own.enn
        values["enn.readers"] = f"{reader}, before fine-tuning" if own.enn == BEFORE else reader
    if chooses_rate:
        values["training.learning_rate"] = None if strength is None else config.training.learning_rate * strength
    elif strength is not None and own.enn:
        told["lambda"] = "by policy" if strength < 0 else strength
    elif strength is not None:
        told["strength"] = strength
    return {name: values[name] for name in names if values[name] is not None} | told


def rule_of(config: Config, signal: str) -> str:
    """A learning rule and its settings, in words."""
    settings: Mapping[str, Any] = rule_settings(config.rule, signal)
    words = ", ".join(f"{name} {value}" for name, value in settings.items() if value is not None)
    return f"{signal} ({words})" if words else signal
