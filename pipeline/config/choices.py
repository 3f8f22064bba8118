"""What a setting may be that is chosen by name."""

from typing import TYPE_CHECKING, Literal

from pipeline.arms import ARMS

Activation = Literal["relu", "tanh", "sigmoid", "gelu"]
Initialisation = Literal["normal", "glorot", "he", "lsuv"]
Optimiser = Literal["sgd", "adam", "adamw"]
Schedule = Literal["constant", "cosine"]
ReaderName = Literal["probes", "convnet", "statistics"]
if TYPE_CHECKING:
    Arm = str
else:
    Arm = Literal[tuple(ARMS)]
