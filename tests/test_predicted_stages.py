"""Stages of a search over ENNs that rank them by predictors of architectures."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from pipeline.config import Config, from_dotted, to_dotted
from pipeline.errors import UserError
from pipeline.predictors import PREDICTORS
from pipeline.search.ladder import Ladder, Task
from pipeline.search.plan import Plan
from pipeline.search.reading import read_plan
from pipeline.setting import target_of
from rl.critics import fresh_critic
from rl.offline.predicted import AsClassifier, points, predicted
from rl.offline.recorded import Recorded

SMOKE = (Path(__file__).parents[1] / "tune_configs" / "smoke.yaml").read_text()
FIRST = "  - {name: prediction, updates: 10}"


def plan_of(folder: Path, rank_by: str, text: str = SMOKE) -> Plan:
    assert FIRST in text
    (folder / "smoke.yaml").write_text(text.replace(FIRST, f"  - {{name: untrained, rank_by: {rank_by}}}\n{FIRST}"))
    return read_plan(folder / "smoke.yaml")


def played(plan: Plan, scores: dict[str, np.ndarray]) -> list[int]:
    """Candidates that go on after the first stage."""
    count = len(next(iter(scores.values())))
    ladder = Ladder(plan, "", count, lambda number: {}, lambda *_: None)
    while isinstance(task := ladder.next(), Task):
        own = {name: float(values[task.number]) for name, values in scores.items()}
        ladder.done(task.number, task.stage, own | {"rank_correlation": 0.0, "gain": 0.0})
    outcomes = [ladder.outcome(number) for number in range(count)]
    return [number for number, outcome in enumerate(outcomes) if outcome is not None and outcome[0] >= 1]


def expected(values: np.ndarray, reduction: float = 2.0) -> list[int]:
    """Successive halving in the order of the candidates, by what is known up to each; ``values`` may be ranks."""
    found = []
    for number in range(len(values)):
        better = sum(value > values[number] for value in values[:number])
        found += [number] if better < max(1, int((number + 1) / reduction)) else []
    return found


def test_a_first_stage_ranks_enns_by_a_predictor(tmp_path) -> None:
    values = np.random.default_rng(0).permutation(12).astype(float)
    plan = plan_of(tmp_path, "gradsign")
    assert plan.stages[0].predictors == ("gradsign",) and plan.stages[1].predictors == ()
    assert played(plan, {"gradsign": values}) == expected(values) != expected(-values)


def test_what_a_predictor_is_not_made_for_goes_on_only_where_nothing_else_is(tmp_path) -> None:
    values = np.arange(16.0)
    values[8:] = np.nan
    assert played(plan_of(tmp_path, "naswot"), {"naswot": values}) == list(range(8))


def test_a_combination_is_that_of_the_ranks_among_the_rivals(tmp_path) -> None:
    draws = np.random.default_rng(1)
    one, other = draws.normal(size=12), draws.normal(size=12) * 1e6
    wanted = []
    for number in range(12):
        ranks = [stats.rankdata(own[: number + 1]) for own in (one, other)]
        sums = ranks[0] + ranks[1]
        better = sum(value > sums[-1] for value in sums[:-1])
        wanted += [number] if better < max(1, int((number + 1) / 2)) else []
    assert played(plan_of(tmp_path, "snip+zico"), {"snip": one, "zico": other}) == wanted != expected(one + other)


@pytest.mark.parametrize(
    ("rank_by", "says"),
    [
        ("gradsing", "gradsign"),
        ("gradsign+zicoo", "zico"),
        ("enn", "did you mean"),
        ("gradsign+enn", "did you mean"),
        ("gain+gradsign", "only predictors are combined"),
        ("gradsign+gradsign", "twice"),
        ("gain", "needs 'targets'"),
    ],
)
def test_what_nothing_can_be_ranked_by_is_refused(rank_by, says, tmp_path) -> None:
    with pytest.raises(UserError, match=says) as refused:
        plan_of(tmp_path, rank_by)
    assert "\n" not in str(refused.value)


def test_other_kinds_rank_by_their_results_alone(tmp_path) -> None:
    text = (Path(__file__).parents[1] / "tune_configs" / "nas_bohb.yaml").read_text()
    (tmp_path / "nas.yaml").write_text(text.replace("steps: 50}", "steps: 50, rank_by: gradsign}"))
    with pytest.raises(UserError, match="rank_by"):
        read_plan(tmp_path / "nas.yaml")


# -- an ENN as a network that tells classes apart ------------------------------------------------------------------------


def made_up(config: Config, digits, held_out: float = 0.5) -> Recorded:
    """Runs that were never played, those that are held out with another loss."""
    draws, size = np.random.default_rng(0), target_of(config, digits).size
    observations = (draws.normal(size=(32, 4, size + 1)) * 0.2).astype(np.float16)
    observations[:, :, -1] = np.linspace(0, 1, 4)
    loss, nothing = draws.random((32, 4)).astype(np.float32), np.empty(0)
    found = Recorded(observations, np.zeros((32, 3), np.float32), loss, loss, nothing, nothing, nothing)
    loss[found.held_out()] = held_out
    return found


@pytest.mark.parametrize("reader", ["probes", "convnet", "statistics"])
def test_every_predictor_scores_an_enn_or_says_that_it_is_not_made_for_it(reader, tiny, digits) -> None:
    config = from_dotted(to_dotted(tiny) | {"enn.readers": [reader]})
    critic, recorded = fresh_critic(config, digits), made_up(config, digits)
    before = {name: tensor.clone() for name, tensor in critic.state_dict().items()}
    names = [name for name in PREDICTORS if name != "enn"]
    found = predicted(config, critic, recorded, names)
    assert list(found) == names and sum(math.isfinite(value) for value in found.values()) >= 14
    for one, other in zip(points(config, recorded), points(config, made_up(config, digits, 9.0)), strict=True):
        assert torch.equal(one, other), "a run that is held out was looked at"
    assert all(torch.equal(tensor, before[name]) for name, tensor in critic.state_dict().items())
    another = fresh_critic(dataclasses.replace(config, seed=3), digits)
    assert predicted(config, another, recorded, ["gradsign", "snip"]) != {name: found[name] for name in ("gradsign", "snip")}


def test_its_class_scores_are_those_of_v(tiny, digits) -> None:
    critic, recorded = fresh_critic(tiny, digits), made_up(tiny, digits)
    x, y = points(tiny, recorded)
    assert len(x) == 72 and 0.4 < float(y.double().mean()) <= 0.5  # 24 runs of three points that are no last ones
    from pipeline.targets import unflatten

    with torch.no_grad():
        told = AsClassifier(critic)(x).softmax(1)[:, 1]
        torch.testing.assert_close(told, critic.value(unflatten(x[:, :-1], critic.home.target.shapes), x[:, -1]))
