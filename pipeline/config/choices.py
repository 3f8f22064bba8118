"""What a setting may be that is chosen by name."""

from typing import Literal

Activation = Literal["relu", "tanh", "sigmoid", "gelu"]
Initialisation = Literal["normal", "glorot", "he", "lsuv"]
Optimiser = Literal["sgd", "adam", "adamw"]
Schedule = Literal["constant", "cosine"]
ReaderName = Literal["probes", "convnet", "statistics"]
Arm = Literal[
    "conventional",
    "l1",
    "l2",
    "growth",
    "growth-tuned",
    "growth-tuned-he",
    "random-push",
    "he",
    "conventional-all",
    "he-all",
    "instructed",
    "instructed-he",
    "instructed-rl",
    "instructed-rl-he",
    "instructed-image",
]
