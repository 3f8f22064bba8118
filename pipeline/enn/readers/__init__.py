"""Readers: the ENN's body, which turns a target's parameters into features. One file each; all pass one contract suite."""

from pipeline.enn.readers.convnet import ConvNet
from pipeline.enn.readers.probes import Probes
from pipeline.enn.readers.reader import Reader, Unreadable
from pipeline.enn.readers.statistics import Statistics

READERS: dict[str, type[Reader]] = {"probes": Probes, "convnet": ConvNet, "statistics": Statistics}

__all__ = ["READERS", "ConvNet", "Probes", "Reader", "Statistics", "Unreadable"]
