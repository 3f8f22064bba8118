"""Learning from recorded populations."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config.checks import Check, Whole

LEAST_RECORDED = 64
"""members of a recorded population: blocks of sixteen hold every start and level of λ, and one block in four is held out"""


@dataclass(frozen=True)
class RecordedConfig:
    """Learning from recorded populations, in place of rounds under the ENN itself: how a search teaches its candidates."""

    rounds: int = 0
    """where rl.rounds is 0: populations to record; rl.updates gradient steps learn from three quarters of them"""
    updates: int = 100
    """gradient steps on the ENN under which the next population is recorded, from those before"""
    settings: tuple[str, ...] = ()
    """what else is different about that ENN: settings of enn, instruction and rl, such as 'rl.gamma=0.5' (values as in JSON)"""


def checks(config: Whole) -> Iterator[Check]:
    """What must hold of ``config.recorded``; what its ``settings`` say is checked by :func:`pipeline.config.validate`."""
    rl, recorded = config.rl, config.recorded
    learns = bool(recorded.rounds) and not rl.rounds
    yield recorded.rounds >= 0, f"recorded.rounds is {recorded.rounds}; give at least 0."
    yield recorded.updates >= 0, f"recorded.updates is {recorded.updates}; give at least 0."
    yield (
        not (learns and config.unroll.start),
        "unroll.start and recorded.rounds both say where the ENN comes from; give one of them.",
    )
    yield (
        not learns or rl.members >= LEAST_RECORDED,
        f"rl.members is {rl.members}; give at least {LEAST_RECORDED} with recorded.rounds, so that every start and λ is "
        "held out.",
    )
