"""What measures. A package, since a folder without this file gives way to any other of its name (one release of pyarrow
installs one)."""

import time

BEGUN = time.monotonic()
"""when this program began, before torch was imported"""
