"""What could embarrass the prediction benchmark: a run in two parts, or a predictor that has seen the test runs."""

import dataclasses
import importlib

import pytest
import torch

for package in ("lightgbm", "nfn"):
    pytest.importorskip(package, reason=f"{package} is not installed; pip install '.[benchmarks]'")


@pytest.fixture(scope="module")
def prediction():
    return importlib.import_module("benchmarks.prediction")


@pytest.fixture(scope="module")
def recipe(prediction):
    return prediction.Recipe(train=60, validation=20, test=40, checkpoints=4, short=10, full=400)


@pytest.fixture(scope="module")
def recordings(prediction, recipe, digits, tmp_path_factory):
    preset = prediction.PRESETS["digits"]
    config = dataclasses.replace(preset, training=dataclasses.replace(preset.training, steps=200))
    work = tmp_path_factory.mktemp("recordings")
    made = prediction.record(recipe, config, digits, work)
    kept = prediction.record(recipe, config, digits, work)
    assert torch.equal(made.weights_MN, kept.weights_MN) and torch.equal(made.score_RT, kept.score_RT)
    return made


def test_no_run_is_in_two_parts(prediction, recipe, recordings) -> None:
    parts = prediction.split(recipe)
    assert sorted(run for runs in parts.values() for run in runs) == list(range(recipe.runs))
    for goal, checkpoints in (("now", recipe.checkpoints), ("end", recipe.checkpoints - 1)):
        rows = [prediction.points(recordings, runs, goal).rows // recipe.checkpoints for runs in parts.values()]
        assert [len(row) for row in rows] == [len(runs) * checkpoints for runs in parts.values()]
        assert [sorted(set(row.tolist())) for row in rows] == list(parts.values())


def test_points_hold_their_own_run(prediction, recipe, recordings) -> None:
    """Weights read back from a row have the score that the row is given."""
    from pipeline.setting import selection_data
    from pipeline.targets import Population, unflatten

    for goal, later in (("now", 0), ("end", 3)):
        part = prediction.points(recordings, [5, 17], goal)
        shown = part.rows[part.progress == 0] + later
        weights = unflatten(recordings.weights_MN[shown].float(), recordings.target.shapes)
        loss = Population(recordings.target, weights).evaluate(*selection_data(recordings.config, recordings.dataset)).loss
        torch.testing.assert_close(part.goal[part.progress == 0], torch.exp(-loss), atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", ["probes", "statistics + LightGBM", "nfn"])
def test_shuffled_scores_cannot_be_predicted(prediction, recipe, recordings, name) -> None:
    """Each run is given another's scores: whoever still ranks them has seen the test runs. Unshuffled they can be ranked."""
    order = torch.randperm(recipe.runs, generator=torch.Generator().manual_seed(0))
    shuffled = dataclasses.replace(recordings, score_RT=recordings.score_RT[order])
    runs = prediction.split(recipe)
    kendalls = []
    for world, goal in ((recordings, "now"), (shuffled, "end")):
        parts = {part: prediction.points(world, runs[part], goal) for part in runs}
        fit = prediction.fitting(name, world, recipe.seed)
        fitted, _ = prediction.tuned(fit, prediction.candidates(name)[:1], recipe, parts["train"], parts["validation"])
        kendalls.append(prediction.kendall(fitted.predict(parts["test"]), parts["test"]))
    assert kendalls[0] > 0.5, kendalls
    assert abs(kendalls[1]) < 0.25, kendalls
