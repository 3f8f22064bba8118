"""How far learning rules are from backpropagation while they train."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from scipy import stats

from pipeline.results.figures.drawing import Drawing, Panel, count, drawn, named
from pipeline.results.figures.style import BAND, DASHES, colour_of, plain

NOTHING = 0.01
"""degrees: a layer in which no rule turns further than this gets the gradient itself, and no panel"""


def angles(curves: Mapping[str, Mapping[str, Any]], path: Path | None = None, *, data: str = "") -> Drawing:
    """The angle to the gradient over training, a panel per layer: mean over seeds and the 95 % band of the mean (Student's t).

    A layer that gets nothing, and a target that diverged, have no angle and are left out.

    Args:
        curves: per arm "steps" [E] and "angles" [[[L] per evaluation E] per seed], in degrees.
        data: name of the data set.
    """
    values = {arm: np.asarray(curve["angles"], dtype=np.float64) for arm, curve in curves.items()}
    most = np.max([np.nan_to_num(of_arm).max((0, 1)) for of_arm in values.values()], axis=0)
    layers = [layer for layer, largest in enumerate(most) if largest > NOTHING] or [0]
    top = max(95.0, 1.03 * float(most.max()))
    panels = tuple(Panel(partial(_layer, curves=curves, values=values, layer=layer, top=top), (4.2, 3.5)) for layer in layers)
    notes = (
        f"{count(len(of_arm) for of_arm in values.values())} targets for each arm; line: their mean, band: its 95 % interval "
        "(Student's t). 0° is backpropagation, 90° (dotted) no relation; below 90° a small step lowers the loss.",
        *(
            [f"Layers without a panel get the gradient itself: {_others(layers, len(most))}."]
            if len(layers) < len(most)
            else []
        ),
    )
    title = f"Angle between what a layer's weights get and the gradient of the training loss{named(data)}"
    return drawn(Drawing(title, notes, panels, aligned=True), path)


def _others(layers: list[int], count: int) -> str:
    return ", ".join(str(layer + 1) for layer in range(count) if layer not in layers)


def _layer(
    panel: Axes,
    curves: Mapping[str, Mapping[str, Any]],
    values: Mapping[str, Float[np.ndarray, "S E L"]],
    layer: int,
    top: float,
) -> None:
    for number, (arm, of_arm) in enumerate(values.items()):
        _turned(panel, np.asarray(curves[arm]["steps"]), of_arm[:, :, layer], arm, number)
    panel.axhline(90, color="#999999", linewidth=0.8, linestyle=(0, (2, 2)))
    panel.set(title=f"layer {layer + 1}", xlabel="optimiser steps", ylabel="angle to the gradient, °", ylim=(0, top))
    plain(panel)


def _turned(panel: Axes, steps: np.ndarray, values_SE: Float[np.ndarray, "S E"], arm: str, number: int) -> None:
    """Mean over the seeds S that have an angle at an evaluation E, and the band of that mean."""
    there = np.isfinite(values_SE)
    seen = there.any(0)
    values_SE, there, counts = values_SE[:, seen], there[:, seen], there.sum(0)[seen]
    mean = np.where(there, values_SE, 0.0).sum(0) / counts
    apart = np.where(there, values_SE - mean, 0.0)
    freedom = np.maximum(counts - 1, 1)
    half = np.where(counts > 1, stats.t.ppf(0.975, freedom) * np.sqrt((apart**2).sum(0) / freedom / counts), 0.0)
    colour, label = colour_of(arm, number), arm if seen.any() else f"{arm} (nothing)"
    style = {"color": colour, "linestyle": DASHES.get(arm, "-"), "linewidth": 1.6, "gid": f"line-{arm}"}
    panel.plot(steps[seen], mean, label=label, **style)
    panel.fill_between(steps[seen], mean - half, mean + half, color=colour, alpha=BAND, linewidth=0)
