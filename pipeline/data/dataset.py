"""A data set in memory: six arrays that never change, and the tensors made from them.

torch is imported when tensors are asked for (it takes two seconds): a data set can be known without it.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Int64

if TYPE_CHECKING:
    import torch

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images (or any rows of numbers) and their classes, split for training, choosing and reporting.

    Shapes: x is float32 (examples, features), features in the order C, H, W, known images scaled to [0, 1]; y is int64
    (examples,), from 0 to ``classes`` - 1. The arrays are made read-only, as they come out of Ray's object store.
    """

    name: str
    """digits, mnist, fashion, cifar10, cifar10-10k, or the stem of the .npz"""
    x_train: Float32[np.ndarray, "train features"]
    y_train: Int64[np.ndarray, "train"]
    x_validation: Float32[np.ndarray, "validation features"]
    y_validation: Int64[np.ndarray, "validation"]
    x_test: Float32[np.ndarray, "test features"]
    y_test: Int64[np.ndarray, "test"]
    image_shape: tuple[int, ...]
    """(C, H, W) where it is known, otherwise (features,)"""
    classes: int
    notes: tuple[str, ...] = ()
    """what is odd about the data, in sentences, though they can be used"""

    def __post_init__(self) -> None:
        if math.prod(self.image_shape) != self.features:
            raise ValueError(f"image shape {self.image_shape} does not hold {self.features} features")
        for array in self._arrays():
            array.setflags(write=False)

    @property
    def features(self) -> int:
        """Numbers per example."""
        return self.x_train.shape[1]

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits of the SHA-256 of all six arrays, of the number of classes where the labels do not say it, and
        of the image shape unless it is a row or a square of one or three channels; computed once and pickled with the data set.

        A number of features makes one such square at most.
        """
        total = hashlib.sha256()
        for array in self._arrays():
            total.update(repr(array.shape).encode())
            total.update(np.ascontiguousarray(array).data)
        if self.classes != 1 + int(self.y_train.max()):
            total.update(repr(self.classes).encode())
        if not self._usual_shape:
            total.update(repr(tuple(map(int, self.image_shape))).encode())
        return total.hexdigest()[:16]

    def tensors(
        self, split: str, device: "str | torch.device" = "cpu", dtype: "torch.dtype | None" = None, limit: int | None = None
    ) -> tuple["torch.Tensor", "torch.Tensor"]:
        """x (n, features), float32 unless ``dtype`` says otherwise, and y (n,), int64, of ``split`` (train, validation or test)
        on ``device``; ``limit`` keeps the first n examples.

        Always copies: the arrays may be read-only memory shared between processes, which torch must not write to.

        Raises:
            ValueError: there is no such split, or the limit is below 1.
        """
        import torch

        if split not in SPLITS or (limit is not None and limit < 1):
            raise ValueError(f"no split {split!r} with limit {limit}; splits are {SPLITS}, a limit is at least 1")
        x, y = getattr(self, f"x_{split}")[:limit], getattr(self, f"y_{split}")[:limit]
        return torch.tensor(x, dtype=dtype or torch.float32, device=device), torch.tensor(y, device=device)

    @property
    def _usual_shape(self) -> bool:
        """Whether it is a row, or a square of one or three channels."""
        if len(self.image_shape) == 1:
            return True
        return len(self.image_shape) == 3 and self.image_shape[0] in (1, 3) and self.image_shape[1] == self.image_shape[2]

    def _arrays(self) -> list[np.ndarray]:
        return [getattr(self, f"{kind}_{split}") for split in SPLITS for kind in "xy"]
