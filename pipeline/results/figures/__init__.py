"""The figures of a report, as PNG: a function each, which is given plain lists and a path."""

from pipeline.results.figures.critics import learning, prediction
from pipeline.results.figures.maps import gradcam
from pipeline.results.figures.panels import GRADCAM, WEIGHTS, limit_of, panel
from pipeline.results.figures.ranking import agreement, scatter
from pipeline.results.figures.rules import angles
from pipeline.results.figures.searches import front, importance, parallel
from pipeline.results.figures.style import COLOURS, OTHERS
from pipeline.results.figures.training import accuracy, instruction

__all__ = [
    "COLOURS",
    "GRADCAM",
    "OTHERS",
    "WEIGHTS",
    "accuracy",
    "agreement",
    "angles",
    "front",
    "gradcam",
    "importance",
    "instruction",
    "learning",
    "limit_of",
    "panel",
    "parallel",
    "prediction",
    "scatter",
]
