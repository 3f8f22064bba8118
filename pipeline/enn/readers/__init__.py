"""Readers: the ENN's body, which turns a target's parameters into features. One file each; all pass one contract suite. A new
one is a file with a ``READER``, and its line in :data:`pipeline.names.ReaderName`."""

from pipeline import names
from pipeline.enn.readers.convnet import ConvNet
from pipeline.enn.readers.probes import Probes
from pipeline.enn.readers.reader import Reader, Unreadable
from pipeline.enn.readers.statistics import Statistics

READERS: dict[str, type[Reader]] = names.registered(names.ReaderName, __name__, "READER")

__all__ = ["READERS", "ConvNet", "Probes", "Reader", "Statistics", "Unreadable"]
