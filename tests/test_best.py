"""What a search judged is what its ``best.json`` trains, to the bit, for every kind; what may go away is no result."""

import dataclasses
import errno
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.cluster import Placement
from pipeline.command_line import main
from pipeline.command_line.beginning import settings_of
from pipeline.config import PRESETS, Config, identity, recording_config, to_dotted, validate
from pipeline.enn import Critic, load_critic
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.results.seal import sealed
from pipeline.search.attempt import attempt
from pipeline.search.candidates import Search, check_results
from pipeline.search.drive import drive
from pipeline.search.forecast import MEASURED
from pipeline.search.ladder import Task
from pipeline.search.outcome import rows_of, write_best
from pipeline.search.plan import Plan
from pipeline.search.reading import read_plan
from pipeline.search.values import Failed

CHECKOUT = Path(__file__).parent.parent
SMOKE = (CHECKOUT / "tune_configs" / "smoke.yaml").read_text()
SETTINGS = {
    "target.hidden": [8],
    "training.steps": 40,
    "training.batch_size": 16,
    "rl.period": 10,
    "rl.members": 64,
    "rl.batch_size": 16,
    "enn.readers": ["probes"],
    "instruction.refresh": 5,
    "unroll.members": 4,
    "unroll.steps": 20,
    "unroll.score_examples": 50,
}
SEARCH = {
    "preset": "digits",
    "objectives": {"gain": "maximise", "ms_per_instruction": "minimise"},
    "sampler": {"name": "random"},
    "scheduler": {"name": "none"},
    "budget": {"candidates": 1},
    "record": {"rounds": 2, "updates": 3},
    "stages": [
        {"name": "first", "updates": 4, "segments": 1, "targets": 2},
        {"name": "last", "updates": 4, "segments": 3, "targets": 4},
    ],
}
GAMMA = {"rl.gamma": {"float": [0.1, 0.6]}}
KINDS: dict[str, dict[str, Any]] = {
    "probes": {"space": {"enn.probes": {"integer": [4, 9]}, **GAMMA}},
    "convnet": {"space": {"enn.readers": {"choice": [["convnet"]]}, "enn.width": {"integer": [3, 5]}}},
    "statistics, and another that learns": {"space": {"enn.readers": {"choice": [["statistics", "probes"]]}}},
    "off-policy only": {
        "space": {"rl.n_step": {"integer": [1, 3]}, "rl.replay": {"integer": [60, 90]}},
        "stages": [{"name": "first", "updates": 3}, {"name": "last", "updates": 7, "targets": 4}],
    },
    "fine-tuning only": {
        "space": {"unroll.strength": {"float": [2.0, 9.0]}},
        "stages": [{"name": "last", "segments": 3, "targets": 4}],
    },
    "coarse runs": {
        "settings": {"enn.coarsening": 5, "unroll.steps": 8},
        "space": {"instruction.refresh": {"choice": [10]}},
    },
    "adamw": {
        "settings": {
            "training.optimiser": "adamw",
            "training.learning_rate": 0.01,
            "training.schedule": "cosine",
            "instruction.decoupled": True,
        },
        "space": {"instruction.trust_region": {"float": [0.02, 0.05]}},
    },
    "momentum": {"settings": {"training.momentum": 0.9}, "space": {"unroll.anneal": {"choice": [3]}}},
    "an ENN of the package": {
        "settings": {"target.hidden": [32], "unroll.start": "digits-mlp"},
        "space": {"unroll.learning_rate": {"float": [0.001, 0.01]}, "instruction.trust_region": {"float": [0.02, 0.05]}},
        "stages": [{"name": "first", "segments": 1}, {"name": "last", "segments": 3, "targets": 4}],
    },
    "an ENN of the package, as it is": {
        "settings": {"target.hidden": [32], "unroll.start": "digits-mlp"},
        "space": {"instruction.trust_region": {"float": [0.02, 0.05]}},
        "stages": [{"name": "last", "targets": 4}],
    },
    "a ladder of its own": {"space": {"instruction.ladder": {"choice": [[0.0, 5.0]]}}},
    "groups": {
        "groups": {
            "wide": {"settings": {"target.hidden": [12], "rl.tau": 0.1}, "space": GAMMA},
            "deep": {"settings": {"target.hidden": [8, 8], "unroll.largest_costate": 1.0}, "space": GAMMA},
        }
    },
}


