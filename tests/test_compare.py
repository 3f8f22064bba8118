"""The comparison and the report against slow references, and what they must not look at."""

import dataclasses
import functools
import math

import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel
from torch.nn import functional as F

import pipeline.compare.run
import pipeline.compare.train
from pipeline.arms import ARMS, BEFORE
from pipeline.cluster import Placement
from pipeline.compare import (
    PER_MEMBER,
    Task,
    choose,
    collect,
    compare,
    final_tasks,
    trace_json,
    train_task,
    tuning_task,
)
from pipeline.compare.report import curves, evaluate_on_test, head_to_head, prediction_points
from pipeline.enn import Critic
from pipeline.errors import UserError
from pipeline.files import read_json, read_tensors
from pipeline.instruction import Backprop, loop
from pipeline.instruction.loop import Trace
from pipeline.learning import SIGNALS
from pipeline.results.tables import report_rows
from pipeline.seeding import stream
from pipeline.setting import home_of, new_population, reward_data, selection_data, target_of
from pipeline.targets import Batches

LOCAL = Placement(local=True)
CLOCKS = ("seconds", "wall_seconds", "ms_per_step", "times")


@pytest.fixture(scope="module")
def critics(tiny, digits):
    torch.manual_seed(3)
    home = home_of(tiny, target_of(tiny, digits))
    return {name: Critic(name, tiny.enn, home).eval().requires_grad_(False) for name in tiny.enn.readers}


@pytest.fixture(scope="module")
def compared(tiny, digits, critics, tmp_path_factory):
    """A whole comparison: its folder, what it returned, and how often it called back."""
    folder, calls = tmp_path_factory.mktemp("compared"), []
    arms = compare(tiny, digits, critics, folder, LOCAL, lambda *call: calls.append(call))
    return folder, arms, calls


def with_compare(config, **values):
    return dataclasses.replace(config, compare=dataclasses.replace(config.compare, **values))


def timeless(value):
    """A result without what the clock says."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in CLOCKS}
    return [timeless(item) for item in value] if isinstance(value, list) else value


# -- who sees what -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score_examples", [1, 50, 240, 10_000])
@pytest.mark.parametrize("curve_examples", [7, 10_000])
def test_what_is_rewarded_is_never_chosen_on(tiny, digits, score_examples, curve_examples):
    """Each validation example is recognised by its place, which is written into its pixels."""
    count = len(digits.y_validation)
    marked = dataclasses.replace(digits, x_validation=np.repeat(np.arange(count, dtype=np.float32)[:, None], 64, axis=1))
    config = with_compare(tiny, curve_examples=curve_examples)
    config = dataclasses.replace(config, rl=dataclasses.replace(config.rl, score_examples=score_examples))
    rewarded, chosen = reward_data(config, marked), selection_data(config, marked)
    places = [set(x[:, 0].int().tolist()) for x, _ in (rewarded, chosen)]
    assert not places[0] & places[1] and [len(place) for place in places] == [len(y) for _, y in (rewarded, chosen)]
    assert len(places[0]) == min(score_examples, 2 * count // 3) and len(places[1]) == min(
        curve_examples, count - len(places[0])
    )
    for x, y in (rewarded, chosen):
        assert torch.equal(y, torch.tensor(digits.y_validation)[x[:, 0].long()])


def test_the_test_set_is_never_looked_at_before_the_report(tiny, digits, critics, compared, tmp_path):
    poisoned = dataclasses.replace(digits, x_test=np.full_like(digits.x_test, np.nan), y_test=np.zeros_like(digits.y_test))
    arms = compare(tiny, poisoned, critics, tmp_path, LOCAL)
    assert timeless_arms(arms) == timeless_arms(compared[1])
    tested = evaluate_on_test(tiny, poisoned, tmp_path, arms)
    assert all(not math.isfinite(loss) for values in tested.values() for loss in values["test_loss"])


def test_the_comparison_does_look_at_the_selection_data_alone(tiny, digits, critics, compared, tmp_path):
    """The sensitivity twin: poison moves what it should move, and the reward's examples are not it."""
    config, rewarded = with_compare(tiny, arms=("conventional",)), len(reward_data(tiny, digits)[1])
    for part, changes in ((slice(0, rewarded), False), (slice(rewarded, None), True)):
        x = digits.x_validation.copy()
        x[part] = 0
        folder = tmp_path / str(changes)
        arms = compare(config, dataclasses.replace(digits, x_validation=x), critics, folder, LOCAL)
        assert (arms["conventional"]["loss"] != compared[1]["conventional"]["loss"]) is changes


