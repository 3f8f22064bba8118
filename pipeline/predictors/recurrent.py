"""torch's recurrent functions, which compute all steps of a sequence within themselves: what they are called with.

Of sequences of one length they get (input, hidden, matrices and biases, has biases, layers, dropout, …), of packed ones
(input, lengths, hidden, …); a cell gets (input, hidden, matrix, matrix, …).
"""

from typing import Any

import torch
from torch import Tensor

LAYERS = {torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu}
CELLS = {torch.lstm_cell, torch.gru_cell, torch.rnn_tanh_cell, torch.rnn_relu_cell}
RELUS = {torch.rnn_relu, torch.rnn_relu_cell}
BEFORE_DROPOUT = 3
"""arguments between the matrices and it"""


def matrices(func: Any, args: tuple) -> list[Tensor]:
    """The weights of a call."""
    if func in CELLS:
        return list(args[2:4])
    return [own for own in args[_place(args)] if own.ndim > 1]


def positions(args: tuple) -> int:
    """At how many positions, over all examples, each of the weights is used."""
    return args[0].numel() // args[0].shape[-1]


def without_dropout(args: tuple) -> tuple:
    """The arguments of a call of ``LAYERS`` that drops nothing out between layers."""
    at = _place(args) + BEFORE_DROPOUT
    return (*args[:at], 0.0, *args[at + 1 :])


def _place(args: tuple) -> int:
    """Of the matrices and biases."""
    return 3 if isinstance(args[1], Tensor) and not args[1].is_floating_point() else 2
