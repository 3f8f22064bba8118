"""How predictors rank architectures: scores against accuracies, and how much predictors agree."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from pipeline.results.figures.drawing import Drawing, Panel, drawn
from pipeline.results.figures.style import COLOURS, colour_bar, plain

MOST_ACCURATE = 100.5
"""percent, and a little room: no axis goes further"""


def scatter(name: str, scores: Sequence[float], panels: Sequence[Mapping[str, Any]], path: Path | None = None) -> Drawing:
    """A predictor's scores against the accuracies on each data set; a point for each architecture.

    Args:
        panels: per data set "title", "accuracy" (percent, one per score) and "kendall".
    """
    shown = [number for number, score in enumerate(scores) if not math.isnan(score)]
    lost, worst = len(scores) - len(shown), sum(scores[number] == -math.inf for number in shown)
    notes = (
        f"n = {len(shown)} of the architectures, a point each{f' ({lost} more have no score)' * bool(lost)}; "
        f"{f'{worst} of them have the worst score, −∞: triangles at the left; ' * bool(worst)}τ: Kendall's rank correlation.",
    )
    own = tuple(Panel(partial(_points, name=name, scores=scores, own=panel, shown=shown), (3.8, 3.6)) for panel in panels)
    return drawn(Drawing(f"{name} before training, and accuracy after it", notes, own, columns=3), path)


def _points(panel: Axes, name: str, scores: Sequence[float], own: Mapping[str, Any], shown: Sequence[int]) -> None:
    finite, colour = [n for n in shown if math.isfinite(scores[n])], COLOURS["instructed"]
    x, y = [scores[n] for n in finite], [own["accuracy"][n] for n in finite]
    panel.scatter(x, y, s=9, alpha=0.5, linewidths=0, color=colour, rasterized=True)
    if x and min(x) > 0 and max(x) > 100 * min(x):
        panel.set_xscale("log")
    worst = [own["accuracy"][n] for n in shown if scores[n] == -math.inf]
    edge = panel.get_yaxis_transform()
    panel.scatter([0.02] * len(worst), worst, s=16, alpha=0.5, linewidths=0, color=colour, marker="<", transform=edge)
    panel.update_datalim([(0.0, value) for value in worst], updatex=False)  # which matplotlib does for points of data alone
    panel.autoscale_view(scalex=False)
    panel.set_ylim(top=min(panel.get_ylim()[1], MOST_ACCURATE))
    tau = own["kendall"]
    known = "" if tau is None or math.isnan(tau) else f", τ = {tau:.2f}".replace("-", "−")
    panel.set_title(f"{own['title']}{known}", fontsize=10)
    panel.set(xlabel=f"score by {name}", ylabel="accuracy after training, %")
    plain(panel)


def agreement(
    names: Sequence[str], matrix: Sequence[Sequence[float]], path: Path | None = None, *, architectures: int = 0
) -> Drawing:
    """Kendall's τ between each two predictors, as colours and numbers.

    Args:
        architectures: how many were scored; 0: not known.
    """
    size = 2.6 + 0.55 * len(names)
    panel = Panel(partial(_agreement, names=names, matrix=matrix), (size + 1.6, size + 0.8), 1.5, 1.1, 1.3)
    counted = f"n = {architectures} architectures. " if architectures else f"n = {len(names)} predictors. "
    notes = (f"{counted}Kendall's τ between the scores of each two: 1 is the same order, 0 no relation, −1 the reverse.",)
    return drawn(Drawing("How much predictors agree", notes, (panel,)), path)


def _agreement(panel: Axes, names: Sequence[str], matrix: Sequence[Sequence[float]]) -> None:
    image = panel.imshow(matrix, vmin=-1, vmax=1, cmap="PuOr_r")
    for row, values in enumerate(matrix):
        for column, value in enumerate(values):
            if math.isfinite(value):
                colour = "white" if abs(value) > 0.75 else "black"
                panel.text(column, row, f"{value:.2f}".replace("-", "−"), ha="center", va="center", fontsize=7, color=colour)
    panel.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
    panel.set_yticks(range(len(names)), names, fontsize=8)
    panel.set(title="rank correlation", xlabel="predictor", ylabel="predictor")
    colour_bar(panel, image, "Kendall's τ, −1 to 1")
