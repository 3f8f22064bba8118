"""``torch.optim.AdamW``: weight decay shrinks the parameters directly."""

from pipeline.targets.optimisers import adaptive
from pipeline.targets.optimisers.form import Form
from pipeline.targets.optimisers.optimiser import Optimiser, Piece, Settings


def step(piece: Piece, settings: Settings, step: int) -> None:
    if settings.weight_decay:
        piece.parameters.mul_(1 - settings.learning_rate * settings.weight_decay)
    adaptive.step(piece, piece.update, settings, step)


def form(settings: Settings) -> Form:
    return adaptive.form(settings, decoupled=settings.weight_decay)


OPTIMISER = Optimiser(step, adaptive.state, form)
