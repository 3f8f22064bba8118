"""Searches over learning rules: candidates of a batch are members of populations, and the file alone decides who of which; what
is found trains what was judged."""

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from ray import tune

from benchmarks import pblf, pblf_extras
from pipeline.arms import ARMS
from pipeline.cluster import Placement
from pipeline.command_line import main
from pipeline.command_line.beginning import settings_of
from pipeline.compare.tasks import Task as Compared
from pipeline.compare.train import Making
from pipeline.config import PRESETS, Config, from_dotted, rule_settings, to_dotted, validate
from pipeline.config.rule import TAKES
from pipeline.errors import UserError
from pipeline.files import read_json
from pipeline.instruction.loop import advance
from pipeline.learning import SIGNALS, named
from pipeline.search import drive as driving
from pipeline.search import tuning
from pipeline.search.candidates import Search
from pipeline.search.drive import drive
from pipeline.search.kinds import KINDS
from pipeline.search.kinds import rule as kind
from pipeline.search.outcome import rows_of, write_best
from pipeline.search.plan import Plan
from pipeline.search.reading import read_plan
from pipeline.search.values import TOGETHER, Stage
from pipeline.seeding import stream
from pipeline.setting import new_population, selection_data, signal_of, target_of
from pipeline.targets import Batches
from tests.support.studies import keep_in_memory

CHECKOUT = Path(__file__).parent.parent
PBLF = (CHECKOUT / "tune_configs" / "pblf.yaml").read_text()
SHORT = (
    PBLF.replace("{name: whole, targets: 1}", "{name: whole, targets: 2, steps: 20}")
    .replace("candidates: 100, batch: 20", "candidates: 5, batch: 2")
    .replace("startup: 20", "startup: 3")
    .replace("  rule.name: pblf\n", "  rule.name: pblf\n  rl.period: 10\n  target.hidden: [8, 6]\n")
)


def _plan(folder: Path, text: str = SHORT) -> Plan:
    (folder / "search.yaml").write_text(text)
    return read_plan(folder / "search.yaml")


def _searched(plan: Plan, folder: Path, digits, **others: Any) -> Search:
    search, judging = Search(plan, folder), kind.KIND.prepare(plan.stages, plan.record, {}, digits, folder)
    options = {"together": judging.together} | others
    drive(search, judging.judge, judging.shared, Placement(local=True), lambda task: None, lambda *_: None, **options)
    return search


def _found(search: Search) -> list[dict[str, Any]]:
    rows = rows_of(search)
    for row in rows:
        del row["seconds"]
        row["result"].pop("seconds", None)
    return rows


def _config(**rule: Any) -> Config:
    values = {"target.hidden": [8, 6], "training.steps": 20, "rl.period": 10, "rule.name": "pblf"}
    return validate(from_dotted(to_dotted(PRESETS["pblf-digits"]) | values | {f"rule.{key}": own for key, own in rule.items()}))


ROUNDED = functools.partial(pytest.approx, rel=1e-4)
CANDIDATES = {
    "one": {"w1": 0.9, "b1": 0.1, "w2": 0.8, "b2": 0.3, "modes": [1, 0]},
    "another": {"w1": -0.9, "b1": 0.4, "w2": 1.0, "b2": -1.0, "modes": [1, 1]},
    "backpropagation": {"w2": 0.0, "b2": 1.0, "modes": [1, 1]},
    "without a bit": {"modes": [0, 0]},
    "the default": {},
}


@pytest.mark.parametrize("training", [{}, {"shared_order": True, "optimiser": "adam"}, {"learning_rate": 30.0}], ids=str)
def test_candidates_of_one_population_are_what_they_are_alone(training, digits):
    """Also beside those that diverge (at a learning rate of 30)."""
    stages = [Stage("whole", targets=3, steps=20)]
    configs = [_config(**own) for own in CANDIDATES.values()]
    configs = [dataclasses.replace(own, training=dataclasses.replace(own.training, **training)) for own in configs]
    alone = [kind.judge(config, stages, None, dataset=digits) for config in configs]
    together = kind.judge_together(configs, stages, [None] * 5, dataset=digits)
    for one, other in zip(alone, together, strict=True):
        assert one.keys() == other.keys() and "seconds" in one
        assert all(one[name] == ROUNDED(other[name]) for name in one if name != "seconds")
    losses = [own["loss"] for own in alone]
    assert losses[2] == losses[3] and len(set(losses)) >= (4 if training.get("learning_rate") != 30.0 else 1)


