"""The project's own small convolutional networks (:mod:`pipeline.targets.convnet`): how many layers, of how many channels and
which kernel, with or without batch normalisation and shortcuts, and their nonlinearity.

A network of one layer has nothing to add its input to, so that its code with shortcuts is repeated.
"""

import re
from typing import TYPE_CHECKING, Any

from pipeline.architectures.space import Code, Space
from pipeline.errors import UserError, shown

if TYPE_CHECKING:
    from torch import nn

LAYERS, CHANNELS, KERNELS = (1, 2, 3, 4), (4, 8, 16), (1, 3, 5)
NORMALISATIONS, SHORTCUTS = ("none", "batch"), (False, True)
ACTIVATIONS = ("relu", "tanh", "gelu")
DECISIONS = {
    "layers": LAYERS,
    "channels": CHANNELS,
    "kernel": KERNELS,
    "normalisation": NORMALISATIONS,
    "shortcut": SHORTCUTS,
    "activation": ACTIVATIONS,
}
FORM = r"(\d+)x(\d+) k(\d+)( batch)?( shortcut)? (\w+)"


def text(code: Code) -> str:
    """Such as ``3x16 k3 batch shortcut relu``: three layers of 16 channels."""
    layers, channels, kernel, normalisation, shortcut, activation = values(code)
    words = [f"{layers}x{channels} k{kernel}", "batch" * (normalisation == "batch"), "shortcut" * (shortcut and layers > 1)]
    return " ".join(filter(None, [*words, activation]))


def values(code: Code) -> tuple[Any, ...]:
    """What was chosen, decision by decision."""
    return tuple(choices[choice] for choices, choice in zip(DECISIONS.values(), code, strict=True))


def code_of(name: str) -> Code:
    """Raises UserError where a text is none that :func:`text` gives."""
    found = re.fullmatch(FORM, str(name).strip(), re.ASCII)
    if found:
        layers, channels, kernel, batch, shortcut, activation = found.groups()
        own = (int(layers), int(channels), int(kernel), "batch" if batch else "none", bool(shortcut), activation)
        if all(value in choices for value, choices in zip(own, DECISIONS.values(), strict=True)):
            code = tuple(choices.index(value) for value, choices in zip(own, DECISIONS.values(), strict=True))
            if not repeated(code):
                return code
    raise UserError(f"{shown(name)} is no architecture of the space cnn; give one such as '3x16 k3 batch shortcut relu'.")


def repeated(code: Code) -> bool:
    """Whether the code has shortcuts and no layer that one could lead around."""
    layers, _, _, _, shortcut, _ = values(code)
    return shortcut and layers == 1


def settings_of(code: Code) -> dict[str, Any]:
    """The settings of a network, by dotted name."""
    layers, channels, kernel, normalisation, shortcut, activation = values(code)
    own = {"channels": [channels] * layers, "kernel": kernel, "normalisation": normalisation, "shortcut": shortcut}
    return {f"architecture.{name}": value for name, value in own.items()} | {"target.activation": activation}


def network(code: Code, shape: tuple[int, ...], classes: int, seed: int) -> "nn.Module":
    """The network at He's initialisation, for images."""
    from pipeline.config import from_dotted
    from pipeline.setting import convnet_of

    return convnet_of(from_dotted(settings_of(code)), shape, classes, seed)


SPACE = Space("cnn", DECISIONS, network, text, code_of, text, repeated, settings_of)
