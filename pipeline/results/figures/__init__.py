"""The figures of a report: a function each, which is given plain values, draws a PNG where it is given a path, and returns what
it draws (:class:`Drawing`). Each stands alone: it says what it shows, of which data, of how many, and what its bands are.
"""

from collections.abc import Callable

from pipeline.results.figures.critics import learning, prediction
from pipeline.results.figures.drawing import Drawing, Panel, alone, whole
from pipeline.results.figures.maps import Scale, gradcam, scale_of
from pipeline.results.figures.panels import GRADCAM, WEIGHTS, panel
from pipeline.results.figures.ranking import agreement, scatter
from pipeline.results.figures.rules import angles
from pipeline.results.figures.searches import front, importance, parallel
from pipeline.results.figures.style import COLOURS, OTHERS
from pipeline.results.figures.training import accuracy, bound_sentence, instruction

DRAWN: tuple[Callable[..., Drawing], ...] = (
    accuracy,
    agreement,
    angles,
    front,
    gradcam,
    importance,
    instruction,
    learning,
    parallel,
    prediction,
    scatter,
)
"""all of them; a new one is a function and a line here"""

__all__ = [
    "COLOURS",
    "DRAWN",
    "GRADCAM",
    "OTHERS",
    "WEIGHTS",
    "Drawing",
    "Panel",
    "Scale",
    "accuracy",
    "agreement",
    "alone",
    "angles",
    "bound_sentence",
    "front",
    "gradcam",
    "importance",
    "instruction",
    "learning",
    "panel",
    "parallel",
    "prediction",
    "scale_of",
    "scatter",
    "whole",
]