def test_candidates_that_differ_otherwise_are_no_members_of_one_population(digits):
    """A learning rate, another rule, a rule's own number: each is judged, and as by itself."""
    stages = [Stage("whole", targets=2, steps=20)]
    faster = dataclasses.replace(_config(), training=dataclasses.replace(_config().training, learning_rate=0.05))
    configs = [_config(), _config(name="backprop"), faster, _config(name="fa"), _config(name="usf", scale=0.1)]
    configs += [_config(name="usf", scale=1.0), _config(w1=0.5)]
    together = kind.judge_together(configs, stages, [None] * len(configs), dataset=digits)
    assert len({own["loss"] for own in together}) == len(configs)
    for config, own in zip(configs, together, strict=True):
        assert kind.judge(config, stages, None, dataset=digits)["loss"] == ROUNDED(own["loss"])


def test_a_search_that_was_killed_finds_the_same_to_the_bit(tmp_path, digits, monkeypatch):
    """Between two batches, and while the results of one were written; at widths at which other populations are rounded
    otherwise."""
    keep_in_memory(monkeypatch)
    plan = _plan(tmp_path, SHORT.replace("[8, 6]", "[5, 3]").replace("batch: 2", "batch: 3"))
    straight = _found(_searched(plan, tmp_path / "straight", digits))
    calls = []

    def killed(configs, *rest, **shared):
        calls.append(len(configs))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return kind.judge_together(configs, *rest, **shared)

    with pytest.raises(KeyboardInterrupt):
        _searched(plan, tmp_path / "parts", digits, together=killed)
    written = sorted((tmp_path / "parts").rglob("whole.json"))
    assert calls == [3, 2] and len(written) == 3
    written[1].unlink()
    assert _found(_searched(plan, tmp_path / "parts", digits)) == straight
    assert {row["outcome"] for row in straight} == {"finished"} and len(straight) == 5


TWO_STAGES = (
    SHORT.replace(
        "  - {name: whole, targets: 2, steps: 20}", "  - {name: few, targets: 1, steps: 10}\n  - {name: whole, targets: 1}"
    )
    .replace("scheduler: {name: none}", "scheduler: {name: asha, reduction: 2}")
    .replace("candidates: 5, batch: 2", "candidates: 12, batch: 6")
    .replace("name: gp, acquisition: ucb, trade_off: 0.1, startup: 3, random_every: 10", "name: random")
)


class _Together:
    """Judges as a population does whose members are rounded by who is in it: a number of all of them, and of the place."""

    def __init__(self) -> None:
        self.populations: list[tuple[int, tuple[float, ...]]] = []

    def __call__(self, configs, stages, folders, **_: Any) -> list[dict[str, Any]]:
        everyone = tuple(config.rule.w1 for config in configs)
        self.populations.append((len(stages), everyone))
        return [{"accuracy": Random(f"{len(stages)} {everyone} {place}").random()} for place in range(len(configs))]

    def alone(self, config, stages, folder, **_: Any) -> dict[str, Any]:
        return self([config], stages, [folder])[0]


def _ended(plan: Plan, folder: Path, workers: int = 0, kill_after: int = 0) -> tuple[list[dict[str, Any]], _Together]:
    """What a search finds, locally or with so many workers, and its populations; killed after so many results, it goes on."""
    judges, written = _Together(), []

    def on_done(*_: Any) -> None:
        written.append(None)
        if len(written) == kill_after:
            raise KeyboardInterrupt

    placement = Placement(workers=workers, local=not workers)
    while True:
        search = Search(plan, folder)
        try:
            drive(search, judges.alone, {}, placement, lambda task: None, on_done, judges)
            return rows_of(search), judges
        except KeyboardInterrupt:
            continue


