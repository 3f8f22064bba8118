"""Every setting of a run, as one value."""

from dataclasses import dataclass, field

from pipeline.config.architecture import ArchitectureConfig
from pipeline.config.compare import CompareConfig
from pipeline.config.data import DataConfig
from pipeline.config.enn import ENNConfig
from pipeline.config.evolution import EvolutionConfig
from pipeline.config.instruction import InstructionConfig
from pipeline.config.recorded import RecordedConfig
from pipeline.config.rl import RLConfig
from pipeline.config.rule import RuleConfig
from pipeline.config.target import TargetConfig
from pipeline.config.training import TrainingConfig
from pipeline.config.unroll import UnrollConfig


@dataclass(frozen=True)
class Config:
    """Everything that decides a run's numbers."""

    seed: int = 0
    """the one seed from which every random stream is derived"""
    data: DataConfig = field(default_factory=DataConfig)
    target: TargetConfig = field(default_factory=TargetConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    rule: RuleConfig = field(default_factory=RuleConfig)
    enn: ENNConfig = field(default_factory=ENNConfig)
    instruction: InstructionConfig = field(default_factory=InstructionConfig)
    rl: RLConfig = field(default_factory=RLConfig)
    recorded: RecordedConfig = field(default_factory=RecordedConfig)
    unroll: UnrollConfig = field(default_factory=UnrollConfig)
    evolution: EvolutionConfig = field(default_factory=EvolutionConfig)
    architecture: ArchitectureConfig = field(default_factory=ArchitectureConfig)
    compare: CompareConfig = field(default_factory=CompareConfig)
