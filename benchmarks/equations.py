"""Parts of the page on evolved equations: how many there are, what they cost, what they do to a unit, and their pictures.

Letters: P members, B examples.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from pipeline.config import Config
from pipeline.data import Dataset
from pipeline.instruction import Update
from pipeline.instruction.loop import advance
from pipeline.learning import bound, named
from pipeline.learning.expression.binaries import BINARIES, LEFT, PRODUCT
from pipeline.learning.expression.drawing import ALL_OPERANDS, ALL_UNARIES
from pipeline.learning.expression.fingerprint import DIGITS, probed
from pipeline.learning.expression.grammar import SIGNAL_SHAPE, Binary, Leaf, Tree, Unary
from pipeline.learning.expression.spelling import parse, plain, spelt
from pipeline.learning.expression.typing import joined, shape_of
from pipeline.results.figures.drawing import Drawing, Panel, drawn
from pipeline.results.figures.style import plain as plainly
from pipeline.seeding import stream
from pipeline.setting import new_population, target_of
from pipeline.targets import MLP, Batches, Context, Population, initialise

# -- how many ----------------------------------------------------------------------------------------------------------------


def distinct(most: int | None = None) -> dict[str, int]:
    """How many equations of depth 1 there are, and how many of them do something else than all others on the probe batch.

    On the last hidden layer, whose neighbour above has the same signal under every equation. Every side u(o) is evaluated once,
    and then every pair by the binary operator alone, so that what draws at each step has drawn the same on both sides. A side
    that is not finite on the probe has diverged, and so has what is made of it.

    Args:
        most: sides of a shape that are looked at.
    """
    signals, others = _sides(most)
    values, whole = _values(signals)
    found, diverged, written = set(), 0, 0
    for name, entry in BINARIES.items():
        if name in (LEFT, PRODUCT):
            continue
        for at in range(len(values)):
            written += len(values)
            made = entry.apply(values[at].expand_as(values), values, torch.empty_like(values))
            finite = torch.isfinite(made).all(1) & whole[at] & whole
            diverged += int((~finite).sum())
            found.update(_hashes(made[finite]))
    written += len(signals) * len(signals + others)
    found.update(_hashes(values[whole]))
    for tree in (Binary(PRODUCT, one, other) for one in others for other in others):
        if joined(PRODUCT, shape_of(tree.left), shape_of(tree.right)) == SIGNAL_SHAPE:
            written += 1
            own = probed(plain(tree), last=True)
            diverged += own is None
            found.update(() if own is None else _hashes(own[None]))
    return {"written": written, "distinct": len(found), "diverged": diverged}


def _sides(most: int | None) -> tuple[list[Tree], list[Tree]]:
    """All u(o) that are signals, and all others."""
    sides: list[Tree] = [
        Unary(name, Leaf(own), value) if name else Leaf(own) for own in ALL_OPERANDS for name, value in ALL_UNARIES
    ]
    signals = [side for side in sides if shape_of(side) == SIGNAL_SHAPE]
    return signals[:most], [side for side in sides if shape_of(side) != SIGNAL_SHAPE][:most]


def _values(sides: Sequence[Tree]) -> tuple[Tensor, Tensor]:
    """What each is on the probe, (sides, numbers), and whether it is finite."""
    found = [probed(plain(side), last=True) for side in sides]
    size = max((len(own) for own in found if own is not None), default=1)
    finite = torch.tensor([own is not None for own in found])
    return torch.stack([torch.zeros(size, dtype=torch.float64) if own is None else own for own in found]), finite


def _hashes(values: Tensor) -> list[bytes]:
    size = torch.where(values == 0, 1.0, values.abs()).log10().floor()
    step = 10.0 ** (size - DIGITS + 1)
    rounded = (torch.round(values / step) * step + 0.0).numpy()
    return [hash(row.tobytes()).to_bytes(8, "little", signed=True) for row in rounded]


# -- what they cost ----------------------------------------------------------------------------------------------------------

DEPTH_1 = (
    "(Wᵀs)∘σ′ / ‖·‖₂",
    "(Wᵀs)∘σ′ + (Rᵀs)∘σ′",
    "clip((Wᵀs)∘σ′, 0.1) ∘ h",
    "max(Wᵀs / ‖·‖∞, std(h))",
    "noise((Wᵀs)∘σ′, 0.01) + h",
    "W±ᵀ · s",
)
"""such as use different operators"""


def speed(networks: Sequence[tuple[int, ...]], members: int, repeats: int) -> list[dict[str, Any]]:
    """Times of one step's gradients as multiples of the fused pass's, medians of turns side by side."""
    rows = []
    for widths in networks:
        target, generator = MLP(widths), torch.Generator().manual_seed(0)
        x = torch.rand(100, widths[0], generator=generator).expand(members, 100, widths[0]).clone()
        y = torch.randint(widths[-1], (members, 100), generator=generator)
        population = Population(target, initialise(target, "glorot", range(members)), seeds=range(members))
        runs = {"": None} | {text: bound(named("expression", equation=text), population) for text in DEPTH_1}
        times: dict[str, list[float]] = {text: [] for text in runs}
        for _ in range(repeats):
            for text, signal in runs.items():
                population.grads(x, y, signal)
                started = time.thread_time()
                population.grads(x, y, signal)
                times[text].append(time.thread_time() - started)
        ratios = {text: [one / fused for one, fused in zip(own, times[""], strict=True)] for text, own in times.items() if text}
        rows.append(
            {"network": "-".join(map(str, widths)), "ratios": {text: statistics.median(own) for text, own in ratios.items()}}
        )
    return rows


# -- what they do to a unit --------------------------------------------------------------------------------------------------


def ratios(config: Config, equation: str, rate: float, steps: int, dataset: Dataset) -> dict[str, Any]:
    """The ratio r / b per unit (Eyono, 2020, appendix A.2): what an equation sends back, r, over what backpropagation would, b.

    After some steps of backpropagation, for each hidden layer: the slope of r on b over a batch's examples, of each unit, as a
    multiple of the median of its layer's absolute ones in that member; and the share of r² that no such ratio explains.
    """
    members = [stream(config.seed, "ratio", number) for number in range(4)]
    x, y = dataset.tensors("train")
    population = new_population(config, target_of(config, dataset), members, x, learning_rate=rate)
    batches, rule = Batches(x, y, config.training.batch_size, members, False), Update()
    advance(population, rule, rule.init(population), batches, steps)
    batch = batches(steps)
    b, r = (_signals(population, text, batch) for text in ("(Wᵀs)∘σ′", equation))
    found: dict[str, Any] = {"units": [], "unexplained": []}
    for one, other in zip(r, b, strict=True):
        slope = (one * other).sum(-1) / (other * other).sum(-1).clamp_min(1e-30)
        rest = (one - slope.unsqueeze(-1) * other).square().sum() / one.square().sum().clamp_min(1e-30)
        middle = slope.abs().median(1, keepdim=True).values.clamp_min(1e-30)
        found["units"].append([round(float(own), 4) for own in (slope / middle).flatten()])
        found["unexplained"].append(float(rest))
    return found


def _signals(population: Population, equation: str, batch: tuple[Tensor, Tensor]) -> list[Tensor]:
    rule, found = bound(named("expression", equation=equation), population), []

    def keep(contexts: list[Context]) -> None:
        rule(contexts)
        found.extend(context.signal.double().clone() for context in contexts[:-1] if context.signal is not None)

    population.grads(*batch, keep)
    return found


# -- pictures ----------------------------------------------------------------------------------------------------------------

EVOLVED, DRAWN, LINE = "#117733", "#999999", "#661100"
LONGEST = 56
"""characters of an equation on a picture"""


def draw_family(
    rows: Sequence[Mapping[str, Any]], control: Sequence[Mapping[str, Any]], chain: Sequence[str], path: Path
) -> Drawing:
    """The accuracy of all equations judged to the end, by number, and the winner's ancestors.

    Args:
        chain: names of candidates, from the first ancestor to the winner.
    """
    by_name = {row["name"]: row for row in rows}
    line = [by_name[name] for name in chain if name in by_name]
    low = min(75.0, min((row["accuracy"] for row in line), default=80.0) - 5)
    below = sum(row["accuracy"] < low for row in (*rows, *control))

    def fill(panel: Axes) -> None:
        for own, colour, label in ((control, DRAWN, "drawn at random"), (rows, EVOLVED, "evolved")):
            panel.scatter([row["number"] for row in own], [row["accuracy"] for row in own], 7, colour, alpha=0.5, label=label)
        places = [(row["number"], row["accuracy"]) for row in line]
        panel.plot(
            [x for x, _ in places],
            [y for _, y in places],
            "o-",
            color=LINE,
            ms=5,
            lw=1.2,
            label="the best and its ancestors, 1 the first",
        )
        for number, place in enumerate(places, 1):
            panel.annotate(str(number), place, (0, 5), textcoords="offset points", ha="center", fontsize=8, color=LINE)
        panel.set(xlabel="number of the equation", ylabel="validation accuracy, %", ylim=(low, 101))
        plainly(panel)

    ancestors = (f"{number}: {row['accuracy']:.1f} %, {_short(row['equation'])}." for number, row in enumerate(line, 1))
    notes = (
        f"{len(rows)} evolved equations and {len(control)} drawn at random were judged to the end, on digits, each at the best "
        f"of its learning rates; {below} of them lie below the picture.",
        *ancestors,
    )
    panels = (Panel(fill, (9.0, 4.2)),)
    return drawn(Drawing("Validation accuracy of equations, and where the best comes from", notes, panels), path)


def draw_ratios(found: Mapping[str, Mapping[str, Any]], path: Path) -> Drawing:
    """The ratio r / b of each unit, as a multiple of its layer's median, for each equation and layer."""
    draws = np.random.default_rng(0)

    def fill(panel: Axes) -> None:
        for at, own in enumerate(found.values()):
            for layer, units in enumerate(own["units"]):
                heights = at + (layer - 0.5) * 0.3 + draws.uniform(-0.08, 0.08, len(units))
                label = f"hidden layer {layer + 1}" if at == 0 else None
                panel.scatter(np.clip(units, -3, 5), heights, 5, (EVOLVED, LINE, DRAWN)[layer % 3], alpha=0.5, label=label)
        panel.set_yticks(range(len(found)), [_short(text) for text in found], fontsize=7)
        panel.invert_yaxis()
        panel.axvline(1, color="#BBBBBB", lw=0.8, zorder=0)
        panel.axvline(0, color="#BBBBBB", lw=0.8, ls=":", zorder=0)
        panel.set(xlabel="r / b of a unit, over the median of its layer", xlim=(-3.2, 5.2))
        plainly(panel)

    notes = (
        "A point is a hidden unit after half a run of backpropagation on digits: the slope of what the equation sends to it on "
        "what backpropagation does, over a batch. 1: backpropagation at another learning rate of the layer; what is beyond "
        "the axis stands at its end.",
    )
    panel = Panel(fill, (9.0, 1.0 + 0.42 * max(1, len(found))), left=3.4)
    return drawn(Drawing("What equations do to a unit", notes, (panel,)), path)


def _short(equation: str) -> str:
    """An equation on a picture."""
    text = spelt(parse(equation))
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
