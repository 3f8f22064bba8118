"""``grad-instructor run``: the whole story."""

from pipeline.command_line.explain import explain
from pipeline.command_line.instruct import instruct
from pipeline.command_line.options import Command
from pipeline.command_line.report import report, show_report
from pipeline.command_line.stages import do
from pipeline.command_line.train_enn import train_enn
from pipeline.command_line.work import Work


def command(options: Command, line: str) -> int:
    """Train an ENN, train targets with and without its instruction, see what it looks at, and report."""
    return do(Work("run", options, line), [train_enn, instruct, explain, report], show_report)