def _text(kind: str) -> str:
    """The search file of a kind (JSON is YAML)."""
    return json.dumps(SEARCH | KINDS[kind] | {"settings": SETTINGS | KINDS[kind].get("settings", {})})


def _plan(folder: Path, text: str) -> Plan:
    path = folder / "search.yaml"
    path.write_text(text)
    return read_plan(path)


def _searched(plan: Plan, folder: Path, digits) -> tuple[Search, dict[str, Any]]:
    from rl.offline import judge, record

    targets = max(stage.targets for stage in plan.stages)
    recorded = {
        name: record(config, digits, folder / "recordings" / name, plan.record.rounds, targets, plan.record.updates)
        for name, config in plan.recordings().items()
    }
    search, shared = Search(plan, folder), {"dataset": digits, "recorded": recorded}
    drive(search, judge, shared, Placement(local=True), lambda task: None, lambda task, result: None)
    return search, recorded


def _judged(plan: Plan, search: Search, best: Path, digits, recorded: dict[str, Any]) -> Critic:
    """The ENN that the last stage judged, from the state that it left."""
    from rl.critics import at_home
    from rl.offline import Trained

    name = read_json(best)["found"]["candidate"]
    row = next(row for row in rows_of(search) if row["name"] == name)
    group = next(group for group in plan.groups if group.name == row["group"])
    config = plan.config(group, row["settings"])
    trained = Trained(config, digits, recorded[identity(plan.recording(group, config))])
    assert trained.load(search.folder / "candidates" / name, plan.last) == (plan.last.updates, plan.last.segments)
    return at_home(trained.critic(), config)


def _trained(config: Config, digits, folder: Path) -> Critic:
    """What ``train-enn`` does."""
    from rl.train import fine_tune_enn, train_enn

    train_enn(config, digits, folder)
    if config.unroll.segments:
        fine_tune_enn(config, digits, folder)
    return load_critic(folder / "enn.safetensors")


def _same(one: Critic, other: Critic) -> bool:
    first, second = one.state_dict(), other.state_dict()
    alike = first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    return alike and one.home == other.home


QUICK = ("probes", "off-policy only", "an ENN of the package", "groups")


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[] if kind in QUICK else pytest.mark.slow) for kind in KINDS])
def test_the_enn_of_best_json_is_the_judged_one(kind, tmp_path, digits):
    from rl.critics import at_home, first_critic

    plan = _plan(tmp_path, _text(kind))
    search, recorded = _searched(plan, tmp_path / "search", digits)
    rows = rows_of(search)
    assert {row["outcome"] for row in rows} == {"finished"}, rows
    for file in write_best(plan, rows, tmp_path):
        config = settings_of(tmp_path / file)[1]
        assert validate(config) == config
        judged = _judged(plan, search, tmp_path / file, digits, recorded)
        trained = _trained(config, digits, tmp_path / file.removesuffix(".json"))
        assert _same(trained, judged)
        assert not _same(trained, at_home(first_critic(config, digits), config)) or not plan.last.updates + plan.last.segments


def test_who_recorded_decides_what_is_learned_and_best_json_says_who(tmp_path, digits):
    """The twin: without ``recorded.settings``, the runs are recorded under the candidate's own settings, and differ."""
    plan = _plan(tmp_path, _text("probes"))
    search, recorded = _searched(plan, tmp_path / "search", digits)
    write_best(plan, rows_of(search), tmp_path)
    config = settings_of(tmp_path / "best.json")[1]
    judged = _judged(plan, search, tmp_path / "best.json", digits, recorded)
    assert any(text.startswith("rl.gamma=") for text in config.recorded.settings)
    assert recording_config(config).rl.gamma == plan.config().rl.gamma != config.rl.gamma
    for name, field, value in (("recorded", "settings", ()), ("rl", "updates", 5), ("unroll", "segments", 4)):
        other = dataclasses.replace(config, **{name: dataclasses.replace(getattr(config, name), **{field: value})})
        assert not _same(_trained(other, digits, tmp_path / field), judged), f"{name}.{field} makes no difference"


