"""The command line: ``grad-instructor COMMAND [options]``, one file per command.

Nothing heavy is imported before a command is known to be sound: :mod:`pipeline.command_line.registry` names the commands, and
the module of one is imported when it is to be done. Last on the arrow: allowed to know both ``pipeline`` and ``rl``.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command in somebody's process, which is left as it was; the exit code: 0, 2 for bad input, 130 when interrupted.

    Args:
        arguments: instead of the process's own.
    """
    from pipeline.command_line.dispatch import in_a_guest

    return in_a_guest(arguments)
