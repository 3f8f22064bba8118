"""Grad-Instructor: networks (ENNs) whose gradients instruct the training of other networks.

The arrow (a module imports only what stands to its left):
``data → targets → enn → instruction → predictors / explain → results``.
"""

__version__ = "0.1.0"