def timeless_arms(arms):
    return {arm: timeless(values) for arm, values in arms.items()}


# -- choosing a strength -----------------------------------------------------------------------------------------------


def accuracies(*by_candidate):
    """A tuning result with these final accuracies per candidate, after a first point that says the opposite."""
    final = [value for values in by_candidate for value in values]
    return {"accuracy": [[1 - value for value in final], final]}


@pytest.mark.parametrize(
    ("result", "place"),
    [
        (accuracies((0.5, 0.7), (0.9, 0.6), (0.8, 0.6)), 1),  # by the mean, not by the best member
        (accuracies((0.5, 0.5), (0.99, 0.1), (0.6, 0.6)), 2),
        (accuracies((0.5, 0.75), (0.75, 0.5), (0.625, 0.625)), 0),  # ties go to the first listed
        (accuracies((0.1, 0.2), (0.75, 0.5), (0.625, 0.625)), 1),
    ],
)
def test_the_best_mean_at_the_end_is_chosen(tiny, result, place):
    config = with_compare(tiny, l2=(3e-1, 1e-3, 1e-2), tuning_seeds=2)
    choice = choose(config, "l2", result)
    assert choice["strength"] == config.compare.l2[place]
    means = [np.mean(result["accuracy"][-1][2 * i : 2 * i + 2]) for i in range(3)]
    assert choice["validation_accuracy"] == pytest.approx(dict(zip(("0.3", "0.001", "0.01"), means, strict=True)))


def test_tuning_gives_each_candidate_the_same_fresh_targets(tiny):
    task = tuning_task(tiny, "l2")
    tuning = tuple(stream(tiny.seed, "tuning", number) for number in range(2))
    assert task.seeds == tuning * 2 and task.strengths == (1e-3, 1e-3, 1e-1, 1e-1) and not task.keep
    final = {seed for task in final_tasks(tiny, ["l2"], {}) for seed in task.seeds}
    assert len(final) == tiny.compare.seeds and not final & set(tuning)


def test_what_was_chosen_is_used(tiny, compared):
    folder, arms, _ = compared
    chosen = read_json(folder / "arms" / "strengths.json")
    assert set(chosen) == {"l2", "instructed"}
    for arm, choice in chosen.items():
        assert choice == choose(tiny, arm, read_json(folder / "arms" / f"tune-{arm}.json"))
        assert arms[arm]["chosen_strength"] == choice["strength"]
        for task in final_tasks(tiny, [arm], {}):
            assert set(read_json(folder / "arms" / f"{task.name}.json")["strengths"]) == {choice["strength"]}


# -- training the arms -------------------------------------------------------------------------------------------------


def test_arms_share_seeds_and_starts(tiny, compared):
    folder, arms, _ = compared
    seeds = [stream(tiny.seed, "compare", number) for number in range(4)]
    assert all(values["seeds"] == seeds for values in arms.values())
    starts = {arm: read_tensors(folder / "arms" / f"{arm}-0.safetensors") for arm in arms}
    assert torch.equal(starts["conventional"]["start/0"], starts["instructed"]["start/0"])
    assert not torch.equal(starts["conventional"]["start/0"], starts["he"]["start/0"])
    assert not torch.equal(starts["conventional"]["final/0"], starts["l2"]["final/0"])
    assert arms["conventional"]["accuracy"] != arms["he"]["accuracy"]


