"""Every setting of a run, as a value: frozen dataclasses, presets, and a run's identity.

One file per stage: its dataclass, and beside it what must hold of it. The same dataclasses are read by the command line and by
``config.json``. A run is named by the hash of what differs from the defaults, so that adding a field with a default renames no
old run. Nothing here imports torch.
"""

from pipeline.config.architecture import ArchitectureConfig
from pipeline.config.checks import LARGEST_COUNT
from pipeline.config.choices import Arm
from pipeline.config.compare import CompareConfig
from pipeline.config.data import DataConfig
from pipeline.config.derived import coarsened, recording_config
from pipeline.config.dotted import coerce, from_dotted, identity, to_dotted
from pipeline.config.enn import ENNConfig
from pipeline.config.evolution import EvolutionConfig
from pipeline.config.instruction import InstructionConfig
from pipeline.config.presets import PRESETS, preset_named
from pipeline.config.recorded import LEAST_RECORDED, RecordedConfig
from pipeline.config.rl import RLConfig
from pipeline.config.rule import RuleConfig, rule_settings
from pipeline.config.schema import Config
from pipeline.config.target import TargetConfig
from pipeline.config.training import TrainingConfig
from pipeline.config.unroll import UnrollConfig
from pipeline.config.validate import validate
from pipeline.names import Activation, Initialisation, Optimiser, ReaderName, Schedule

__all__ = [
    "LARGEST_COUNT",
    "LEAST_RECORDED",
    "PRESETS",
    "Activation",
    "ArchitectureConfig",
    "Arm",
    "CompareConfig",
    "Config",
    "DataConfig",
    "ENNConfig",
    "EvolutionConfig",
    "Initialisation",
    "InstructionConfig",
    "Optimiser",
    "RLConfig",
    "ReaderName",
    "RecordedConfig",
    "RuleConfig",
    "Schedule",
    "TargetConfig",
    "TrainingConfig",
    "UnrollConfig",
    "coarsened",
    "coerce",
    "from_dotted",
    "identity",
    "preset_named",
    "recording_config",
    "rule_settings",
    "to_dotted",
    "validate",
]