@pytest.mark.parametrize("stop", [1, 3], ids=["after a population", "in the midst of learning"])
def test_a_training_from_recordings_goes_on_where_it_was(stop, tmp_path, digits, monkeypatch):
    from rl.offline import recording, training

    monkeypatch.setattr(training, "KEEP", 2)
    config, write, written = _plan(tmp_path, _text("off-policy only")).config(), training.write_checkpoint, []

    def until(path: Path, *contents: Any) -> None:
        if len(written) == stop:
            raise KeyboardInterrupt
        written.append(path)
        write(path, *contents)

    with monkeypatch.context() as patch:
        patch.setattr(recording, "write_checkpoint", until)
        patch.setattr(training, "write_checkpoint", until)
        with pytest.raises(KeyboardInterrupt):
            _trained(config, digits, tmp_path / "parts")
    assert _same(_trained(config, digits, tmp_path / "parts"), _trained(config, digits, tmp_path / "straight"))


def test_the_learning_rate_of_fine_tuning_falls_to_zero_where_the_last_stage_ends(tmp_path, digits):
    plan = _plan(tmp_path, _text("probes"))
    assert plan.config().unroll.segments == plan.last.segments == 3
    from rl.unrolled import FineTuning

    rates = []
    for row in range(plan.last.segments):
        tuning = FineTuning(plan.config(), digits, _first(plan, digits))
        tuning.segment(row)
        rates.append(tuning.optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([0.01 * (n + 1) / 10 * (1 - n / 3) for n in range(3)])


def _first(plan: Plan, digits) -> Critic:
    from rl.critics import first_critic

    return first_critic(plan.config(), digits)


def test_every_ladder_learns_from_equally_many_runs(tmp_path, digits):
    from rl.critics import first_critic
    from rl.offline import Learning, record

    text = (CHECKOUT / "tune_configs" / "instruction.yaml").read_text().replace("preset: mnist", "preset: digits")
    plan = _plan(tmp_path, text.replace("training.steps: 150", "training.steps: 50").replace("segments: 4}", "segments: 1}"))
    group, counts = plan.groups[0], set()
    recordings = {name: record(config, digits, tmp_path / name, 1, 2, 0) for name, config in plan.recordings().items()}
    (ladders,) = [dimension.choice for dimension in group.space if dimension.key == "instruction.ladder"]
    assert len(recordings) == len(ladders) == 3
    for ladder in ladders:
        config = plan.config(group, {"instruction.ladder": ladder, "instruction.refresh": 1, "unroll.strength": 7.0})
        assert recording_config(config).instruction.ladder == config.instruction.ladder
        recorded = recordings[identity(plan.recording(group, config))]
        assert set(np.unique(recorded.strengths).tolist()) == set(ladder), "a level is missing, or is of another ladder"
        learning = Learning(config, first_critic(config, digits), recorded, ~recorded.held_out())
        counts.add(learning.buffer.get_num_episodes())
    assert counts == {48}, "of 64 runs, a quarter is held out"


def test_targets_of_best_json_are_the_judged_ones(tmp_path, digits):
    """Also where a stage says how long targets are trained, and a schedule ends with it."""
    from pipeline.instruction import Backprop
    from pipeline.instruction.loop import advance
    from pipeline.search.kinds.target import judge
    from pipeline.seeding import stream
    from pipeline.setting import new_population, selection_data, target_of
    from pipeline.targets import Batches

    text = (CHECKOUT / "tune_configs" / "baselines.yaml").read_text().replace("preset: mnist", "preset: digits")
    text = text.replace("training.steps: 600", "training.steps: 90\n  training.schedule: cosine\n  rl.period: 10")
    text = text.replace("steps: 150", "steps: 10").replace("targets: 8", "targets: 3, steps: 30")
    plan = _plan(tmp_path, text.replace("candidates: 16", "candidates: 2"))
    search = Search(plan, tmp_path / "out")
    drive(search, judge, {"dataset": digits}, Placement(local=True), lambda task: None, lambda task, result: None)
    files = write_best(plan, rows_of(search), tmp_path)
    assert len(files) == len(plan.groups)
    for file in files:
        config, found = settings_of(tmp_path / file)[1], read_json(tmp_path / file)["found"]["result"]
        assert config.training.steps == 30
        x, y = digits.tensors("train")
        seeds = [stream(config.seed, "judged", number) for number in range(found["targets"])]
        population = new_population(config, target_of(config, digits), seeds, x)
        batches = Batches(x, y, config.training.batch_size, seeds, config.training.shared_order)
        advance(population, Backprop(), None, batches, config.training.steps)
        assert 100 * population.evaluate(*selection_data(config, digits)).accuracy.mean().item() == found["accuracy"]


@pytest.mark.parametrize(
    ("good", "bad", "named"),
    [
        ("kind: enn", "kind: target", "'record' is for searches over ENNs"),
        ("  unroll.members: 4", "  unroll.segments: 4", "'stages'"),
        ("  unroll.members: 4", "  rl.rounds: 4", "'stages'"),
        ("  unroll.members: 4", "  rl.updates: 4", "'stages'"),
        ("  unroll.members: 4", "  recorded.rounds: 4", "'record'"),
        ("  unroll.members: 4", "  rl.epsilon: 0.1", "no effect"),
        ("  rl.gamma:", "  rl.epsilon:", "no candidate does"),
        ("  rl.gamma:", "  rl.updates: {integer: [1, 3]}\n  rl.gamma:", "'stages'"),
        ("  rl.gamma:", "  unroll.start: {choice: [digits-mlp, mnist-mlp]}\n  rl.gamma:", "once in 'settings'"),
        ("  unroll.members: 4", "  unroll.start: /tmp/enn.safetensors\n  enn.readers: [probes]", "digits-mlp"),
        ("  unroll.members: 4", "  unroll.start: digits-mlp\n  enn.readers: [probes]", "starts from the ENN digits-mlp"),
        ("updates: 10, segments: 2", "segments: 2", "cannot fall"),
        ("updates: 10", "updates: 0", "no stage has 'updates'"),
        ("segments: 4, ", "", "no stage has 'segments'"),
        ("unroll.steps: 25", "unroll.steps: 24", "multiple of instruction.refresh"),
        ("{name: prediction,", "{name: prediction, rank_by: gain,", "needs 'targets'"),
        ("{name: prediction,", "{name: prediction, targets: 1,", "at least 2"),
        ("{name: prediction,", "{name: prediction, steps: 3,", "training.steps"),
        ("name: asha", "name: none", "'predict'"),
    ],
)
def test_what_would_have_no_effect_is_refused(good, bad, named, tmp_path):
    text = SMOKE + ("predict: {after: 5}\n" if "predict" in named else "")
    assert good in text
    with pytest.raises(UserError) as caught:
        _plan(tmp_path, text.replace(good, bad))
    assert named in str(caught.value) and "\n" not in str(caught.value)


def test_groups_share_one_data_set_and_a_start_must_fit(tmp_path, capfd, environment, monkeypatch):
    text = _text("groups")
    with pytest.raises(UserError, match="one data set"):
        _plan(tmp_path, text.replace('"rl.tau": 0.1', '"data.dataset": "mnist"'))
    monkeypatch.chdir(tmp_path)
    Path("start.yaml").write_text(_text("an ENN of the package").replace("digits-mlp", "mnist-mlp"))
    assert main(["search", "start.yaml", "--local", "--output", "out"]) == 2
    assert "mnist-mlp" in capfd.readouterr().err and not Path("out").exists()


# -- times decide nothing ----------------------------------------------------------------------------------------------


def test_measured_times_change_no_verdict_and_not_a_byte_of_best_json(tmp_path):
    """Times are drawn at random, on a busy machine and on a quiet one; all that is decided stays as it is."""
    text = SMOKE.replace("gain: maximise, ms_per_instruction: minimise", "ms_per_instruction: minimise, gain: maximise")
    text = text.replace("candidates: 8", "candidates: 12").replace("name: few,", "name: few, rank_by: ms_per_instruction,")
    outcomes = []
    for name, options in (("forecast", "predict: {after: 5}\n"), ("plain", "")):
        plan = _plan(tmp_path, text + options)
        for seed in range(2):
            folder, times = tmp_path / f"{name}-{seed}", np.random.default_rng(seed)
            search = Search(plan, folder)
            while isinstance(task := search.next(), Task):
                search.done(task, _found(task) | {"ms_per_instruction": times.random() * 10 ** times.integers(9)})
            rows = rows_of(search)
            (file,) = write_best(plan, rows, folder)
            ends = [(row["settings"], row["outcome"], row["stage"]) for row in rows]
            outcomes.append((name, json.dumps(ends), (folder / file).read_bytes()))
            assert {row["outcome"] for row in rows} == {"finished", "stopped"}
    assert len(set(outcomes)) == 2


def _found(task: Task) -> dict[str, Any]:
    draws = np.random.default_rng([task.number, task.stage])
    names = [*MEASURED, "gain", "seconds", "training_seconds"]
    return dict(zip(names, draws.random(len(names)).tolist(), strict=True))


def test_less_of_a_cost_is_better_unless_the_file_says_otherwise(tmp_path):
    plan = _plan(tmp_path, SMOKE.replace("{name: prediction,", "{name: prediction, rank_by: parameters,"))
    assert plan.rank_by(0) == ("parameters", -1.0) and plan.rank_by(1) == ("gain", 1.0)


# -- a result is that of its stage -------------------------------------------------------------------------------------


STAGES = """
question: For a test?
kind: rule
preset: pblf-digits
settings: {rule.name: pblf, target.hidden: [8], rl.period: 10, training.steps: 20}
space: {rule.w1: {choice: [0.5]}}
objectives: {accuracy: maximise}
sampler: {name: random}
scheduler: {name: none}
budget: {candidates: 2}
stages: [{name: few, targets: 1, steps: 10}, {name: whole, targets: 1, steps: 20}]
"""


def _without(file: Path, *names: str) -> dict[str, Any]:
    return {name: value for name, value in read_json(file).items() if name not in ("checksum", *names)}


def _changed(file: Path, part: str, name: str, value: Any) -> None:
    """As if it had been made so: sealed."""
    result = _without(file)
    if isinstance(value, dict):
        value = result[part][name] | value
    write_json(file, sealed(result | {part: result[part] | {name: value}}))


STRANGE: dict[str, tuple[Callable[[Path, Path], Any], str]] = {
    "a hand's": (
        lambda few, whole: write_json(whole, read_json(whole) | {"accuracy": 99.0}),
        r"was changed after .* \(checksum",
    ),
    "an earlier stage's": (
        lambda few, whole: shutil.copy(few, whole),
        "was made with stage 'few' and this run has stage 'whole'",
    ),
    "another candidate's": (
        lambda few, whole: shutil.copy(few.parent.with_name("001") / few.name, few),
        "was made with candidate '001' and this run has candidate '000'",
    ),
    "more targets'": (
        lambda few, whole: _changed(whole, "judged", "stage.targets", 2),
        "was made with stage.targets 2 and this run has stage.targets 1",
    ),
    "other steps', as the last stage decides": (
        lambda few, whole: _changed(whole, "origin", "settings", {"training.steps": 40}),
        "was made with training.steps 40 and this run has 20",
    ),
    "another split's, as the kind decides": (
        lambda few, whole: _changed(few, "origin", "settings", {"rl.score_examples": 9}),
        "was made with rl.score_examples 9 and this run has 1",
    ),
}


@pytest.fixture(scope="module")
def staged(tmp_path_factory, digits) -> Path:
    """The folder of a search of two stages, of which everything is judged and nothing reported."""
    folder = tmp_path_factory.mktemp("staged")
    (folder / "search.yaml").write_text(STAGES)
    search = Search(read_plan(folder / "search.yaml"), folder / "out", digits, {"commit": "0" * 7})
    while isinstance(task := search.next(), Task):
        search.done(task, _found(task) | {"accuracy": 50.0 + task.number})
    return folder


@pytest.mark.parametrize("case", STRANGE)
def test_a_result_that_is_not_that_of_its_stage_is_refused_before_any_work(
    case, staged, tmp_path, capfd, environment, monkeypatch
):
    shutil.copytree(staged, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    change, said = STRANGE[case]
    candidate = Path("out/candidates/000")
    change(candidate / "few.json", candidate / "whole.json")
    assert main(["search", "search.yaml", "--local", "--output", "out"]) == 2
    error = capfd.readouterr().err
    assert len(error.splitlines()) == 1 and re.search(rf"out/candidates/000/(few|whole)\.json {said}", error), error
    assert {path.name for path in Path("out").iterdir()} == {"candidates", "studies"}


def test_results_that_earlier_versions_kept_are_read(staged, tmp_path, digits):
    """They noted neither stage nor what follows from it, and were not sealed."""
    shutil.copytree(staged, tmp_path, dirs_exist_ok=True)
    plan, folder = read_plan(tmp_path / "search.yaml"), tmp_path / "out"
    own = to_dotted(PRESETS[plan.preset]) | plan.groups[0].settings | {"rule.w1": 0.5}
    for file in folder.glob("candidates/*/*.json"):
        if file.name != "candidate.json":
            result = _without(file, "judged")
            write_json(file, result | {"origin": result["origin"] | {"settings": own}})
    check_results(plan, folder, digits)
    search, straight = Search(plan, folder, digits), Search(plan, staged / "out", digits)
    assert search.next() == straight.next() == "finished" and rows_of(search) == rows_of(straight)
    file = folder / "candidates" / "000" / "whole.json"
    write_json(file, read_json(file) | {"origin": _without(file)["origin"] | {"settings": own | {"rule.w1": 0.4}}})
    with pytest.raises(UserError, match=r"rule\.w1 0\.4 and this run has 0\.5"):
        check_results(plan, folder, digits)


def test_a_result_names_the_enn_that_it_starts_from_and_what_was_recorded(tmp_path, digits):
    plan = _plan(tmp_path, _text("an ENN of the package, as it is"))
    search = Search(plan, tmp_path / "out", digits)
    task = search.next()
    assert isinstance(task, Task)
    search.done(task, _found(task))
    check_results(plan, search.folder, digits)
    file = search.folder / "candidates" / "000" / "last.json"
    kept = file.read_bytes()
    for part, name, value, said in (
        ("origin", "enn", {"start": "0" * 16}, r"the ENN 'start' of digest '0+' and this run has one of digest '\w+'"),
        ("judged", "record.rounds", 9, r"record\.rounds 9 and this run has record\.rounds 2"),
    ):
        _changed(file, part, name, value)
        with pytest.raises(UserError, match=said):
            check_results(plan, search.folder, digits)
        file.write_bytes(kept)


# -- what may go away is no result -------------------------------------------------------------------------------------


def _raised(error: BaseException) -> Callable[..., Any]:
    def judge(*_: Any, **__: Any) -> dict[str, Any]:
        raise error

    return judge


AWAY = {
    "a full disk": UserError("the disk is full and x could not be written; free some space and give the same command again."),
    "a damaged file": UserError("x is truncated or corrupt; delete it and give the same command again."),
    "the system": OSError(errno.EIO, "Input/output error"),
    "no memory": MemoryError(),
    "no memory, as torch says it": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    "no memory of a GPU": torch.OutOfMemoryError("CUDA out of memory"),
}


@pytest.mark.parametrize("kind", AWAY)
def test_what_may_go_away_stops_the_search_and_is_tried_again(kind, tmp_path):
    search = Search(_plan(tmp_path, SMOKE), tmp_path / "out")
    with pytest.raises(UserError, match="again") as caught:
        drive(search, _raised(AWAY[kind]), {}, Placement(local=True), lambda task: None, lambda task, result: None)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").glob("candidates/*/prediction.json"))
    resumed = Search(search.plan, search.folder).next()
    assert isinstance(resumed, Task) and (resumed.number, resumed.stage) == (0, 0)


def test_only_its_own_fault_is_kept_against_a_candidate(tmp_path):
    plan = _plan(tmp_path, SMOKE)
    search = Search(plan, tmp_path / "out")
    task = search.next()
    assert isinstance(task, Task)
    own: list[Callable[..., Any]] = [_raised(Failed("it diverged")), _raised(OverflowError("too large"))]
    for judge in (*own, lambda *_, **__: {"gain": float("nan")}):
        assert attempt(judge, plan, task, tmp_path, {}).keys() == {"failed"}
    refused = dataclasses.replace(task, chosen=(*task.chosen, ("unroll.steps", 7)))  # no multiple of the refresh
    assert "multiple" in attempt(_raised(AssertionError()), plan, refused, tmp_path, {})["failed"]
    for error in (RuntimeError("a fault of the program"), ValueError("another"), KeyError("x")):
        with pytest.raises(type(error)):
            attempt(_raised(error), plan, task, tmp_path, {})
    search.done(task, {"failed": "it diverged"})
    ladder = Search(plan, search.folder).ladders[""]
    assert "failed" in ladder.results[0, 0], "it would be judged again"
    file = search.folder / "candidates" / "000" / "prediction.json"
    write_json(file, {"failed": "UserError: the disk is full and x could not be written"})  # as kept by an earlier form
    assert not Search(plan, search.folder).ladders[""].results


def test_a_stage_that_was_stopped_in_a_worker_stops_the_search(tmp_path):
    from ray.tune.search import Searcher

    from pipeline.search.tuning import Tasks

    search, done = Search(_plan(tmp_path, SMOKE), tmp_path / "out"), []

    def on_done(task: Task, result: dict[str, Any]) -> None:
        done.append(task)
        if len(done) == 2:
            raise UserError("the disk is full here; give the same command again.")

    tasks = Tasks(search, lambda task: None, on_done)
    assert tasks.suggest("a") and tasks.suggest("b")
    tasks.on_trial_complete("a", {"judged": json.dumps({"rank_correlation": 0.5})})
    tasks.on_trial_complete("b", {"stopped": "the disk is full there; give the same command again."})
    assert tasks.suggest("c") == Searcher.FINISHED and len(done) == 1 and "there" in tasks.stopped and not tasks.dead
    tasks = Tasks(Search(search.plan, tmp_path / "other"), lambda task: None, on_done)
    assert tasks.suggest("d")
    tasks.on_trial_complete("d", {"judged": json.dumps({"rank_correlation": 0.5})})
    assert "full here" in tasks.stopped and tasks.suggest("e") == Searcher.FINISHED
    tasks.close()


def test_a_search_on_a_full_disk_is_finished_by_the_same_command(tmp_path, monkeypatch, capfd, environment, digits):
    """And its candidates end in MLflow as they truly did."""
    from rl.offline import recording, stages

    monkeypatch.chdir(tmp_path)
    plan = _plan(tmp_path, _text("fine-tuning only").replace('"candidates": 1', '"candidates": 2'))
    write, calls = stages.write_checkpoint, []

    def full(path: Path, *contents: Any) -> None:
        calls.append(path)
        if len(calls) > 5:  # two populations, what is measured of them, and one candidate
            raise UserError(f"the disk is full and {path} could not be written; give the same command again.")
        write(path, *contents)

    with monkeypatch.context() as patch:
        patch.setattr(recording, "write_checkpoint", full)
        patch.setattr(stages, "write_checkpoint", full)
        assert main(["search", "search.yaml", "--local", "--output", "out"]) == 2
    error = capfd.readouterr().err
    assert error.startswith("grad-instructor: the disk is full") and len(error.splitlines()) == 1
    assert main(["search", "search.yaml", "--local", "--output", "out"]) == 0
    straight, _ = _searched(plan, tmp_path / "straight", digits)
    write_best(plan, rows_of(straight), tmp_path)
    assert Path("out/best.json").read_bytes() == Path("best.json").read_bytes()
    assert {row["outcome"] for row in read_json(Path("out/search.json"))["rows"]} == {"finished"}
    events = [json.loads(line) for line in Path("out/records.jsonl").read_text().splitlines()]
    ends = [(event["run"], event["status"]) for event in events if event["kind"] == "end"]
    assert ("search/001", "FAILED") in ends, "nothing was in the way of the second candidate"
    assert dict(ends) == {"search": "FINISHED", "search/000": "FINISHED", "search/001": "FINISHED"}