def test_conventional_training_is_modules_with_torchs_own_optimiser(tiny, digits, compared):
    folder, arms, _ = compared
    target, training = target_of(tiny, digits), tiny.training
    x, y = digits.tensors("train")
    xv, yv = selection_data(tiny, digits)
    for number, seed in enumerate(arms["conventional"]["seeds"]):
        start = new_population(tiny, target, [seed], x)
        batches = Batches(x, y, training.batch_size, [seed], False)
        module = target.module([tensor[0] for tensor in start.parameters])
        optimiser = torch.optim.SGD(module.parameters(), lr=training.learning_rate)
        losses = []
        for step in range(training.steps + 1):
            if step % tiny.rl.period == 0:
                losses.append(F.cross_entropy(module(xv), yv).item())
            xs, ys = (tensor[0] for tensor in batches(step))
            optimiser.zero_grad()
            F.cross_entropy(module(xs), ys).backward()
            if step < training.steps:
                optimiser.step()
        np.testing.assert_allclose(arms["conventional"]["loss"][number], losses, rtol=1e-4)
        group, place = divmod(number, tiny.compare.group)
        tensors = read_tensors(folder / "arms" / f"conventional-{group}.safetensors")
        for index, (parameter, first) in enumerate(zip(module.parameters(), start.parameters, strict=True)):
            moved = tensors[f"final/{index}"][place] - first[0]
            torch.testing.assert_close(moved, parameter.detach() - first[0], rtol=1e-3, atol=1e-6)
            assert moved.any()


def test_every_arm_trains_in_its_own_way(tiny, digits, critics):
    ends, home = {}, home_of(tiny, target_of(tiny, digits))
    critics = critics | {BEFORE: Critic(tiny.enn.readers[0], tiny.enn, home).eval().requires_grad_(False)}
    for arm in ARMS:
        # so short a run leads growth nowhere near He's norm
        strengths = (0.005, 0.01) if ARMS[arm].strengths == "growth" else (0.3, 3.0)
        task = Task(arm, arm, (5, 6), strengths, keep=True)
        ends[arm] = train_task(task, tiny, digits, critics, "cpu")["weights"]["final/0"]
    # on one hidden layer all random feedback is one, and all targets are the gradient
    deep = dataclasses.replace(tiny, target=dataclasses.replace(tiny.target, hidden=(8, 8)))
    for arm in ("conventional", *SIGNALS.keys() & ARMS.keys()):
        task = Task(arm, arm, (5, 6), (0.0, 0.0), keep=True)
        ends[f"{arm}, deep"] = train_task(task, deep, digits, {}, "cpu")["weights"]["final/0"]
    for arm in SIGNALS.keys() & ARMS.keys():
        del ends[arm]
    names = list(ends)
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            assert not torch.equal(ends[one][0], ends[other][0]), (one, other)
            assert not torch.equal(ends[one][1], ends[other][1]), (one, other)


def test_a_strength_belongs_to_its_member(tiny, digits, critics):
    def final(*strengths):
        task = Task("instructed", "instructed", (5, 6), strengths, keep=True)
        return train_task(task, tiny, digits, critics, "cpu")

    one, other = final(10.0, 0.0), final(10.0, 3.0)
    assert torch.equal(one["weights"]["final/0"][0], other["weights"]["final/0"][0])
    assert not torch.equal(one["weights"]["final/0"][1], other["weights"]["final/0"][1])
    assert other["result"]["strength"] == [[10.0, 3.0]] * 5
    assert not np.array(one["result"]["instruction_norm"])[:, 1].any()


def test_minus_one_leaves_the_strength_to_the_enn(tiny, digits, critics):
    task = Task("instructed", "instructed", (5, 6), (-1.0, -1.0), keep=True)
    target, x = target_of(tiny, digits), digits.tensors("train")[0]
    start = new_population(tiny, target, (5, 6), x)
    own = critics["probes"].strengths(start.parameters, torch.zeros(2))
    strengths = np.array(train_task(task, tiny, digits, critics, "cpu")["result"]["strength"])
    assert strengths[0].tolist() == own.tolist() and set(strengths.ravel()) <= set(tiny.instruction.ladder)


def test_checkpoints_are_the_first_members_at_their_steps(tiny, digits, critics):
    def weights(steps, keep=True):
        config = dataclasses.replace(tiny, training=dataclasses.replace(tiny.training, steps=steps))
        return train_task(Task("c", "conventional", (5, 6), (0.0, 0.0), keep), config, digits, critics, "cpu")["weights"]

    start = new_population(tiny, target_of(tiny, digits), (5, 6), digits.tensors("train")[0]).parameters
    whole = weights(50)  # its middle is at the last boundary of periods before step 25
    for index in range(4):
        assert torch.equal(whole[f"start/{index}"], start[index][:1])
        assert torch.equal(whole[f"middle/{index}"], weights(20)[f"final/{index}"][:1])
        assert torch.equal(whole[f"end/{index}"], whole[f"final/{index}"][:1])
    short = weights(10)  # one period: its middle is its start
    assert torch.equal(short["start/0"], start[0][:1]) and torch.equal(short["middle/0"], start[0][:1])
    assert torch.equal(short["end/0"], short["final/0"][:1]) and not weights(10, keep=False)