class _Tuner:
    """Ray Tune without Ray: trials at once, that end in any order."""

    def __init__(self, function: Callable[..., None], tune_config: Any, run_config: Any) -> None:
        self.function, self.config = function, tune_config

    def fit(self) -> None:
        draws, running, tasks = Random(0), {}, self.config.search_alg
        for number in range(1000):
            config = tasks.suggest(str(number)) if len(running) < self.config.max_concurrent_trials else None
            if isinstance(config, dict):
                running[str(number)] = config
            elif not running:
                return
            else:
                trial = draws.choice(sorted(running))
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(tune, "report", lambda found, trial=trial: tasks.on_trial_complete(trial, found))
                    self.function(running.pop(trial))


def test_who_is_judged_with_whom_depends_on_no_worker_and_no_interruption(tmp_path, monkeypatch):
    """Where it decides every number; the populations of a later stage are those that came there."""
    keep_in_memory(monkeypatch)
    for name, fake in {"Tuner": _Tuner, "with_parameters": functools.partial, "with_resources": lambda own, _: own}.items():
        monkeypatch.setattr(tune, name, fake)
    for module in (driving, tuning):
        monkeypatch.setattr(module, "TOGETHER", 4)
    plan = _plan(tmp_path, TWO_STAGES)
    straight, judges = _ended(plan, tmp_path / "local")
    sizes = [len(members) for stages, members in judges.populations if stages == 1]
    assert sizes == [4, 2, 4, 2], "each four of a batch, and what is left of it"
    went_on = [
        tuple(row["settings"]["rule.w1"] for row in straight if row["stage"] == "whole" and row["number"] in own)
        for own in (range(4), range(4, 6), range(6, 10), range(10, 12))
    ]
    assert [members for stages, members in judges.populations if stages == 2] == [members for members in went_on if members]
    for workers in (1, 2, 5):
        found, others = _ended(plan, tmp_path / f"{workers} workers", workers)
        assert found == straight and sorted(others.populations) == sorted(judges.populations)
    for kill_after in range(1, 12, 2):
        assert _ended(plan, tmp_path / f"killed after {kill_after}", 0, kill_after)[0] == straight
    assert _ended(dataclasses.replace(plan, budget=dataclasses.replace(plan.budget, batch=3)), tmp_path / "b")[0] != straight


def test_the_searches_that_come_with_it_are_judged_a_whole_batch_at_a_time(tmp_path):
    """As they were when their results were made."""
    assert TOGETHER >= _plan(tmp_path, PBLF).budget.batch == 20 and TOGETHER >= pblf.BATCH


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate memory: 8 bytes")], ids=["python", "torch"])
def test_for_want_of_memory_a_population_is_refused_and_not_divided(error, tmp_path, digits, monkeypatch):
    """Else it would depend on the memory of the day what a search finds."""
    sizes = []

    def trained(configs, *_: Any) -> None:
        sizes.append(len(configs))
        raise error

    monkeypatch.setattr(kind, "trained", trained)
    with pytest.raises(UserError, match=r"^candidates 000 to 001 could not be judged together .* smaller budget\.batch .*\.$"):
        _searched(_plan(tmp_path), tmp_path / "out", digits)
    assert sizes == [2] and not list(tmp_path.rglob("whole.json"))


def test_one_that_cannot_be_judged_leaves_its_batch_alone(tmp_path, digits):
    space = PBLF[PBLF.index("space:") : PBLF.index("objectives:")]
    text = SHORT.replace(space, "space:\n  training.batch_size: {choice: [16, 100000]}\n  rule.modes: {bits: 2}\n")
    text = text.replace(next(line for line in SHORT.splitlines() if line.startswith("sampler:")), "sampler: {name: grid}")
    rows = _found(_searched(_plan(tmp_path, text), tmp_path / "out", digits))
    expected = ["failed" if row["settings"]["training.batch_size"] > 16 else "finished" for row in rows]
    assert [row["outcome"] for row in rows] == expected and set(expected) == {"failed", "finished"}


