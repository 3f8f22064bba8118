"""Whether there is memory for data, before any of it is unpacked."""

from pathlib import Path

from pipeline.errors import UserError


def check_room(path: Path, needed: int) -> None:
    """Raises UserError where ``needed`` bytes, which are converted, so that they are there twice, would fill the memory."""
    import psutil

    free = psutil.virtual_memory().available
    if needed > free // 2:
        raise UserError(
            f"{path} unpacks to {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB of memory are free; give a smaller one."
        )
