"""Networks for images by their names, as plain ``nn.Module``s: ``small-cnn``, ``wrn-10-1``, ``wrn-16-2`` and so on."""

import re

from torch import nn

from pipeline.errors import UserError, shown
from pipeline.targets.convnet import SmallConvNet
from pipeline.targets.wide_resnet import WideResNet


def network(name: str, classes: int = 10, channels: int = 3, seed: int = 0) -> nn.Module:
    """The network of this name, with weights from the seed.

    Raises:
        UserError: there is none.
    """
    if name == "small-cnn":
        return SmallConvNet(classes, channels, seed)
    if found := re.fullmatch(r"wrn-(\d{1,4})-(\d{1,3})", name):
        return WideResNet(int(found[1]), int(found[2]), classes, channels, seed)
    raise UserError(f"unknown network {shown(name)}; give small-cnn or wrn-DEPTH-WIDTH, such as wrn-16-2.")