def test_best_json_trains_what_was_judged(tmp_path, digits, monkeypatch):
    """As the arm of a comparison does, with the same targets."""
    keep_in_memory(monkeypatch)
    plan = _plan(tmp_path)
    search = _searched(plan, tmp_path / "out", digits)
    (file,) = write_best(plan, rows_of(search), tmp_path)
    config, found = settings_of(tmp_path / file)[1], read_json(tmp_path / file)["found"]["result"]
    assert validate(config) == config and config.compare.arms == ("conventional", "pblf") and config.training.steps == 20

    def accuracy(config: Config) -> float:
        x, y = digits.tensors("train")
        seeds = [stream(config.seed, "judged", number) for number in range(2)]
        population = new_population(config, target_of(config, digits), seeds, x)
        task = Compared("pblf", "pblf", tuple(seeds), (0.0,) * 2, keep=False)
        rule = ARMS["pblf"].rule(Making(ARMS["pblf"], task, config, population, {}))
        batches = Batches(x, y, config.training.batch_size, seeds, config.training.shared_order)
        advance(population, rule, rule.init(population), batches, config.training.steps)
        return 100 * population.evaluate(*selection_data(config, digits)).accuracy.mean().item()

    assert accuracy(config) == found["accuracy"]
    others = {"b2": -1.0, "w2": -1.0, "modes": (1, 1)}
    assert accuracy(dataclasses.replace(config, rule=dataclasses.replace(config.rule, **others))) != found["accuracy"]


def test_settings_of_rules_are_those_that_they_take():
    """By the same defaults, so that an arm without settings trains as before."""
    for name, rule in SIGNALS.items():
        given = rule_settings(Config().rule, name)
        assert given.keys() <= getattr(rule, "__dataclass_fields__", {}).keys()
        plain = named(name)
        for key, value in given.items():
            assert value == getattr(plain, key), f"{name}.{key} has another default"
    assert set(TAKES) <= set(SIGNALS)
    one, other = signal_of(_config(w1=0.25, modes=[0, 1])), signal_of(_config(), "usf")
    assert vars(one)["phi"][0] == 0.25 and vars(one)["modes"] == (0, 1) and vars(other)["scale"] == 1.0


