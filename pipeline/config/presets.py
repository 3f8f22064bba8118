"""Settings to start from, by name."""

from typing import Any

from pipeline.config.compare import CompareConfig
from pipeline.config.data import DataConfig
from pipeline.config.enn import ENNConfig
from pipeline.config.instruction import InstructionConfig
from pipeline.config.rl import RLConfig
from pipeline.config.schema import Config
from pipeline.config.target import TargetConfig
from pipeline.config.training import TrainingConfig
from pipeline.config.unroll import UnrollConfig
from pipeline.errors import UserError, nearest


def _preset(dataset: str, hidden: tuple[int, ...], training: TrainingConfig, rl: RLConfig, **others: Any) -> Config:
    return Config(data=DataConfig(dataset), target=TargetConfig(hidden=hidden), training=training, rl=rl, **others)


def _derivatives(dataset: str, hidden: tuple[int, ...], batch_size: int, steps: int) -> Config:
    """Targets of which a search over learned derivatives finds what goes backwards; no ENN plays a part."""
    return Config(
        data=DataConfig(dataset),
        target=TargetConfig(hidden=hidden, initialisation="he"),
        training=TrainingConfig(learning_rate=0.01, momentum=0.9, schedule="cosine", batch_size=batch_size, steps=steps),
        rl=RLConfig(period=steps // 10),
        compare=CompareConfig(curve_examples=5000),
    )


_SMALL = TrainingConfig(learning_rate=0.1, batch_size=100, steps=600)
_SMALL_RL = RLConfig(rounds=6, updates=250)
_MANY = ENNConfig(probes=64)
_OFTEN = InstructionConfig(refresh=5, trust_region=0.02)
PRESETS: dict[str, Config] = {
    "digits": Config(
        enn=ENNConfig(resolution=0.3),  # 0.15 would leave 5 × 10 pixels of such small targets
        instruction=InstructionConfig(refresh=25),  # reading the weights costs as much as three steps of 32 examples
        rl=RLConfig(rounds=3),  # and 250 segments: what two minutes allow
        unroll=UnrollConfig(segments=250, steps=75),
    ),
    "mnist": _preset("mnist", (50,), _SMALL, _SMALL_RL, enn=_MANY, instruction=_OFTEN, unroll=UnrollConfig(segments=1000)),
    "fashion": _preset("fashion", (50,), _SMALL, _SMALL_RL, enn=_MANY, instruction=_OFTEN, unroll=UnrollConfig(segments=1000)),
    # on top of a tuned optimiser: the ENN of "mnist-mlp" learns on, at a quarter of the learning rate that is best for it
    "mnist-tuned": Config(
        data=DataConfig("mnist"),
        target=TargetConfig(hidden=(100,), initialisation="he"),
        training=TrainingConfig(learning_rate=0.1, momentum=0.9, schedule="cosine", batch_size=100, steps=110),
        enn=ENNConfig(readers=("probes",), probes=64),
        rl=RLConfig(rounds=0, period=10),
        instruction=InstructionConfig(refresh=2, trust_region=0.05, decoupled=True),
        unroll=UnrollConfig(
            start="mnist-mlp", segments=160, steps=50, strength=100.0, learning_rate=0.005, largest_costate=1.0
        ),
        compare=CompareConfig(arms=("conventional", "instructed")),
    ),
    "paper-shallow": _preset(
        "mnist",
        (100,),
        TrainingConfig(learning_rate=0.01, batch_size=100, steps=3850),
        RLConfig(period=350, members=64, rounds=4, updates=150, batch_size=64),
        enn=ENNConfig(readers=("probes",), probes=64, coarsening=10),
        instruction=InstructionConfig(refresh=50, trust_region=0.002),
        unroll=UnrollConfig(segments=1000),
    ),
    "paper-deep": _preset(
        "mnist",
        (100, 50),
        TrainingConfig(learning_rate=0.05, batch_size=100, steps=2750),
        RLConfig(period=250, members=64, rounds=4, updates=150, batch_size=64),
        enn=ENNConfig(readers=("probes",), probes=64, coarsening=5),
        instruction=InstructionConfig(refresh=25, trust_region=0.004),
        unroll=UnrollConfig(segments=400, largest_costate=1.0),
    ),
    # protocols of searches over learned derivatives (tune_configs/pblf.yaml)
    "pblf-digits": _derivatives("digits", (32, 32), 32, 440),
    "pblf-mnist": _derivatives("mnist", (100, 100), 100, 550),
}


def preset_named(name: str) -> Config:
    """The settings of a preset.

    Raises:
        UserError: there is none of this name.
    """
    if name not in PRESETS:
        near = nearest(name, PRESETS)
        raise UserError(f"unknown preset {name!r}; choose from {', '.join(PRESETS)} (did you mean {near}?).")
    return PRESETS[name]
