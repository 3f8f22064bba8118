"""A package, since a folder without this file gives way to any other of its name."""
