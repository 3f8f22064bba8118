"""How predictors rank architectures: scores against accuracies, and how much predictors agree."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pipeline.results.figures.style import COLOURS, plain, save


def scatter(name: str, scores: Sequence[float], panels: Sequence[dict[str, Any]], path: Path) -> None:
    """A predictor's scores against the accuracies on each data set; a point for each architecture.

    Args:
        panels: per data set "title", "accuracy" (percent, one per score) and "kendall".
    """
    figure = Figure(figsize=(1.2 + 3.4 * len(panels), 3.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    shown = [number for number, score in enumerate(scores) if math.isfinite(score)]
    for number, (panel, own) in enumerate(zip(axes, panels, strict=True)):
        x, y = [scores[n] for n in shown], [own["accuracy"][n] for n in shown]
        panel.scatter(x, y, s=9, alpha=0.5, linewidths=0, color=COLOURS["instructed"], rasterized=True)
        if x and min(x) > 0 and max(x) > 100 * min(x):
            panel.set_xscale("log")
        tau = own["kendall"]
        panel.set_title(own["title"] + ("" if tau is None or math.isnan(tau) else f"   τ = {tau:.2f}"), fontsize=10)
        panel.set_xlabel(name)
        if number == 0:
            panel.set_ylabel("accuracy, %")
        plain(panel)
    save(figure, path)


def agreement(names: Sequence[str], matrix: Sequence[Sequence[float]], path: Path) -> None:
    """Kendall's τ between each two predictors, as colours and numbers."""
    size = 1.8 + 0.55 * len(names)
    figure = Figure(figsize=(size + 1.0, size), layout="constrained")
    panel = figure.subplots()
    image = panel.imshow(matrix, vmin=-1, vmax=1, cmap="PuOr_r")
    for row, values in enumerate(matrix):
        for column, value in enumerate(values):
            if math.isfinite(value):
                colour = "white" if abs(value) > 0.75 else "black"
                panel.text(column, row, f"{value:.2f}".replace("-", "−"), ha="center", va="center", fontsize=7, color=colour)
    panel.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
    panel.set_yticks(range(len(names)), names, fontsize=8)
    figure.colorbar(image, ax=panel, label="Kendall's τ", shrink=0.8)
    save(figure, path)
