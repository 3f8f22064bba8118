"""What a setting may be that is chosen by name."""

from typing import TYPE_CHECKING, Literal

from pipeline.arms import ARMS

if TYPE_CHECKING:
    Arm = str
else:
    Arm = Literal[tuple(ARMS)]
