"""``python -m pipeline.command_line``: the same as ``grad-instructor``."""

from pipeline.command_line.program import program

if __name__ == "__main__":
    program()
