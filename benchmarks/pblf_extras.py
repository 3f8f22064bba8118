"""Beside the searches over learned derivatives: their speed, what a factor β does under SGD and Adam, and the pictures.

Letters: P members, N candidates.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import tables
from pipeline.config import PRESETS, Config
from pipeline.data import Dataset, load
from pipeline.learning import bound, named
from pipeline.results.statistics import mean_interval, paired
from pipeline.search.kinds.rule import judge, judge_together, trained
from pipeline.search.values import Stage
from pipeline.seeding import numpy_stream, stream
from pipeline.setting import new_population, selection_data, target_of
from pipeline.targets import MLP, Batches, Population

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TURNS, MOST_ALONE = 3, 3
STEPS = {"digits": 440, "mnist": 110}
"""turns of each contestant; candidates that are judged one at a time in a turn; steps of a candidate, by data"""
BETAS = (0.1, 0.25, 0.5, 0.75, 1.0)
TOY_STEPS, TOY_RATE = 300, {"sgd": 0.3, "adam": 0.01}


# -- speed ---------------------------------------------------------------------------------------------------------------


def speed(config: Config, dataset: Dataset, together: Sequence[int], is_quick: bool) -> list[dict[str, Any]]:
    """Seconds of this thread per candidate on digits and on the protocol's data: as one population of so many, one at a time,
    and as a loop over ``nn.Module``s."""
    sets = [(dataclasses.replace(PRESETS["pblf-digits"], rl=config.rl), load("digits"))]
    if config.data.dataset != "digits" and not is_quick:
        sets.append((config, dataset))
    return [_speed(*own, batch, *((5, 1) if is_quick else (STEPS[own[1].name], TURNS))) for own in sets for batch in together]


def _speed(config: Config, dataset: Dataset, batch: int, steps: int, turns: int) -> dict[str, Any]:
    from pipeline.config import from_dotted, to_dotted

    draws, stages = numpy_stream(0, "speed"), [Stage("whole", targets=1, steps=steps)]
    configs = []
    for _ in range(batch):
        values = dict(zip(("rule.w1", "rule.b1", "rule.w2", "rule.b2"), draws.uniform(-1, 1, 4).tolist(), strict=True))
        configs.append(from_dotted(to_dotted(config) | values | {"rule.name": "pblf", "training.steps": steps}))
    few = configs[: min(MOST_ALONE, batch)]
    runs: dict[str, tuple[Callable[[], Any], int]] = {
        "together": (lambda: judge_together(configs, stages, [None] * batch, dataset=dataset), batch),
        "alone": (lambda: [judge(own, stages, None, dataset=dataset) for own in few], len(few)),
        "modules": (lambda: [of_module(own, steps, dataset) for own in few], len(few)),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run, _ in runs.values():
        run()  # the first one in a process is slow
    for _ in range(turns):
        for name, (run, count) in runs.items():
            started = time.thread_time()
            run()
            times[name].append((time.thread_time() - started) / count)
    medians = {name: statistics.median(own) for name, own in times.items()}
    return {"data": dataset.name, "batch": batch, "steps": steps} | medians


class Multiplied(torch.autograd.Function):
    """h forwards; backwards what comes, times f(h)."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, phi: Tensor) -> Tensor:
        ctx.save_for_backward(h, phi)
        return h.view_as(h)

    @staticmethod
    def backward(ctx: Any, *deltas: Tensor) -> Any:
        h, (w1, b1, w2, b2) = ctx.saved_tensors
        return deltas[0] * (w2 * F.relu(w1 * h + b1) + b2), None


class Derived(nn.Module):
    """A multilayer perceptron whose derivative is multiplied where a mode bit is 1, as plain as one would write it."""

    def __init__(self, network: nn.Sequential, phi: Sequence[float], modes: Sequence[int]) -> None:
        super().__init__()
        self.network, self.modes = network, list(modes)
        self.register_buffer("phi", torch.tensor(phi))

    def forward(self, x: Tensor) -> Tensor:
        place = 0
        for layer in self.network:
            x = layer(x)
            if not isinstance(layer, nn.Linear):
                x = Multiplied.apply(x, self.phi) if self.modes[place] else x
                place += 1
        return x


