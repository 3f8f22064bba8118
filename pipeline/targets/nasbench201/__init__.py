"""NAS-Bench-201 (Dong & Yang, ICLR 2020): cells of six edges, and the network that repeats one fifteen times."""

from pipeline.targets.nasbench201.cell import EDGES, OPERATIONS, Cell, cells
from pipeline.targets.nasbench201.network import CellNetwork, Layer, network

__all__ = ["EDGES", "OPERATIONS", "Cell", "CellNetwork", "Layer", "cells", "network"]
