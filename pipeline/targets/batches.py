"""Data order: which examples each member sees at each step.

An epoch is a permutation of the training set without replacement; examples left over at its end are dropped. Any step can be
asked for at any time, so that a run resumes where it stopped.

P members, B examples per batch, n examples in the training set.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.errors import UserError
from pipeline.seeding import numpy_stream


class Batches:
    """``batches(step) -> x, y``: (B, inputs), (B,) in a shared order, else (P, B, inputs), (P, B).

    Member p's order depends on ``seeds[p]`` alone; a shared order is that of ``seeds[0]``. A training set smaller than a
    batch is one batch. With orders of their own, ``x`` lies in a buffer that the next call overwrites.

    Raises:
        UserError: no seeds, no examples, a batch size below 1, or labels that are not one per example.
    """

    def __init__(
        self,
        x: Float[Tensor, "n inputs"],
        y: Int[Tensor, " labels"],
        batch_size: int,
        seeds: Sequence[int],
        shared_order: bool,
    ) -> None:
        if not seeds or batch_size < 1 or not len(x) or len(x) != len(y):
            raise UserError(
                f"cannot make batches of {batch_size} from {len(x)} examples and {len(y)} labels for {len(seeds)} members; "
                "give at least one of each and one label per example."
            )
        self.x, self.y, self.shared_order = x, y.long(), shared_order
        self.seeds = [int(seed) for seed in (seeds[:1] if shared_order else seeds)]
        self.batch_size = min(batch_size, len(x))
        self.steps_per_epoch = len(x) // self.batch_size
        self._epoch, self._order = -1, torch.empty(0)
        self._rows = x.new_empty(0 if shared_order else len(seeds) * self.batch_size, *x.shape[1:])

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._epoch_order(epoch)
        index = self._order[position]
        if self.shared_order:
            return self.x.index_select(0, index), self.y.index_select(0, index)
        torch.index_select(self.x, 0, index, out=self._rows)
        shape = (len(self.seeds), self.batch_size)
        return self._rows.view(*shape, *self.x.shape[1:]), self.y.index_select(0, index).view(shape)

    def _epoch_order(self, epoch: int) -> Int[Tensor, "steps examples"]:
        """Row ``i``: the examples of the epoch's i-th batches, member after member (int32: half the memory, n < 2³¹)."""
        length, used = len(self.x), self.steps_per_epoch * self.batch_size
        orders = [numpy_stream(seed, "data order", epoch).permutation(length)[:used] for seed in self.seeds]
        stacked = np.stack(orders).reshape(len(orders), self.steps_per_epoch, self.batch_size)
        by_step = np.ascontiguousarray(stacked.transpose(1, 0, 2), dtype=np.int32)
        return torch.from_numpy(by_step.reshape(self.steps_per_epoch, -1)).to(self.x.device)
