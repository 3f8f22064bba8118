"""``torch.optim.SGD`` (dampening 0, no Nesterov): v ← μ v + g + w θ, θ ← θ − η v."""

from pipeline.targets.optimisers.form import Form
from pipeline.targets.optimisers.optimiser import Optimiser, Piece, Settings, descend


def step(piece: Piece, settings: Settings, step: int) -> None:
    parameters, direction = piece.parameters, piece.update
    if settings.momentum:
        direction = piece.state[0].mul_(settings.momentum).add_(piece.update)
        if settings.weight_decay:
            direction.add_(parameters, alpha=settings.weight_decay)
    elif settings.weight_decay:
        parameters.mul_(1 - settings.learning_rate * settings.weight_decay)
    descend(parameters, direction, settings.learning_rate)


def state(settings: Settings) -> tuple[str, ...]:
    return ("velocity",) if settings.momentum else ()


def form(settings: Settings) -> Form:
    return Form(keep=settings.momentum, coupled=settings.weight_decay)


OPTIMISER = Optimiser(step, state, form)
