"""What could embarrass tables 6 and 7: an interval that forgets the ENN's seed, a subset that leaks, other labels than said."""

import importlib

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def ablations():
    return importlib.import_module("benchmarks.ablations")


@pytest.fixture(scope="module")
def scarce():
    return importlib.import_module("benchmarks.scarce")


def test_the_interval_resamples_enns_and_targets(ablations) -> None:
    rows = np.tile(np.array([[0.0], [3.0], [6.0]]), (1, 16))  # all of the spread is between ENNs
    columns = np.tile(np.arange(16.0) - 7.5 + 3.0, (3, 1))  # all of it is between targets
    for values, low in ((rows, 0.0), (columns, 0.8)):
        found = ablations.interval(values, 1)
        assert found["difference"] == pytest.approx(3.0)
        assert found["low"] == pytest.approx(low, abs=0.3) and found["high"] == pytest.approx(6.0 - low, abs=0.3)


def test_every_variant_is_a_configuration(ablations) -> None:
    names = [(variant.base, variant.name) for variant in ablations.VARIANTS]
    assert len(set(names)) == len(names)
    for variant in ablations.VARIANTS:
        ablations.configured(variant, 0)
    steps = {
        v.name: ablations.configured(v, 0).unroll for v in ablations.VARIANTS if "of 10 steps" in v.name or "of 50" in v.name
    }
    assert {unroll.steps * unroll.segments for unroll in steps.values()} == {1000}


def test_of_twins_the_smaller_value_instructs(ablations, tiny, digits) -> None:
    from pipeline.instruction.reading import value_gradients
    from rl.critics import fresh_critic

    critics = [fresh_critic(ablations.dataclasses.replace(tiny, seed=seed), digits).eval() for seed in (0, 1)]
    shapes = critics[0].home.target.shapes
    parameters = [torch.randn(6, *shape, generator=torch.Generator().manual_seed(2)) for shape in shapes]
    progress = torch.linspace(0, 1, 6)
    values = [value_gradients(critic, parameters, progress).value for critic in critics]
    with torch.no_grad():  # now each is the smaller one of some members
        critics[1].value_head.bias += (values[0].logit() - values[1].logit()).mean()
    single = [value_gradients(critic, parameters, progress) for critic in critics]
    both = value_gradients(ablations.Twins(critics), parameters, progress)
    smaller = torch.stack([one.value for one in single]).argmin(0)
    assert set(smaller.tolist()) == {0, 1}
    for member, which in enumerate(smaller.tolist()):
        assert torch.allclose(both.value[member], single[which].value[member])
        for own, wanted in zip(both.gradients, single[which].gradients, strict=True):
            assert torch.allclose(own[member], wanted[member], atol=1e-7)


def test_what_the_starts_differ_by_is_no_doubt(ablations) -> None:
    values = np.tile(np.array([0.0, 6.0]), (3, 8))
    assert ablations.interval(values, 2) == {"difference": 3.0, "low": 3.0, "high": 3.0}
    assert ablations.interval(values, 1)["low"] < 2.0


@pytest.mark.parametrize("wrong", [0.0, 0.25, 0.5])
def test_a_subset_has_its_share_of_wrong_labels_and_every_image_once_an_epoch(scarce, wrong) -> None:
    y = np.arange(5000) % 10
    subset = scarce.Subset.drawn(y, 200, wrong, 3, 500)
    assert len(np.unique(subset.rows)) == 200
    assert (
        (subset.labels != y[subset.rows]).sum() == round(wrong * 200) and subset.labels.min() >= 0 and subset.labels.max() < 10
    )
    assert sorted(subset.order[:200]) == list(range(200)) and len(subset.order) == 500
    rows, labels = subset.batch(3, 50)
    assert (rows == subset.rows[subset.order[150:200]]).all() and (labels == subset.labels[subset.order[150:200]]).all()


def test_permuted_classes_are_the_same_in_training_and_score(scarce) -> None:
    y = np.arange(5000) % 10
    plain, renamed = (scarce.Subset.drawn(y, 200, 0.0, 3, 500, permuted) for permuted in (False, True))
    assert (plain.rows == renamed.rows).all() and (plain.labels != renamed.labels).any()
    assert (scarce.renamed(y[plain.rows], 3) == renamed.labels).all()


def test_an_enn_is_scored_on_images_outside_the_run(scarce) -> None:
    x, y = torch.arange(3000.0)[:, None], torch.arange(3000) % 10
    lives = [scarce.Life(birth, 0, 10) for birth in (1, 2, 3)]
    data = scarce.Lives(scarce.CONFIG, x, y, permuted=False)
    seen, labels = data.reward(lives, 0, 100)
    assert seen.shape == (3, 100, 1) and (labels == seen[..., 0].long() % 10).all()
    for life, rows in zip(lives, seen[..., 0].long().tolist(), strict=True):
        assert not set(rows) & set(data._subset(life).rows.tolist())


def test_the_validation_images_are_added_to_a_subset(scarce) -> None:
    subset = scarce.Subset.drawn(np.arange(1000) % 10, 100, 0.5, 3, 600)
    more = subset.joined(np.arange(1000, 1500), np.full(500, 7), 3)
    assert sorted(more.order) == list(range(600)) and set(more.labels[100:]) == {7}
    assert (more.rows[:100] == subset.rows).all() and (more.labels[:100] == subset.labels).all()
