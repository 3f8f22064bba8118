"""``grad-instructor compare``: learning rules, and other ways of training that need no ENN."""

from pipeline.command_line.instruct import instruct
from pipeline.command_line.options import CompareCommand
from pipeline.command_line.report import report, show_report
from pipeline.command_line.stages import do
from pipeline.command_line.work import Work


def command(options: CompareCommand, line: str) -> int:
    """Choose each arm's learning rate on validation data, train fresh targets under it, and report on the test set, once."""
    return do(Work("compare", options, line), [instruct, report], show_report)
