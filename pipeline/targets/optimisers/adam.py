"""``torch.optim.Adam``: weight decay is added to the gradient."""

import torch

from pipeline.targets.optimisers import adaptive
from pipeline.targets.optimisers.form import Form
from pipeline.targets.optimisers.optimiser import Optimiser, Piece, Settings


def step(piece: Piece, settings: Settings, step: int) -> None:
    gradient = piece.update
    if settings.weight_decay:
        gradient = torch.add(gradient, piece.parameters, alpha=settings.weight_decay, out=piece.scratch)
    adaptive.step(piece, gradient, settings, step)


def form(settings: Settings) -> Form:
    return adaptive.form(settings, coupled=settings.weight_decay)


OPTIMISER = Optimiser(step, adaptive.state, form)
