"""``grad-instructor explain``: Grad-CAM over the weight image."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.arms import ARMS
from pipeline.command_line import arm_runs
from pipeline.command_line.options import Command
from pipeline.command_line.report import page_again
from pipeline.command_line.stages import do
from pipeline.command_line.work import Work, load_critics
from pipeline.errors import UserError
from pipeline.files import write_tensors
from pipeline.progress import console

if TYPE_CHECKING:
    from pipeline.results.figures import Scale


def command(options: Command, line: str) -> int:
    """Stage 3 alone."""
    return do(Work("explain", options, line), [explain, page_again])


def explain(job: Work) -> None:
    """Stage 3: what the ENN looks at."""
    from pipeline.explain import explain
    from pipeline.results import figures

    config = job.config
    if "convnet" not in config.enn.readers:
        console.print("explain: no reader in enn.readers sees a weight image, so there is no Grad-CAM to draw.")
        return
    critic = load_critics(job)["convnet"]
    folder = job.folder / "explain"
    explained = {
        name: explain(critic, _checkpoints(job, name))
        for name, arm in ARMS.items()
        if arm.explained and name in config.compare.arms
    }
    drawn = {
        arm: [{"title": f"{item.title} (V = {item.value:.2f})", "map": item.map, "image": item.image} for item in maps]
        for arm, maps in explained.items()
    }
    scale = figures.scale_of([item for of_arm in drawn.values() for item in of_arm])
    for arm, maps in explained.items():
        tensors = {f"{index}/{name}": getattr(item, name) for index, item in enumerate(maps) for name in ("image", "map")}
        tensors |= {
            f"{index}/layer{number}": layer for index, item in enumerate(maps) for number, layer in enumerate(item.layers, 1)
        }
        write_tensors(folder / f"gradcam-{arm}.safetensors", _to_torch(tensors))
        figures.gradcam(drawn[arm], job.folder / "figures" / f"gradcam-{arm}.png", of=f"the arm {arm}", scale=scale)
        job.records.artifact(job.root, f"figures/gradcam-{arm}.png", "figures")
    _images(job, explained, scale)
    console.print(f"explain: Grad-CAM maps are in {job.folder / 'figures'}", soft_wrap=True)


def _images(job: Work, explained: Mapping[str, Sequence[Any]], scale: "Scale") -> None:
    """The weights and their map as images of their own, by step: under the same names and on the same scale for all arms, so
    that MLflow shows them beside each other."""
    from pipeline.compare import checkpoints_of
    from pipeline.results import figures

    for key, kind, colours in (("weights", "image", figures.WEIGHTS), ("gradcam", "map", figures.GRADCAM)):
        for arm, maps in explained.items():
            run = arm_runs.ensure(job, arm)
            for item, step in zip(maps, checkpoints_of(job.config).values(), strict=True):
                path = job.folder / "explain" / f"{key}-{arm}-{step:06d}.png"
                title = f"{key.replace('gradcam', 'Grad-CAM')}, {arm}, step {step:,}"
                figures.panel(getattr(item, kind), getattr(scale, kind), colours, title, path)
                job.records.image(run, str(path.relative_to(job.folder)), key, step)


def _checkpoints(job: Work, arm: str) -> dict[str, tuple[list[Any], float]]:
    """The first member's weights at the start, middle and end of an arm."""
    from pipeline.compare import checkpoints_of
    from pipeline.files import read_tensors

    path = job.folder / "arms" / f"{arm}-0.safetensors"
    if not path.exists():
        raise UserError(f"{job.folder} holds no trained targets; train them first with `grad-instructor instruct`.")
    tensors = read_tensors(path)
    count = 2 * (len(job.config.target.hidden) + 1)
    weights = {name: [tensors[f"{name}/{i}"] for i in range(count)] for name in checkpoints_of(job.config)}
    return {name: (weights[name], place / job.config.training.steps) for name, place in checkpoints_of(job.config).items()}


def _to_torch(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
