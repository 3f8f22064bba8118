"""What measures, and the tools of its tests. A package, since a folder without this file gives way to any other of its name
(one release of pyarrow installs one)."""
