"""``grad-instructor explain``: Grad-CAM over the weight image."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.arms import ARMS
from pipeline.command_line.options import Command
from pipeline.command_line.report import page_again
from pipeline.command_line.stages import do
from pipeline.command_line.work import Work, load_critics
from pipeline.errors import UserError
from pipeline.files import write_tensors
from pipeline.progress import console


def command(options: Command, line: str) -> int:
    """Stage 3 alone."""
    return do(Work("explain", options, line), [explain, page_again])


def explain(job: Work) -> None:
    """Stage 3: what the ENN looks at."""
    from pipeline.compare import checkpoints_of
    from pipeline.explain import explain
    from pipeline.results import figures

    config = job.config
    if "convnet" not in config.enn.readers:
        console.print("explain: no reader in enn.readers sees a weight image, so there is no Grad-CAM to draw.")
        return
    critic = load_critics(job)["convnet"]
    folder = job.folder / "explain"
    run = job.child("explain", "explain", {"reader": "convnet"})
    for arm in [name for name, arm in ARMS.items() if arm.explained and name in config.compare.arms]:
        maps = explain(critic, _checkpoints(job, arm))
        tensors = {f"{index}/{name}": getattr(item, name) for index, item in enumerate(maps) for name in ("image", "map")}
        tensors |= {
            f"{index}/layer{number}": layer for index, item in enumerate(maps) for number, layer in enumerate(item.layers, 1)
        }
        write_tensors(folder / f"gradcam-{arm}.safetensors", _to_torch(tensors))
        drawn = [
            {"title": f"{arm}, {item.title} (V = {item.value:.2f})", "map": item.map, "image": item.image} for item in maps
        ]
        figures.gradcam(drawn, job.folder / "figures" / f"gradcam-{arm}.png")
        job.records.artifact(job.name, f"figures/gradcam-{arm}.png", "figures")
        for index, step in enumerate(checkpoints_of(config).values()):
            path = folder / f"gradcam-{arm}-{step:06d}.png"
            figures.gradcam(drawn[index : index + 1], path)
            job.records.image(run, str(path.relative_to(job.folder)), f"gradcam/{arm}", step)
    job.records.end(run, "FINISHED")
    console.print(f"explain: Grad-CAM maps are in {job.folder / 'figures'}")


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
