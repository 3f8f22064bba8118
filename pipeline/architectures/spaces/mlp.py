"""The project's own multilayer perceptrons: up to three hidden layers of a few widths, and their nonlinearity.

A width of 0 leaves the layer out. Two codes name one network where the second layer is left out and the third is not: the code
that has the layers one after the other stands for it.
"""

from typing import TYPE_CHECKING, Any

from pipeline.architectures.space import Code, Space
from pipeline.errors import UserError, shown

if TYPE_CHECKING:
    from torch import nn

WIDTHS = (0, 4, 8, 16, 32, 64)
FIRST = WIDTHS[1:]
"""of the first layer, which is always there"""
ACTIVATIONS = ("relu", "tanh", "gelu")
DECISIONS = {"width 1": FIRST, "width 2": WIDTHS, "width 3": WIDTHS, "activation": ACTIVATIONS}


def hidden(code: Code) -> tuple[int, ...]:
    """Widths of the layers that are there."""
    first, second, third, _ = code
    return tuple(width for width in (FIRST[first], WIDTHS[second], WIDTHS[third]) if width)


def text(code: Code) -> str:
    """Such as ``32-8 relu``."""
    return f"{'-'.join(map(str, hidden(code)))} {ACTIVATIONS[code[-1]]}"


def code_of(name: str) -> Code:
    """Raises UserError where a text is none that :func:`text` gives."""
    widths, _, activation = str(name).strip().partition(" ")
    parts = [int(part) if part.isdecimal() else -1 for part in widths.split("-")]
    if not 1 <= len(parts) <= 3 or any(part not in FIRST for part in parts) or activation not in ACTIVATIONS:
        raise UserError(f"{shown(name)} is no architecture of the space mlp; give one such as '32-8 relu'.")
    padded = [*parts, 0, 0][:3]
    return (FIRST.index(padded[0]), WIDTHS.index(padded[1]), WIDTHS.index(padded[2]), ACTIVATIONS.index(activation))


def settings_of(code: Code) -> dict[str, Any]:
    """The settings of a target, by dotted name."""
    return {"target.hidden": list(hidden(code)), "target.activation": ACTIVATIONS[code[-1]]}


def network(code: Code, shape: tuple[int, ...], classes: int, seed: int) -> "nn.Module":
    """The target as a module, at He's initialisation."""
    import math

    from torch import nn

    from pipeline.targets import MLP, initialise

    target = MLP((math.prod(shape), *hidden(code), classes), ACTIVATIONS[code[-1]])
    start = initialise(target, "he", [seed])
    return nn.Sequential(nn.Flatten(), target.module([tensor[0] for tensor in start]))


def repeated(code: Code) -> bool:
    """Whether the code leaves out a layer before one that is there."""
    return not WIDTHS[code[1]] and bool(WIDTHS[code[2]])


SPACE = Space("mlp", DECISIONS, network, text, code_of, text, repeated, settings_of)
