"""Per-tensor statistics: mean, variance and quantiles of each weight and bias tensor; the baseline beside any ENN.

Source: Unterthiner et al., Predicting Neural Network Accuracy from Weights (2020, §3). We take five quantiles, scale each
tensor by its fan-in as the weight image does, and use the logarithm of the variance.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.config import ENNConfig
from pipeline.enn.readers.reader import Reader, check_depth
from pipeline.targets import MLP
from pipeline.targets.target import layers

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


class Statistics(Reader):
    """Reads any MLP of the home target's depth, whatever its widths."""

    def __init__(self, config: ENNConfig, home: MLP) -> None:
        super().__init__(config, home)
        self.features = len(home.shapes) * (2 + len(QUANTILES)) + 1

    def check(self, target: MLP) -> None:
        check_depth("statistics", self.home, target)

    def read(
        self, parameters: Sequence[Tensor], progress: Float[Tensor, " P"], activation: str | None = None
    ) -> Float[Tensor, "P features"]:
        columns = [progress[:, None]]
        for weight, bias in layers(parameters, self.home.slots):
            scale = math.sqrt(weight.shape[-1] / 2)
            columns += [of_members(weight.flatten(1) * scale), of_members(bias * scale)]
        return torch.cat(columns, dim=1)


def of_members(values: Float[Tensor, "P n"]) -> Float[Tensor, "P 7"]:
    """Mean, a tenth of the logarithm of the variance, and the quantiles of each member's values."""
    levels = torch.tensor(QUANTILES, dtype=values.dtype, device=values.device)
    log_variance = (values.var(dim=1, correction=0) + 1e-6).log() / 10
    return torch.cat([values.mean(1)[:, None], log_variance[:, None], torch.quantile(values, levels, dim=1).T], dim=1)


READER = Statistics