def of_module(config: Config, steps: int, dataset: Dataset) -> tuple[float, nn.Module]:
    """Validation accuracy of one target trained as a module, with the candidate's start and batches; and the module."""
    torch.set_num_threads(1)
    (x, y), training, target = dataset.tensors("train"), config.training, target_of(config, dataset)
    seed = stream(config.seed, "judged", 0)
    start = new_population(config, target, [seed], x).parameters
    rule = config.rule
    modes = rule.modes or (1,) * len(config.target.hidden)
    module = Derived(target.module([own[0] for own in start]), (rule.w1, rule.b1, rule.w2, rule.b2), modes)
    optimiser = torch.optim.SGD(module.parameters(), training.learning_rate, training.momentum)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, training.steps)
    batches = Batches(x, y, training.batch_size, [seed], True)
    for step in range(steps):
        x, y = batches(step)
        loss = F.cross_entropy(module(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        x, y = selection_data(config, dataset)
        return 100 * (module(x).argmax(1) == y).float().mean().item(), module


def as_population(config: Config, steps: int, dataset: Dataset) -> Population:
    """The same target as a population of one."""
    return trained([config], [stream(config.seed, "judged", 0)], steps, dataset)


# -- against backpropagation ---------------------------------------------------------------------------------------------


def duels(tests: Mapping[str, Sequence[float]], others: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Differences of test accuracies, paired by seed: of every way against each of ``others``, the first of which is against
    none itself."""
    return {
        name: {other: paired(own, tests[other]) for other in others if name not in (others[0], other)}
        for name, own in tests.items()
    }


def against(tests: Mapping[str, Sequence[float]], found: Mapping[str, Any], others: Sequence[str], what: str, form: str) -> str:
    """The table of :func:`duels`, whose p-values are corrected.

    Args:
        what: they are of.
        form: of test accuracies.
    """
    rows = [
        [name, mean(own, form), *(cell for other in others for cell in duel_cells(found[name].get(other)))]
        for name, own in tests.items()
    ]
    head = ["way", "test %, fresh", "against backprop", tables.P, "against its tuned rate", tables.P]
    return tables.blocks(tables.table(head, rows), f"Fresh {what}, paired by seed. {tables.CORRECTED_P}.")


def duel_cells(duel: Mapping[str, Any] | None) -> list[str]:
    return ["–", "–"] if duel is None else [tables.signed(duel, 1), tables.p_cell(duel)]


def mean(values: Sequence[float], form: str) -> str:
    middle, low, high = (format(value, form) for value in mean_interval(values))
    return f"{middle} [{low},{tables.KEPT}{high}]"


# -- β: Appendix C of the dissertation -------------------------------------------------------------------------------------


def betas() -> dict[str, Any]:
    """The path of the first layer's two weights on a binary problem, ReLU's derivative times β, under SGD and Adam.

    Returns:
        "paths" by optimiser and β; "apart": the largest distance between the path of a β and that of β = 1; "as_rate": under
        SGD that between the path of the smallest β and the one where the first layer's learning rate is multiplied by it.
    """
    paths = {optimiser: _paths(optimiser) for optimiser in TOY_RATE}
    apart = {name: float(np.abs(own - own[-1:]).max()) for name, own in paths.items()}
    as_rate = float(np.abs(paths["sgd"][0] - _path_by_rate(BETAS[0])).max())
    kept = {name: own[:, ::5].round(5).tolist() for name, own in paths.items()}
    return {"betas": list(BETAS), "paths": kept, "apart": apart, "as_rate": as_rate, "steps": TOY_STEPS}


def _toy(members: int) -> tuple[MLP, list[Tensor], Tensor, Tensor]:
    """2-1-2: two inputs, one rectified unit, two classes; two overlapping clouds of points."""
    target, draws = MLP((2, 1, 2)), numpy_stream(0, "two clouds")
    y = np.arange(64) % 2
    x = draws.standard_normal((64, 2)) * 0.6 + np.where(y[:, None] == 1, [1.2, 0.6], [0.2, -0.2])
    one = [torch.tensor([[0.4, -0.5]]), torch.tensor([0.3]), torch.tensor([[-0.6], [0.7]]), torch.zeros(2)]
    start = [own.double().expand(members, *own.shape).clone() for own in one]
    return target, start, torch.from_numpy(x), torch.from_numpy(y)


def _paths(optimiser: str) -> np.ndarray:
    """(β, steps + 1, 2)"""
    target, start, x, y = _toy(len(BETAS))
    population = Population(target, start, optimiser, TOY_RATE[optimiser])
    signal = bound(named("pblf", phi=torch.tensor([[0.0, 0.0, 0.0, beta] for beta in BETAS])), population)
    found = [population.parameters[0][:, 0].numpy().copy()]
    for _ in range(TOY_STEPS):
        population.apply(population.grads(x, y, signal))
        found.append(population.parameters[0][:, 0].numpy().copy())
    return np.stack(found, axis=1)


def _path_by_rate(beta: float) -> np.ndarray:
    """(steps + 1, 2), by torch's own SGD with a rate for each layer."""
    target, start, x, y = _toy(1)
    module = target.module([own[0] for own in start])
    first, last = (list(module[place].parameters()) for place in (0, 2))
    rate = TOY_RATE["sgd"]
    optimiser = torch.optim.SGD([{"params": first, "lr": beta * rate}, {"params": last, "lr": rate}])
    found = [first[0][0].detach().numpy().copy()]
    for _ in range(TOY_STEPS):
        loss = F.cross_entropy(module(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(first[0][0].detach().numpy().copy())
    return np.stack(found)


# -- pictures --------------------------------------------------------------------------------------------------------------


def components(judged: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All φ that were judged in their first two principal components, as Figure 6.3 of the dissertation has them."""
    phi = np.array([own["phi"] for own in judged])
    centred = phi - phi.mean(0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    places = centred @ axes[:2].T
    return {
        "places": places.round(4).tolist(),
        "axes": axes[:2].round(4).tolist(),
        "explained": (sizes[:2] ** 2 / (sizes**2).sum()).tolist(),
        "accuracy": [own["accuracy"] for own in judged],
    }


def draw(report: Mapping[str, Any], folder: Path, name: str) -> None:
    """NAME-components.png and NAME-betas.png."""
    from pipeline.results.figures import Drawing, Panel
    from pipeline.results.figures.drawing import drawn

    found, paths = report["components"], report["betas"]
    notes = (f"n = {len(found['accuracy'])} φ, a point each; accuracy on validation data. The best lie on top.",)
    panel = Panel(partial(_components, found=found), (7.0, 4.6), right=1.3)
    drawn(
        Drawing("All derivatives that were judged, in two principal components", notes, (panel,)),
        folder / f"{name}-components.png",
    )
    notes = (f"n = 1 path of {paths['steps']} steps for each factor β of ReLU's derivative; the dot is where it ends.",)
    panels = tuple(Panel(partial(_path, betas=paths, optimiser=optimiser), (4.4, 3.8)) for optimiser in paths["paths"])
    drawn(Drawing("The path of two weights on the toy problem", notes, panels, aligned=True), folder / f"{name}-betas.png")


def _components(panel: "Axes", found: Mapping[str, Any]) -> None:
    from pipeline.results.figures.style import colour_bar, plain

    places, order = np.array(found["places"]), np.argsort(found["accuracy"])  # the best ones on top
    drawn = panel.scatter(*places[order].T, c=np.array(found["accuracy"])[order], s=14, cmap="viridis")
    named = [
        f"principal component {number} ({100 * share:.0f} % of the variance)"
        for number, share in enumerate(found["explained"], 1)
    ]
    panel.set(title="all φ", xlabel=named[0], ylabel=named[1])
    colour_bar(panel, drawn, "validation accuracy, %")
    plain(panel)


def _path(panel: "Axes", betas: Mapping[str, Any], optimiser: str) -> None:
    from pipeline.results.figures.style import plain

    paths = betas["paths"][optimiser]
    for number, (beta, path) in enumerate(zip(betas["betas"], np.array(paths), strict=True)):
        colour = _shade(number, len(paths))
        panel.plot(*path.T, color=colour, label=f"β = {beta:g}", linewidth=3.5 - 0.6 * number)
        panel.plot(*path[-1], "o", color=colour, markersize=4)
    panel.set(title={"sgd": "SGD", "adam": "Adam"}[optimiser], xlabel="first weight", ylabel="second weight")
    plain(panel)


def _shade(number: int, count: int) -> Any:
    import matplotlib

    return matplotlib.colormaps["viridis"](0.1 + 0.75 * number / max(1, count - 1))