BAD = {
    "mode bits of another length": ("rule.modes: {bits: 2}", "rule.modes: {bits: 3}", "each of the 2 hidden layers"),
    "no bits": ("rule.modes: {bits: 2}", "rule.modes: {bits: 0}", "from 1 to 6"),
    "bits without end": ("rule.modes: {bits: 2}", "rule.modes: {bits: 40}", "from 1 to 6"),
    "no bit": ("rule.modes: {bits: 2}", "rule.modes: {choice: [[1, 2]]}", "a 0 or a 1"),
    "φ outside": ("rule.w1: {float: [-1.0, 1.0]}", "rule.w1: {float: [-1.0, 1.5]}", "from -1 to 1"),
    "unknown rule": ("rule.name: pblf", "rule.name: pblv", "'pblf'"),
    "a setting of another rule": (
        "rule.name: pblf",
        "rule.name: fa",
        "no effect: it is of pblf, and rule.name is fa",
    ),
    "a setting that no rule has": ("rule.w1", "rule.w3", "'rule.w2'"),
    "an ENN's setting": ("rule.w1: {float: [-1.0, 1.0]}", "enn.probes: {integer: [4, 9]}", "rule.* and training.*"),
    "a target's setting": (
        "rule.w1: {float: [-1.0, 1.0]}",
        "target.hidden: {choice: [[8, 8]]}",
        "varies rule.* and training.*",
    ),
    "as a search over ENNs": ("kind: rule", "kind: enn", "kind 'rule'"),
    "as a search over targets": ("kind: rule", "kind: target", "kind 'rule'"),
    "a part of other kinds": ("budget:", "record: {rounds: 1}\nbudget:", "'record' is for searches over ENNs"),
    "a stage of other kinds": ("targets: 1", "targets: 1, updates: 3", "no updates"),
    "a batch of none": ("batch: 20", "batch: 0", "budget.batch"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_one_sentence_before_any_work(case, tmp_path, capfd, environment, monkeypatch):
    good, bad, said = BAD[case]
    monkeypatch.chdir(tmp_path)
    assert PBLF.count(good) >= 1
    Path("bad.yaml").write_text(PBLF.replace(good, bad, 1))
    assert main(["search", "bad.yaml", "--local"]) == 2
    error = capfd.readouterr().err
    assert error.startswith("grad-instructor: bad.yaml: ") and len(error.splitlines()) == 1 and said in error, error
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


@pytest.mark.parametrize(("protocol", "said"), [("pblf-mnits", "'pblf-mnist'"), ("pblf-wrn", "benchmarks.pblf")])
def test_an_unknown_protocol_is_refused(protocol, said, tmp_path, capfd, environment, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pblf.yaml").write_text(PBLF)
    assert main(["search", "pblf.yaml", "--protocol", protocol, "--local"]) == 2
    error = capfd.readouterr().err
    assert said in error and len(error.splitlines()) == 1 and [path.name for path in tmp_path.iterdir()] == ["pblf.yaml"]


def test_a_protocol_takes_the_place_of_the_preset(tmp_path):
    (tmp_path / "pblf.yaml").write_text(PBLF)
    assert read_plan(tmp_path / "pblf.yaml", "pblf-mnist").config().data.dataset == "mnist"
    assert read_plan(tmp_path / "pblf.yaml").config().data.dataset == "digits"


IDENTITIES = {"smoke": "3d7c892d", "baselines": "cf64dbd3"}


def test_searches_of_before_keep_their_folders():
    """What came later is not in their names; it is in those of searches that use it."""
    from pipeline.command_line.search import identity

    for name, expected in IDENTITIES.items():
        assert identity(read_plan(CHECKOUT / "tune_configs" / f"{name}.yaml")) == expected, name
    plan = read_plan(CHECKOUT / "tune_configs" / "smoke.yaml")
    budget, sampler = dataclasses.replace(plan.budget, batch=2), dataclasses.replace(plan.sampler, random_every=3)
    changed = [dataclasses.replace(plan, **part) for part in ({"budget": budget}, {"sampler": sampler})]
    one = read_plan(CHECKOUT / "tune_configs" / "pblf.yaml")
    other = dataclasses.replace(
        one, groups=(dataclasses.replace(one.groups[0], settings={"rule.name": "pblf", "rule.w1": 0.5}),)
    )
    assert len({identity(own) for own in (plan, *changed, one, other)}) == 5


@pytest.mark.slow
def test_the_command_does_the_search_and_one_mlflow_run_per_candidate(tmp_path, monkeypatch, capfd, environment):
    monkeypatch.chdir(tmp_path)
    Path("short.yaml").write_text(SHORT.replace("candidates: 5", "candidates: 4"))
    assert main(["search", "short.yaml", "--local", "--output", "out"]) == 0
    assert f"the best in accuracy: grad-instructor {KINDS['rule'].trained_by}" in capfd.readouterr().out
    events = [json.loads(line) for line in Path("out/records.jsonl").read_text().splitlines()]
    begun = [event["run"] for event in events if event["kind"] == "start"]
    assert begun == ["search", *(f"search/00{number}" for number in range(4))]


def test_rules_of_a_population_are_those_of_its_candidates(digits):
    """Member for member: φ and mode bits go with the candidate, and seeds with the target."""
    configs = [_config(**own) for own in list(CANDIDATES.values())[:2]]
    rule = kind.rule_of(configs, 3)
    assert isinstance(rule, SIGNALS["pblf"])
    assert vars(rule)["phi"][:, 0].tolist() == pytest.approx([0.9] * 3 + [-0.9] * 3)
    assert vars(rule)["modes"].tolist() == [[1, 0]] * 3 + [[1, 1]] * 3
    assert kind.rule_of([_config(name="backprop")] * 2, 3) is None
    with pytest.raises(UserError, match="one by one"):
        kind.rule_of([_config(name="fa")] * 2, 3)


def test_a_module_that_speed_is_compared_with_does_the_same_work(digits):
    """It ends with the weights of a population of one; without its derivative it does not."""
    config = dataclasses.replace(_config(**CANDIDATES["one"]), training=dataclasses.replace(_config().training, steps=20))
    population, (_, module) = pblf_extras.as_population(config, 20, digits), pblf_extras.of_module(config, 20, digits)
    for own, other in zip(population.parameters, module.parameters(), strict=True):
        assert torch.allclose(own[0], other, atol=1e-5)
    plain = dataclasses.replace(config, rule=dataclasses.replace(config.rule, modes=(0, 0)))
    _, module = pblf_extras.of_module(plain, 20, digits)
    assert not torch.allclose(population.parameters[0][0], next(module.parameters()), atol=1e-4)


def test_a_factor_is_a_learning_rate_under_sgd_and_nothing_under_adam():
    found = pblf_extras.betas()
    assert found["as_rate"] < 1e-6 and found["apart"]["adam"] < 1e-4 < 0.5 < found["apart"]["sgd"]
