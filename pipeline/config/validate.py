"""Whether the values of a configuration make sense together."""

from collections.abc import Iterator

from pipeline.config import architecture, compare, enn, evolution, instruction, recorded, rl, rule, target, training, unroll
from pipeline.config.checks import Check, every_number
from pipeline.config.derived import recording_config
from pipeline.config.dotted import to_dotted
from pipeline.config.schema import Config
from pipeline.errors import UserError

STAGES = (target, training, rule, rl, enn, instruction, recorded, unroll, evolution, architecture, compare)
"""each with its ``checks``; a stage divides only by what an earlier one has found to be at least 1"""


def validate(config: Config) -> Config:
    """The configuration itself, if its values make sense together.

    Raises:
        UserError: names the first setting that does not.
    """
    for holds, message in _checks(config):
        if not holds:
            raise UserError(message)
    if config.recorded.rounds and config.recorded.settings:
        validate(recording_config(config))
    return config


def _checks(config: Config) -> Iterator[Check]:
    yield from every_number(to_dotted(config))
    for stage in STAGES:
        yield from stage.checks(config)
