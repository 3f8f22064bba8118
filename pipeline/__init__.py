"""Grad-Instructor: networks (ENNs) whose gradients instruct the training of other networks.

The arrow (a module imports from its own package and from what stands to its left; tests/test_arrow.py holds it):
``base (addresses, children, errors, received, files, seeding, digests, interrupts, progress, names) → arms → config → data →
targets → learning → enn → setting → instruction → predictors → architectures → explain → cluster → results → compare → search
→ command_line``.
``rl`` imports everything but the command line.
"""

__version__ = "0.1.0"
