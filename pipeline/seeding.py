"""One seed, named streams: the same seed and names give the same numbers in any process, on any number of workers."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def stream(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream ``names`` of ``seed``, for example ``stream(0, "data order", member)``."""
    digest = hashlib.sha256(repr((seed, names)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def numpy_stream(seed: int, *names: str | int) -> np.random.Generator:
    """A numpy generator for the named stream."""
    return np.random.default_rng(stream(seed, *names))


def torch_stream(seed: int, *names: str | int) -> "torch.Generator":
    """A torch generator (always on the CPU, so that a GPU run draws the same numbers) for the named stream."""
    import torch

    return torch.Generator().manual_seed(stream(seed, *names))
