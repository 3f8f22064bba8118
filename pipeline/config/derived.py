"""Configurations that another one implies: what the ENN learns on, and under which ENN populations are recorded."""

import dataclasses
import json
from typing import Any

from pipeline.config.compare import CompareConfig
from pipeline.config.dotted import from_dotted, to_dotted
from pipeline.config.schema import Config
from pipeline.config.unroll import UnrollConfig
from pipeline.errors import UserError, shown


def coarsened(config: Config) -> Config:
    """What the ENN learns on: runs with c times the learning rate and 1/c of the steps, hence nearly on the same path.

    Periods and the reuse of an instruction shrink with the steps, and the trust region of a step grows with the step.
    """
    c, training, instruction = config.enn.coarsening, config.training, config.instruction
    return dataclasses.replace(
        config,
        enn=dataclasses.replace(config.enn, coarsening=1),
        training=dataclasses.replace(training, learning_rate=training.learning_rate * c, steps=training.steps // c),
        rl=dataclasses.replace(config.rl, period=config.rl.period // c),
        instruction=dataclasses.replace(
            instruction, refresh=instruction.refresh // c, trust_region=min(1.0, instruction.trust_region * c)
        ),
    )


def recording_config(config: Config) -> Config:
    """The settings of the ENN under which the populations are recorded that the ENN of ``config`` learns from.

    Its ladder of λ is that of ``config`` unless ``recorded.settings`` say otherwise. Nothing of ``unroll`` and ``compare``
    matters to it.

    Raises:
        UserError: ``recorded.settings`` are none.
    """
    values = to_dotted(config) | _recorded_settings(config.recorded.settings) | {"recorded.settings": []}
    return dataclasses.replace(from_dotted(values), unroll=UnrollConfig(), compare=CompareConfig())


def _recorded_settings(texts: tuple[str, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        try:
            if not equals or not key.startswith(("enn.", "instruction.", "rl.")) or key in values:
                raise ValueError(text)
            values[key] = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"recorded.settings has {shown(text)}; give settings of enn, instruction and rl, each once, such as "
                "'rl.gamma=0.5', with the value as in JSON."
            ) from error
    return values
