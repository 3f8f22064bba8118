"""The commands: what each does, what it takes, and where it is. The one list of them; a new one is a file and an entry."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.command_line.options import (
    Command,
    CompareCommand,
    DoctorCommand,
    Look,
    PredictCommand,
    ReportCommand,
    SearchCommand,
    SyncCommand,
    UiCommand,
)


@dataclass(frozen=True)
class Entry:
    """One command. Its function is ``command`` in the module of its name, which is imported when it is to be done."""

    text: str
    """what it does, for --help"""
    takes: type[Command] | type[SearchCommand] | type[PredictCommand] | type[Look]
    uses_ray: bool = False

    @property
    def only_looks(self) -> bool:
        """It does no work in a folder."""
        return issubclass(self.takes, Look)


COMMANDS: dict[str, Entry] = {
    "run": Entry("the whole story: train an ENN, compare training with and without it, explain it, report", Command, True),
    "train-enn": Entry("train an ENN by off-policy RL on the training runs of real targets", Command, True),
    "instruct": Entry("train fresh targets with and without the ENN's instruction (needs train-enn)", Command, True),
    "explain": Entry("Grad-CAM: what the ENN looks at, over the weight image (needs instruct)", Command),
    "report": Entry("look at the test set, once: the table and the plots (needs instruct)", ReportCommand),
    "compare": Entry(
        "compare learning rules and other ways of training without an ENN: --arms backprop fa dfa …", CompareCommand, True
    ),
    "search": Entry(
        "search over settings by a file of tune_configs: record once, judge in stages, stop early, report", SearchCommand, True
    ),
    "predict": Entry("score networks before they are trained, and see how well the scores rank them", PredictCommand, True),
    "sync": Entry("send records to MLflow that could not be sent before", SyncCommand),
    "ui": Entry("open the MLflow UI on a run's folder", UiCommand),
    "doctor": Entry("print versions, devices, data sets found, and the tracking server's health", DoctorCommand),
}


def function_of(name: str) -> Callable[[Any, str], int]:
    """What does a command: is given its options and the line that was typed, and gives the exit code."""
    return importlib.import_module(f"pipeline.command_line.{name.replace('-', '_')}").command
