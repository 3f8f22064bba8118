"""Judging one candidate of a search in stages, on populations that were recorded once for all candidates.

An ENN candidate first learns off-policy from the recorded runs (:mod:`rl.offline.learning`) and is measured on runs held out;
then it is fine-tuned through unrolled training and instructs fresh targets, few, later many. Numbers depend on the candidate's
settings and the recordings alone: a stage continues from the state that the one before left, and without that state it does
the earlier stages again, with the same result. What recorded the runs is named by the candidate's settings too (``recorded``):
:func:`rl.offline.training.learn_from_recordings` makes the same ENN of them, without a search.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pipeline.config import Config, coarsened
from pipeline.data.dataset import Dataset
from pipeline.enn import Critic
from pipeline.results.checkpoints import read_checkpoint, write_checkpoint
from pipeline.results.origin import judged_from
from pipeline.search.values import Failed, Stage
from rl.critics import at_home, first_critic, frozen_copy
from rl.offline.gains import gain
from rl.offline.learning import Learning
from rl.offline.measurements import measure
from rl.offline.predicted import predicted
from rl.offline.recorded import Recorded
from rl.unrolled import FineTuning


def judge(
    config: Config, stages: Sequence[Stage], folder: Path | None, *, dataset: Dataset, recorded: Recorded
) -> dict[str, Any]:
    """What the last of ``stages`` finds out about the ENN of ``config``.

    Args:
        config: as :meth:`pipeline.search.plan.Plan.config` gives it: what trains the ENN as the last stage of all judges it.
        stages: from the first one on; earlier ones are only done again where their state is not in ``folder``.
        folder: of the candidate, where its state is kept; None keeps none.

    Raises:
        Failed: it diverged, or no ENN can be made of its settings.
    """
    torch.set_num_threads(1)
    trained = Trained(config, dataset, recorded)
    stage, started = stages[-1], time.thread_time()
    done = trained.load(folder, stage) if folder else (0, 0)
    trained.advance(*done, stage.updates, stage.segments)
    seconds = time.thread_time() - started
    critic = trained.critic()
    if not all(bool(tensor.isfinite().all()) for tensor in critic.state_dict().values()):
        raise Failed("its weights diverged")
    if folder:
        trained.save(folder, stage.updates, stage.segments)
    found = measure(trained.config, dataset, critic, recorded)
    if stage.predictors:
        found |= predicted(trained.config, critic, recorded, stage.predictors)
    if stage.targets:
        found |= gain(config, dataset, at_home(critic, config), recorded, stage.targets)
    return found | {"training_seconds": seconds, "seconds": time.thread_time() - started}


class Trained:
    """An ENN on its way: off-policy first, then through unrolled training, the learning rate of which falls to 0 at the last
    segment of the last stage (``unroll.segments``), whichever stage this is.

    Raises:
        Failed: no ENN can be made of the settings.
    """

    def __init__(self, config: Config, dataset: Dataset, recorded: Recorded) -> None:
        self.config, self.dataset, self.origin = coarsened(config), dataset, judged_from(config, dataset)
        if config.enn.probes > len(dataset.x_train) and config.enn.readers[0] == "probes":
            raise Failed(f"enn.probes is {config.enn.probes} and there are {len(dataset.x_train)} training examples")
        critic = first_critic(self.config, dataset)
        self.learning = Learning(self.config, critic, recorded, ~recorded.held_out())
        self.tuning: FineTuning | None = None

    def advance(self, updates: int, segments: int, more_updates: int, more_segments: int) -> None:
        """From so many updates and segments to so many."""
        self.learning.advance(more_updates - updates)
        for number in range(segments, more_segments):
            if self.tuning is None:
                self.tuning = FineTuning(self.config, self.dataset, self.learning.critic)
            self.tuning.segment(number)

    def critic(self) -> Critic:
        """A copy, at home where it learned."""
        if self.tuning is not None:
            return self.tuning.exported()
        return frozen_copy(self.learning.critic)

    def save(self, folder: Path, updates: int, segments: int) -> None:
        tensors = {f"learning/{name}": tensor for name, tensor in self.learning.tensors().items()}
        if self.tuning is not None:
            tensors |= {f"tuning/{name}": tensor for name, tensor in self.tuning.tensors().items()}
        write_checkpoint(folder / "state.safetensors", tensors | {"done": torch.tensor([updates, segments])}, self.origin)

    def load(self, folder: Path, stage: Stage) -> tuple[int, int]:
        """What was saved, and how many updates and segments it has had; (0, 0) where nothing was, or more than of ``stage``.

        Raises:
            UserError: it was made from something else.
        """
        path = folder / "state.safetensors"
        tensors = read_checkpoint(path, self.origin) if path.exists() else {"done": torch.tensor([0, 0])}
        updates, segments = tensors["done"].tolist()
        if not updates + segments or updates > stage.updates or segments > stage.segments:
            return 0, 0
        self.learning.load({n.removeprefix("learning/"): t for n, t in tensors.items() if n.startswith("learning/")})
        tuning = {n.removeprefix("tuning/"): t for n, t in tensors.items() if n.startswith("tuning/")}
        if tuning:
            self.tuning = FineTuning(self.config, self.dataset, self.learning.critic)
            self.tuning.load(tuning)
        return updates, segments
