"""Who trains on what, and is scored on what: one member's run is a life, and each life leaves one fold of the data out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.config import Config
from pipeline.seeding import numpy_stream, stream
from rl.roles import pair_of


@dataclass
class Life:
    """One member's run: who it is and how far it has come."""

    birth: int
    """number of the run; names its seed and its fold"""
    age: int
    """steps taken"""
    span: int
    """steps after which another takes its place"""


class Folds:
    """Who trains on what, and is scored on what."""

    def __init__(self, config: Config, x: Tensor, y: Tensor, reward: tuple[Tensor, Tensor]) -> None:
        self.config, self.x, self.y, self.kept = config, x, y, reward
        self.fold_of = numpy_stream(config.seed, "folds").permutation(len(x)) % config.unroll.folds
        folds = range(config.unroll.folds)
        self.inside = [np.flatnonzero(self.fold_of == fold) for fold in folds]
        self.outside = [np.flatnonzero(self.fold_of != fold) if len(folds) > 1 else np.arange(len(x)) for fold in folds]
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    def batch(self, lives: Sequence[Life], step: int, size: int) -> tuple[Tensor, Tensor]:
        """Each member's own batch at ``step`` of the segment: (P, B, inputs), (P, B)."""
        return self._take([self._indices(life.birth, life.age + step, size) for life in lives])

    def reward(self, lives: Sequence[Life], segment: int, size: int) -> tuple[Tensor, Tensor]:
        """Examples that each member does not train on: (P, n, inputs), (P, n)."""
        draws = numpy_stream(self.config.seed, "unrolled reward", segment)
        if self.config.unroll.folds == 1:
            chosen = torch.from_numpy(draws.integers(len(self.kept[1]), size=(len(lives), size))).to(self.x.device)
            return self.kept[0][chosen], self.kept[1][chosen]
        return self._take([draws.choice(self.inside[self._fold(life.birth)], size) for life in lives])

    def _fold(self, birth: int) -> int:
        return pair_of(birth) % self.config.unroll.folds

    def _indices(self, birth: int, step: int, size: int) -> np.ndarray:
        pool = self.outside[self._fold(birth)]
        size = min(size, len(pool))
        epoch, position = divmod(step, len(pool) // size)
        if self._orders.get(birth, (-1, None))[0] != epoch:
            self._orders = {
                other: order for other, order in self._orders.items() if other > birth - 10 * self.config.unroll.members
            }
            seed = stream(self.config.seed, "unrolled", birth)
            self._orders[birth] = (epoch, numpy_stream(seed, "data order", epoch).permutation(pool))
        return self._orders[birth][1][position * size : (position + 1) * size]

    def _take(self, rows: list[np.ndarray]) -> tuple[Tensor, Tensor]:
        index = torch.from_numpy(np.stack(rows)).to(self.x.device)
        return self.x[index], self.y[index].long()
