"""What ``grad-instructor compare`` is asked for: its words, its settings, and what it refuses. Nothing here imports torch."""

from collections.abc import Iterator
from dataclasses import replace

from pipeline.arms import ARMS, NAMES, signals
from pipeline.config import Config, ENNConfig, InstructionConfig, RecordedConfig, RLConfig, UnrollConfig
from pipeline.errors import UserError, nearest

ARMS_BY_DEFAULT = ("conventional", *(arm.name for arm in signals.ARMS))
RATES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""times training.learning_rate: what is tried for every arm unless compare.rates says otherwise"""
ALIASES = {"--arms": "--compare.arms"}
_ARMS = ("--compare.arms", "--compare.baseline")


def words(arguments: list[str]) -> list[str]:
    """The command's words with ``--arms`` by its whole name, and ``backprop`` by the name of its arm.

    Raises:
        UserError: there is no such arm.
    """
    return list(_words(arguments))


def _words(arguments: list[str]) -> Iterator[str]:
    at = ""
    for argument in arguments:
        if not argument.startswith("--"):
            yield _arm(argument) if at in _ARMS else argument
            continue
        name, equals, value = argument.partition("=")
        at = ALIASES.get(name, name)
        yield at + equals + (_arm(value) if equals and at in _ARMS else value)


def _arm(word: str) -> str:
    if word in ARMS or word in NAMES:
        return NAMES.get(word, word)
    known = [*NAMES, *(name for name, arm in ARMS.items() if not arm.enn)]
    raise UserError(f"unknown arm {word!r}; did you mean {nearest(word, known)!r}? choose from {', '.join(known)}.")


def of_preset(config: Config) -> Config:
    """A preset's settings with all learning rules as arms, and a learning rate chosen for each. What only an ENN needs is at
    its default, so that it is in nobody's way."""
    return replace(
        config,
        enn=ENNConfig(),
        instruction=InstructionConfig(trust_region=config.instruction.trust_region),
        rl=RLConfig(period=config.rl.period, score_examples=config.rl.score_examples),
        recorded=RecordedConfig(),
        unroll=UnrollConfig(),
        compare=replace(config.compare, arms=ARMS_BY_DEFAULT, rates=RATES),
    )


def check_arms(config: Config) -> None:
    """Raises UserError where an arm needs an ENN, or is there twice."""
    arms = config.compare.arms
    if twice := [arm for number, arm in enumerate(arms) if arm in arms[:number]]:
        raise UserError(f"compare.arms has {twice[0]!r} twice; give every arm once.")
    if taught := [arm for arm in arms if ARMS[arm].enn]:
        raise UserError(
            f"the arm {taught[0]!r} needs an ENN, and `compare` trains none; give these arms to `grad-instructor run` as "
            "--compare.arms, or drop it."
        )