@pytest.mark.parametrize("arm", ["conventional", "random-push", "instructed"])
def test_what_does_not_fit_on_a_gpu_is_trained_in_halves_to_the_same_numbers(arm, tiny, digits, critics, monkeypatch):
    """Five members where three fit: populations of 3 and 2, their numbers those of the five at once. (An ENN reads a population
    in one matrix product, whose last bit depends on its size.)"""
    task = Task(arm, arm, (5, 6, 7, 8, 9), (-1.0, 0.0, 3.0, 10.0, -1.0), keep=True)
    whole = train_task(task, tiny, digits, critics, "cpu")
    tried = []
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.compare.train, "train", _with_room_for(3, tried))
        halved = train_task(task, tiny, digits, critics, "cpu")
    assert tried == [5, 3, 2]
    assert whole["result"].pop("populations") == [5] and halved["result"].pop("populations") == [3, 2]
    assert timeless(halved["result"]).keys() == timeless(whole["result"]).keys()
    bound = 1e-5 if arm == "instructed" else 0.0
    for key in PER_MEMBER:
        np.testing.assert_allclose(halved["result"][key], whole["result"][key], rtol=bound, err_msg=key)
    for key in whole["result"].keys() - {*PER_MEMBER, *CLOCKS, "predicted"}:
        assert halved["result"][key] == whole["result"][key], key
    np.testing.assert_allclose(halved["result"]["predicted"]["probes"], whole["result"]["predicted"]["probes"], rtol=1e-5)
    assert halved["weights"].keys() == whole["weights"].keys()
    for name, tensor in whole["weights"].items():
        torch.testing.assert_close(halved["weights"][name], tensor, rtol=bound, atol=bound)
    monkeypatch.setattr(pipeline.compare.train, "train", _with_room_for(0, tried))
    with pytest.raises(UserError, match="no memory for a single target"):
        train_task(task, tiny, digits, critics, "cpu")


def _with_room_for(members, tried):
    def train(population, *arguments, **named):
        tried.append(population.members)
        if population.members > members:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return loop.train(population, *arguments, **named)

    return train


def test_a_group_of_0_is_all_targets_at_once(tiny):
    (task,) = final_tasks(with_compare(tiny, group=0), ["l2"], {})
    assert task.seeds == tuple(seed for part in final_tasks(tiny, ["l2"], {}) for seed in part.seeds)


def test_losses_that_are_not_finite_are_written_large():
    infinite = [np.array([0.5, np.inf])]
    zeros = [np.zeros(2)]
    written = trace_json(Trace([0], [0.0], [0], infinite, zeros, [], zeros, zeros, {"probes": zeros}))
    assert written["loss"] == [[0.5, 1e6]]


# -- continuing --------------------------------------------------------------------------------------------------------


def counted(monkeypatch):
    trained = []

    def train(task, *arguments, **named):
        trained.append(task.name)
        return train_task(task, *arguments, **named)

    monkeypatch.setattr(pipeline.compare.run, "train_task", functools.wraps(train_task)(train))
    return trained


def test_progress_counts_every_population_once(compared):
    names = [
        "tune-l2",
        "tune-instructed",
        *(f"{arm}-{n}" for arm in ("conventional", "he", "l2", "instructed") for n in (0, 1)),
    ]
    assert [call[0] for call in compared[2]] == names
    assert [call[1:] for call in compared[2]] == [(number, len(names)) for number in range(1, len(names) + 1)]


def test_what_is_on_disk_is_not_trained_again(tiny, digits, critics, compared, tmp_path, monkeypatch):
    folder, arms, _ = compared
    trained, calls = counted(monkeypatch), []
    assert compare(tiny, digits, critics, folder, LOCAL, lambda *call: calls.append(call)) == arms
    assert trained == [] and len(calls) == 10 and calls[-1][1:] == (10, 10)


