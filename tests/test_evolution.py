"""The search over equations: evolution climbs, the same seed gives the same search however often it is stopped, no equation is
judged twice, and what is judged is what the settings train."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pipeline.cluster import Placement
from pipeline.command_line import main
from pipeline.config import from_dotted, to_dotted, validate
from pipeline.config.compare import CompareConfig
from pipeline.errors import UserError
from pipeline.learning.expression.fingerprint import fingerprint
from pipeline.learning.expression.grammar import Binary, Leaf, walk
from pipeline.learning.expression.spelling import parse, spelt
from pipeline.search.candidates import Search
from pipeline.search.drive import drive
from pipeline.search.equations import Equations, family
from pipeline.search.kinds.equation import complete, judge, trained
from pipeline.search.outcome import rows_of, write_best
from pipeline.search.reading import read_plan
from pipeline.search.values import Budget, Sampler
from pipeline.seeding import stream
from pipeline.setting import selection_data
from tests.support.tiny_run import HANGS

CHECKOUT = Path(__file__).parent.parent
FILE = CHECKOUT / "tune_configs" / "backprop_evolution.yaml"
SMALL = (
    FILE.read_text()
    .replace("hidden: [32, 32]", "hidden: [8]")
    .replace("training.steps: 150", "training.steps: 20\n  training.batch_size: 8")
    .replace("rl.period: 50", "rl.period: 10")
    .replace("targets: 2, steps: 30", "targets: 1, steps: 5")
    .replace("targets: 8, steps: 150", "targets: 2, steps: 20")
    .replace("startup: 100, population: 20", "startup: 5, population: 3")
    .replace("candidates: 1500", "candidates: 10")
)


def small(folder, text=SMALL, **replaced):
    folder.mkdir(exist_ok=True)
    path = folder / "evolution.yaml"
    path.write_text(text)
    return dataclasses.replace(read_plan(path), **replaced)


def done(plan, folder, by, most=None):
    """A search, stopped after so many results: as by a kill, all that is in memory is lost."""
    count = 0

    def judging(*given, **shared):
        nonlocal count
        count += 1
        if most is not None and count > most:
            raise KeyboardInterrupt
        return by(*given, **shared)

    search = Search(plan, folder)
    try:
        drive(search, judging, {}, Placement(local=True), lambda task: None, lambda task, result: None)
    except KeyboardInterrupt:
        return None
    return rows_of(search)


def on_digits(dataset):
    return lambda config, stages, folder: {
        name: value for name, value in judge(config, stages, folder, dataset=dataset).items() if name != "seconds"
    }


# Evolution


def worth(tree):
    """What trains nothing: the more slopes and signs, the better."""
    parts = [part.name for part in walk(tree)]
    return float(sum(name.endswith("σ′") for name in parts) + parts.count("sgn"))


def proposed(plan):
    """All equations of a search in which each is judged to the end by its worth."""
    proposer = Equations(plan, plan.groups[0])
    for number in range(proposer.total):
        for told in range(len(proposer.fitness), plan.budget.seen(number)):
            proposer.tell(told, {"accuracy": worth(proposer.trees[told])})
        proposer.propose(number)
    return proposer


@pytest.fixture(scope="module")
def evolved(tmp_path_factory):
    """Fifty equations: ten of them random, then children of the best five."""
    return proposed(small(tmp_path_factory.mktemp("evolved"), sampler=Sampler("genetic", 10, 5), budget=Budget(50, 4)))


def test_evolution_climbs_and_random_search_does_not(evolved, tmp_path):
    def mean(trees):
        return sum(map(worth, trees)) / len(trees)

    drawn = proposed(small(tmp_path, sampler=Sampler("random"), budget=Budget(24, 4)))
    assert mean(evolved.trees[35:]) > mean(drawn.trees[12:]) + 1
    assert abs(mean(drawn.trees[12:]) - mean(drawn.trees[:12])) < 1


def test_a_search_that_is_stopped_goes_on_as_if_it_had_not_been(tmp_path, digits):
    plan, by = small(tmp_path), on_digits(digits)
    straight = done(plan, tmp_path / "straight", by)
    for most in (3, 6):
        assert done(plan, tmp_path / "parts", by, most) is None
    parts = done(plan, tmp_path / "parts", by)
    assert parts == straight and len(straight) == 10
    noted = family(plan, straight)
    assert [own["how"] for own in noted[:5]] == ["given"] + ["random"] * 4
    assert {own["parent"] for own in noted[5:]} <= {row["name"] for row in straight if row["outcome"] == "finished"}
    with pytest.raises(UserError, match=r"candidate 00[5-9] is not what evolution proposes today"):
        family(plan, [row | {"outcome": "stopped"} for row in straight])
    other = small(tmp_path, SMALL.replace("settings:", "settings:\n  seed: 1"))
    assert [row["settings"] for row in done(other, tmp_path / "other", by)[1:]] != [row["settings"] for row in straight[1:]]


def test_no_equation_is_judged_twice_and_a_child_is_of_one_that_was_known_and_good(evolved):
    found = evolved
    prints = [fingerprint(spelt(tree)) for tree in found.trees]
    assert len(set(prints)) == 50 and [own["fingerprint"] for own in found.noted] == prints
    assert [own["how"] for own in found.noted[:10]] == ["given"] + ["random"] * 9
    assert max(own["tries"] for own in found.noted) > 1, "nothing was ever drawn twice"
    for number, own in enumerate(found.noted[10:], 10):
        parent = int(own["parent"])
        known = sorted(map(worth, found.trees[: number - 3]), reverse=True)
        assert parent <= number - 4 and worth(found.trees[parent]) >= known[4] and own["how"] not in ("random", "given")


def test_every_so_many_th_equation_is_a_random_one(tmp_path):
    found = proposed(small(tmp_path, sampler=Sampler("genetic", 5, 5, random_every=4), budget=Budget(30, 4)))
    how = [own["how"] for own in found.noted]
    assert [number for number, own in enumerate(how) if own == "random" and number >= 5] == list(range(7, 30, 4))


def test_a_space_that_is_used_up_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "pipeline.learning.expression.drawing.equation", lambda draws, deepest: Binary("+", Leaf("z"), Leaf("h"))
    )
    monkeypatch.setattr("pipeline.search.equations.MOST_TRIES", 5)
    plan = small(tmp_path, sampler=Sampler("random"), budget=Budget(3, 1))
    with pytest.raises(UserError, match=r"for candidate 002 have all been judged before.*\.$"):
        proposed(plan)


# Judging


def test_an_equation_is_judged_at_each_rate_as_a_run_at_that_rate_and_the_best_one_counts(tmp_path, digits):
    plan = small(tmp_path)
    config = plan.config(plan.groups[0], {"rule.equation": "(Wᵀs)∘σ′ / ‖·‖₂ + noise(h, 0.01)"})
    found, seeds = judge(config, plan.stages, None, dataset=digits), [stream(config.seed, "judged", n) for n in range(2)]
    together = trained(config, seeds, config.evolution.rates, 20, digits)
    accuracies = []
    for number, rate in enumerate(config.evolution.rates):
        alone = trained(config, seeds, [rate], 20, digits)
        assert torch.equal(together.flat()[2 * number : 2 * number + 2], alone.flat())
        accuracies.append(100 * alone.evaluate(*selection_data(config, digits)).accuracy.mean().item())
    assert found["accuracy"] == pytest.approx(max(accuracies)) and len(set(accuracies)) > 1
    assert found["learning_rate"] == config.evolution.rates[accuracies.index(max(accuracies))]
    other = judge(dataclasses.replace(config, seed=1), plan.stages, None, dataset=digits)
    assert other["loss"] != found["loss"]


def test_what_has_diverged_in_every_member_is_not_trained_on(tmp_path, digits):
    plan = small(tmp_path)
    config = plan.config(plan.groups[0], {"rule.equation": "1 / (z − z)"})
    assert trained(config, [1, 2], [0.1, 0.2], 20, digits).step == 10
    found = judge(config, plan.stages, None, dataset=digits)
    assert found["diverged"] == 1 and found["accuracy"] == 0
    half = plan.config(plan.groups[0], {"rule.equation": "(Wᵀs)∘σ′", "training.optimiser": "sgd"})
    assert 0 < (trained(half, [1, 2], [0.1, 1e39], 20, digits).diverged_at >= 0).float().mean() < 1


def test_what_is_found_can_be_compared(tmp_path):
    plan = small(tmp_path, sampler=Sampler("random"), budget=Budget(4, 4))
    rows = done(plan, tmp_path / "out", lambda config, stages, folder: {"accuracy": worth(parse(config.rule.equation))})
    write_best(plan, rows, tmp_path / "out")
    best = json.loads((tmp_path / "out" / "best.json").read_text())
    config = validate(from_dotted(best["settings"]))
    assert config.compare.arms == ("conventional", "expression") and config.rule.name == "expression"
    rates = [config.training.learning_rate * factor for factor in config.compare.rates]
    assert rates == pytest.approx(list(config.evolution.rates)), "each at the best of the rates that it was judged at"
    assert config.rule.equation in [row["settings"]["rule.equation"] for row in rows]
    assert to_dotted(config) == best["settings"]


@pytest.mark.parametrize("given", [{"compare.arms": ["conventional", "l2"]}, {"compare.rates": [1.0, 2.0]}])
def test_what_a_file_says_of_the_comparison_stands(given, tmp_path):
    plan = small(tmp_path)
    base = to_dotted(plan.config(plan.groups[0])) | {"compare.rates": []} | {"compare.arms": list(CompareConfig().arms)} | given
    found = complete(base, dict(base))
    assert {key: found[key] for key in given} == given and found["training.learning_rate"] == base["training.learning_rate"]


# Bad input

BAD = {
    "does not type": ('["(Rᵀs)∘σ′"]', '["W + z"]', r"space\.rule\.equation: the equation does not type at '\+' between 'W'"),
    "cannot be read": ('["(Rᵀs)∘σ′"]', '["z +"]', r"space\.rule\.equation: the equation 'z \+' cannot be read"),
    "is no text": ('["(Rᵀs)∘σ′"]', "[3]", "'rule.equation' is 3"),
    "a range": ('{choice: ["(Rᵀs)∘σ′"]}', "{float: [0, 1]}", "rule.equation"),
    "another sampler": ("name: genetic, ", "name: gp, ", "sampler gp cannot propose equations; choose genetic or random"),
    "a mutation": (
        "name: genetic, ",
        "name: genetic, mutation: 0.5, ",
        "sampler.mutation has no effect in a search over equations",
    ),
    "another kind's setting": (
        "space:",
        "space:\n  rule.w1: {float: [0, 1]}",
        "a search over equations varies rule.equation alone",
    ),
    "the rule's name": ("settings:", "settings:\n  rule.name: fa", "'rule.name' has no effect in a search over equations"),
    "segments": ("steps: 150}", "steps: 150, segments: 3}", "a search over equations has no updates, no segments"),
    "no rates": ("[0.001, 0.003, 0.01, 0.03, 0.1]", "[]", "evolution.rates is empty"),
    "a rate of 0": ("[0.001, 0.003,", "[0.0, 0.003,", r"evolution\.rates has 0\.0"),
    "too deep": ("evolution.depth: 2", "evolution.depth: 4", r"evolution\.depth is 4; give 1 to 3"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_in_one_sentence(case, tmp_path):
    good, bad, says = BAD[case]
    text = FILE.read_text()
    assert text.count(good) >= 1
    with pytest.raises(UserError, match=says) as caught:
        small(tmp_path, text.replace(good, bad, 1))
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_a_run_with_a_bad_equation_is_refused_before_anything_is_made(tmp_path, capfd, environment, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["run", "--compare.arms", "conventional", "expression", "--rule.equation", "W + z", "--output", "out"]
    assert main(command) == 2
    error = capfd.readouterr().err
    assert error.startswith("grad-instructor: the equation does not type at '+'") and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


# The whole command


def start(folder, *arguments):
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pipeline.command_line", "search", "evolution.yaml", "--output", "out", *arguments]
    with (folder / f"log-{time.monotonic_ns()}").open("w") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)


@pytest.mark.slow
def test_killed_and_given_again_it_ends_as_one_straight_search_on_any_number_of_workers(tmp_path):
    straight, parts = tmp_path / "straight", tmp_path / "parts"
    for folder in (straight, parts):
        small(folder)
    assert start(straight, "--local").wait(HANGS) == 0
    process, deadline = start(parts, "--workers", "2"), time.monotonic() + HANGS
    while len(list(parts.glob("out/candidates/*/early.json"))) < 5:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(HANGS)
    assert start(parts, "--workers", "2").wait(HANGS) == 0

    def rows(folder):
        found = json.loads((folder / "out" / "search.json").read_text())["rows"]
        return [
            [row["name"], row["settings"], row["outcome"], {k: v for k, v in row["result"].items() if k != "seconds"}]
            for row in found
        ]

    assert rows(parts) == rows(straight)
    assert (parts / "out" / "best.json").read_bytes() == (straight / "out" / "best.json").read_bytes()