def test_an_interrupted_comparison_does_only_what_is_left(tiny, digits, critics, compared, tmp_path, monkeypatch):
    trained = counted(monkeypatch)

    def stop(name, done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(tiny, digits, critics, tmp_path, LOCAL, stop)
    first = list(trained)
    trained.clear()
    (tmp_path / "arms" / f"{first[-1]}.json").unlink()  # as if killed between the weights and the .json
    arms = compare(tiny, digits, critics, tmp_path, LOCAL)
    assert len(first) == 4 and first[-1] in trained and not set(first[:-1]) & set(trained) and len(trained) == 7
    assert timeless_arms(arms) == timeless_arms(compared[1])


# -- collecting and reporting ------------------------------------------------------------------------------------------


def test_collected_results_have_one_row_per_seed(tiny, compared):
    folder, arms, _ = compared
    assert list(arms) == list(tiny.compare.arms) and collect(tiny, folder) == arms
    for arm, values in arms.items():
        assert values["steps"] == [0, 10, 20, 30, 40, 50]
        for key, points in (("loss", 6), ("accuracy", 6), ("gradient_norm", 6), ("instruction_norm", 6), ("strength", 5)):
            assert np.shape(values[key]) == (4, points), (arm, key)
        assert {name: np.shape(rows) for name, rows in values["predicted"].items()} == {"probes": (4, 6), "convnet": (4, 6)}
        assert values["diverged_at"] == [-1] * 4 and np.shape(values["seconds"]) == (6,)
        second = read_json(folder / "arms" / f"{arm}-1.json")  # the fourth seed is alone in the second group
        assert values["loss"][3] == [row[0] for row in second["loss"]]


def test_a_target_that_diverged_is_wrong_on_every_example(tiny, digits, compared):
    """Also on the test set, though the finite weights that it was frozen with would be right on some."""
    folder, arms, _ = compared
    frozen = {arm: values | {"diverged_at": [-1, 20, -1, 30]} for arm, values in arms.items()}
    for arm, own in evaluate_on_test(tiny, digits, folder, frozen).items():
        alive = evaluate_on_test(tiny, digits, folder, arms)[arm]
        for name, failed in (("test_accuracy", 0.0), ("test_loss", math.inf), ("train_loss", math.inf)):
            assert own[name] == [alive[name][0], failed, alive[name][2], failed] and failed not in alive[name]
        rows = [report_rows({"conventional": values})[0] for values in (own, alive)]
        assert rows[0]["accuracy"] == pytest.approx((own["test_accuracy"][0] + own["test_accuracy"][2]) / 4)
        gap = np.subtract(alive["test_loss"], alive["train_loss"])
        assert [row["gap"] for row in rows] == pytest.approx([gap[[0, 2]].mean(), gap.mean()]), "of those that have losses"


def test_a_target_that_overflows_in_the_last_step_has_diverged(tiny, digits):
    config = dataclasses.replace(tiny, training=dataclasses.replace(tiny.training, steps=1, momentum=0.0))
    x, y = digits.tensors("train")
    for rate, expected in ((1e38, [1, 1]), (0.1, [-1, -1])):
        population = new_population(config, target_of(config, digits), [1, 2], x, "he", rate)
        batches = Batches(x, y, 16, (1, 2), False)
        trace = loop.train(population, Backprop(), batches, 1, 1, selection_data(config, digits, "cpu"), {})
        assert population.diverged_at.tolist() == expected
        assert np.isfinite(trace.loss[-1]).tolist() == [step < 0 for step in expected]


def test_time_per_step_is_the_training_time(compared):
    for arm, values in compared[1].items():
        assert len(values["ms_per_step"]) == 2 and all(1e-3 < ms < 50 for ms in values["ms_per_step"])
        assert values["seconds"][0] == 0 and (np.diff(values["seconds"]) > 0).all()
        groups = [read_json(compared[0] / "arms" / f"{arm}-{number}.json") for number in range(2)]
        expected = [1000 * group["seconds"][-1] / 50 for group in groups]
        assert values["ms_per_step"] == pytest.approx(expected)
        assert all(group["seconds"][-1] * len(group["seeds"]) < 1.5 * group["wall_seconds"] for group in groups)


def test_the_report_is_a_loop_over_modules(tiny, digits, compared):
    folder, arms, _ = compared
    tested = evaluate_on_test(tiny, digits, folder, arms)
    target, test, train = target_of(tiny, digits), digits.tensors("test"), digits.tensors("train")
    for arm, values in tested.items():
        accuracy, losses = [], {"test": [], "train": []}
        for number in range(4):
            group, place = divmod(number, tiny.compare.group)
            tensors = read_tensors(folder / "arms" / f"{arm}-{group}.safetensors")
            module = target.module([tensors[f"final/{index}"][place] for index in range(4)])
            with torch.no_grad():
                accuracy.append((module(test[0]).argmax(1) == test[1]).float().mean().item())
                for name, (x, y) in (("test", test), ("train", train)):
                    losses[name].append(F.cross_entropy(module(x), y).item())
        assert values["test_accuracy"] == pytest.approx(accuracy) and values["seeds"] == arms[arm]["seeds"]
        assert values["test_loss"] == pytest.approx(losses["test"], rel=1e-5)
        assert values["train_loss"] == pytest.approx(losses["train"], rel=1e-5)
    assert tested["conventional"]["strength"] == "–" and tested["l2"]["strength"] in ("0.001", "0.1")
    assert tested["instructed"]["strength"] in ("λ by policy", "10")
    assert {row["arm"] for row in report_rows(tested)} == set(tiny.compare.arms)


def test_duels_are_paired_by_seed():
    tested = {
        "conventional": {"test_accuracy": [0.5] * 4},
        "instructed": {"test_accuracy": [0.80, 0.90, 0.70, 0.75]},
        "he": {"test_accuracy": [0.79, 0.88, 0.69, 0.72]},
    }
    (duel,) = head_to_head(tested)
    assert (duel["arm"], duel["against"], duel["n"]) == ("instructed", "he", 4)
    assert duel["difference"] == pytest.approx(0.0175)
    assert duel["p"] == pytest.approx(ttest_rel(tested["instructed"]["test_accuracy"], tested["he"]["test_accuracy"]).pvalue)


def test_curves_put_a_strength_at_the_end_of_its_period(compared):
    values = compared[1]["instructed"]
    drawn = curves(values, "instruction")
    assert drawn["progress"] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert {np.shape(drawn[name]) for name in ("strength", "gradient_norm", "instruction_norm")} == {(4, 5)}
    assert drawn["gradient_norm"][2][0] == values["gradient_norm"][2][1]
    assert curves(values, "accuracy").keys() == {"steps", "seconds", "accuracy"}


@pytest.mark.parametrize("gamma", [0.0, 0.7])
@pytest.mark.parametrize("score", ["loss", "accuracy"])
def test_predictions_meet_the_returns_that_came_true(tiny, compared, gamma, score):
    config = dataclasses.replace(tiny, rl=dataclasses.replace(tiny.rl, gamma=gamma, score=score))
    points = prediction_points(config, compared[1])
    for reader, values in points.items():
        predicted, realised = [], []
        for arm in compared[1].values():
            for member in range(4):
                scores = np.exp(-np.array(arm["loss"][member])) if score == "loss" else np.array(arm["accuracy"][member])
                for time in range(5):
                    after = scores[time + 1 :]
                    total = sum((1 - gamma) * gamma**k * value for k, value in enumerate(after))
                    realised.append(total + gamma ** len(after) * after[-1])
                    predicted.append(arm["predicted"][reader][member][time])
        assert values["predicted"] == pytest.approx(predicted) and values["realised"] == pytest.approx(realised, rel=1e-5)
        assert min(realised) >= 0 and max(realised) <= 1 and values["n"] == len(realised)


def test_what_is_traced_is_what_the_enn_says(tiny, digits, critics, compared):
    tensors = read_tensors(compared[0] / "arms" / "instructed-1.safetensors")
    parameters = [tensors[f"final/{index}"] for index in range(4)]
    for name, critic in critics.items():
        expected = critic.value(parameters, torch.ones(1)).item()
        assert compared[1]["instructed"]["predicted"][name][3][-1] == pytest.approx(expected, rel=1e-5)
