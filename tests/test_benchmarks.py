"""Every benchmark, with --quick, in a process of its own and without data; and the cache, the marks and the notes of tables."""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import cache, edges, imports
from benchmarks.cache import Cache, Part, constants, enn_digest, made_by
from tests.support.modules import run_module

CHECKOUT = Path(__file__).resolve().parents[1]
FOLDER = CHECKOUT / "benchmarks"
SLOW = {
    "benchmarks.decoupled": "it starts a Ray of its own three times",
    "benchmarks.pblf": "it searches as the tests of searches do, and trains what it found in four ways",
    "benchmarks.paper": "it runs the program to its end, as benchmarks.main_job does",
    "benchmarks.predicted_enn": "it searches as benchmarks.search does",
    "benchmarks.scaling": "it starts Ray's workers a dozen times",
    "tests.support.faults": "it runs the program to its end five times",
}
COMMANDS = sorted(
    ".".join(path.relative_to(CHECKOUT).with_suffix("").parts)
    for path in [*FOLDER.glob("*.py"), *(CHECKOUT / "tests" / "support").glob("*.py")]
    if '__name__ == "__main__"' in path.read_text()
)
TOO_LONG = 1800.0
"""seconds after which a benchmark hangs, on however busy a machine"""


def committed() -> dict[str, str]:
    """What a quick run must leave alone: the results, the README, and the ENNs of the package."""
    files = [*(FOLDER / "results").iterdir(), CHECKOUT / "README.md", *(CHECKOUT / "pipeline/enn/shipped").iterdir()]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def run_quickly(module: str, folder: Path) -> str:
    """What a benchmark printed; it must end well. Its temporary files are in ``folder``, and no data set can be found."""
    nothing = folder / "nothing"
    nothing.mkdir()
    environment = os.environ | {"TMPDIR": str(folder), "GRAD_INSTRUCTOR_DATA": str(nothing), "OMP_NUM_THREADS": "1"}
    environment |= {"PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(folder)])}
    environment.pop("RAY_AUTH_TOKEN_PATH", None)  # it has to think of a token itself
    environment.pop("RAY_AUTH_MODE", None)
    output = folder / "output"
    status = run_module(module, ["--quick"], nothing, environment, output, TOO_LONG)
    printed = output.read_text()
    if status == 2 and "cannot be imported; install with" in printed:
        pytest.skip(printed.strip())
    assert status == 0, printed[-6000:]
    assert not list(nothing.iterdir()), "something was left in the folder that it was started in"
    return printed


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short name, which Ray's sockets need."""
    folder = Path(tempfile.mkdtemp(prefix="quick-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in COMMANDS])
def test_quick(name, short) -> None:
    before, runs = committed(), set((CHECKOUT / "runs").glob("*"))
    printed = run_quickly(name, short)
    assert "Traceback" not in printed
    assert committed() == before and set((CHECKOUT / "runs").glob("*")) == runs
    (results,) = short.glob("grad-instructor-quick-*")
    written = [path for path in results.iterdir() if path.is_file()]
    assert written, "it wrote no result"
    assert all(json.loads(path.read_text()) for path in written if path.suffix == ".json")


def test_a_benchmark_without_quick_is_noticed(short) -> None:
    (short / "new.py").write_text('import argparse\nif __name__ == "__main__":\n    argparse.ArgumentParser().parse_args()\n')
    with pytest.raises(AssertionError, match="--quick"):
        run_quickly("new", short)


def test_the_slow_ones_are_few() -> None:
    assert set(SLOW) < set(COMMANDS) and len(SLOW) <= 6


# -- the cache ---------------------------------------------------------------------------------------------------------

SEEDS, RATES = 3, (0.1, 0.3)
HERE = {"SEEDS": SEEDS, "RATES": RATES, "RESULTS": FOLDER, "sys": sys, "run_quickly": run_quickly}
FACTS = {"commit": "abc", "torch": "2.15.0", "numpy": "2.4.6"}


@pytest.fixture
def counted(tmp_path):
    """``counted(name, cache=…, names=…, **decides)``: the part's value, and how often something was computed so far."""
    computed = []

    def compute():
        computed.append(len(computed))
        return {"number": computed[-1]}

    def part(names=None, facts=None, file=edges.__file__, common=None, **decides):
        found = Cache.of(file, names or HERE, tmp_path, FACTS | (facts or {}), **(common or {"data": "d1"}))
        return found.part("a row", compute, **decides), len(computed)

    return part


def test_the_same_is_read_with_its_own_commit(counted) -> None:
    first, _ = counted(task={"name": "home", "widths": (1, 2)})
    again, count = counted(facts={"commit": "def"}, task={"widths": [1, 2], "name": "home"})
    assert count == 1 and again == first and again.provenance["commit"] == "abc"


CHANGES = {
    "ENN": {"enn": "e2"},
    "seeds": {"enn": "e1", "seeds": 4},
    "data": {"common": {"data": "d2"}, "enn": "e1"},
    "constant": {"names": HERE | {"SEEDS": 4}, "enn": "e1"},
    "reordered constants": {"names": HERE | {"RATES": RATES[::-1]}, "enn": "e1"},
    "new constant": {"names": HERE | {"FACTOR": 2.0}, "enn": "e1"},
    "version of torch": {"facts": {"torch": "2.16.0"}, "enn": "e1"},
    "code": {"file": sys.modules["benchmarks.cache"].__file__, "enn": "e1"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_anything_that_decides_the_numbers_is_computed_for_itself(counted, change) -> None:
    first, _ = counted(enn="e1")
    other, count = counted(**CHANGES[change])
    assert count == 2 and other.value != first.value
    assert counted(enn="e1") == (first, 2), "and what was there is still there"


def test_what_decides_no_number_loses_nothing(counted) -> None:
    first, _ = counted(enn="e1")
    names = HERE | {"RESULTS": CHECKOUT, "helper": 3, "sys": None}
    assert counted(names=names, facts={"commit": "def", "date": "today"}, enn="e1") == (first, 1)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"value": 3}', "null"])
def test_a_damaged_part_is_computed_again(counted, tmp_path, damage) -> None:
    counted(enn="e1")
    (file,) = tmp_path.glob("*.json")
    file.write_text(damage)
    part, count = counted(enn="e1")
    assert count == 2 and part.value == {"number": 1}


def test_a_part_under_anothers_name_is_not_believed(counted, tmp_path) -> None:
    counted(enn="e1")
    (one,) = tmp_path.glob("*.json")
    counted(enn="e2")
    (other,) = set(tmp_path.glob("*.json")) - {one}
    shutil.copyfile(other, one)
    part, count = counted(enn="e1")
    assert count == 3 and part.value == {"number": 2}


def test_a_killed_benchmark_goes_on(tmp_path) -> None:
    def killed():
        raise KeyboardInterrupt

    found = Cache(tmp_path, FACTS, {})
    found.part("first", lambda: 1)
    with pytest.raises(KeyboardInterrupt):
        found.part("second", killed)
    assert found.part("first", killed).value == 1 and found.part("second", lambda: 2).value == 2
    assert len(list(tmp_path.iterdir())) == 2, "nothing half is left"


def test_a_place_is_another_for_what_differs(tmp_path) -> None:
    found = Cache(tmp_path, FACTS, {})
    assert found.place("enn", seed=1) == found.place("enn", seed=1) != found.place("enn", seed=2)
    assert json.loads((found.place("enn", seed=1) / "decided-by.json").read_text()) == {"seed": 1}


def test_a_change_of_any_source_is_noticed(tmp_path, monkeypatch) -> None:
    for folder in ("pipeline", "rl"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.py").write_text("x = 1\n")
    monkeypatch.setattr(cache, "ROOT", tmp_path)
    before = cache.code_digest()
    (tmp_path / "README.md").write_text("said otherwise")
    assert cache.code_digest() == before
    for file in ("pipeline/one.py", "rl/one.py"):
        (tmp_path / file).write_text("x = 2\n")
        assert cache.code_digest() != before
        (tmp_path / file).write_text("x = 1\n")
    assert cache.code_digest() == before != cache.code_digest(tmp_path / "pipeline" / "one.py")


IMPORTED = {
    "benchmarks/one.py": '"""Shown: from pipeline import shown"""\n'
    "def run():\n    from pipeline.used import (  # of (\n        late,\n    )\n",
    "benchmarks/__init__.py": "",
    "pipeline/__init__.py": "",
    "pipeline/used.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pipeline import typed\n\n"
    "late = 'rl.named:make'\n",
    "rl/__init__.py": "",
    "rl/named.py": "import pipeline.registry as registry, math\nSETTINGS = {'rl.rounds': 2}\n",
    "pipeline/registry/__init__.py": "from pipeline.names import registered\nALL = registered(('entry',), __name__, 'ENTRY')\n",
    "pipeline/registry/entry.py": "if True: from pipeline import entered\n",
    "pipeline/entered.py": "",
    "pipeline/names.py": "def registered(names, package, attribute):\n    return import_module(f'{package}.{name}')\n",
}
UNUSED = ("pipeline/shown.py", "pipeline/typed.py", "rl/rounds.py", "pipeline/results.py")


def test_the_code_that_a_benchmark_imports_counts_and_no_other(tmp_path, monkeypatch) -> None:
    for file, text in IMPORTED.items() | dict.fromkeys(UNUSED, "").items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    monkeypatch.setattr(cache, "ROOT", tmp_path)
    one = tmp_path / "benchmarks" / "one.py"
    before = cache.code_digest(one)
    assert len(imports.needed(one, tmp_path)) == len(IMPORTED)
    for file in [*IMPORTED, *UNUSED]:
        text = (tmp_path / file).read_text()
        (tmp_path / file).write_text(f"{text}x = 2\n")
        assert (cache.code_digest(one) != before) == (file in IMPORTED), file
        (tmp_path / file).write_text(text)
    (tmp_path / "pipeline" / "other.py").touch()
    assert cache.code_digest(one) == before
    (tmp_path / "pipeline" / "registry" / "other.py").touch()
    assert cache.code_digest(one) != before, "a registry's new entry"


def test_a_view_in_mlflow_loses_no_benchmark_that_does_not_use_it() -> None:
    for name in ("rules", "evolution"):
        needed = imports.needed(CHECKOUT / "benchmarks" / f"{name}.py", CHECKOUT)
        assert {f"benchmarks.{name}", "benchmarks.cache", "pipeline.learning.fa", "pipeline.targets.mlp"} <= needed.keys()
        assert not [module for module in needed if module.startswith(("pipeline.results.mlflow", "pipeline.command_line"))]
    assert "pipeline.results.mlflow.mirror" in imports.needed(CHECKOUT / "benchmarks" / "baselines.py", CHECKOUT)


def test_an_enn_is_known_by_its_weights(tmp_path) -> None:
    from pipeline.enn import load_critic, save_critic

    critic, file = load_critic("mnist-mlp"), tmp_path / "enn.safetensors"
    save_critic(critic, file, {"card": "one"})
    first = enn_digest(file)
    save_critic(critic, file, {"card": "another"})
    assert enn_digest(file) == first == enn_digest("mnist-mlp")
    critic.load_state_dict({name: tensor + 1e-3 * ("bias" in name) for name, tensor in critic.state_dict().items()})
    save_critic(critic, file, {"card": "another"})
    assert len({first, enn_digest(file), enn_digest("mnist-tuned")}) == 3


def test_constants_are_those_in_capitals() -> None:
    found = constants(HERE | {"Upper": 1, "WHEN": slice(1, 5), "MAKE": {"a": (sorted, (1, 2))}, "T": object()})
    assert found["SEEDS"] == 3 and found["RATES"] == [0.1, 0.3] and found["WHEN"] == [1, 5, None]
    assert found["MAKE"] == {"a": ["sorted", [1, 2]]} and not {"Upper", "RESULTS", "T"} & set(found)


def test_each_enn_has_its_own_rows_of_transfer(tmp_path, monkeypatch) -> None:
    """What was found: the rows of one ENN were written as those of another."""
    from benchmarks import transfer
    from benchmarks.quick import stand_in
    from pipeline.enn import load_critic, save_critic

    monkeypatch.setattr(transfer, "run", lambda task, critic, name, dataset, count: [{"enn": name, "task": task.name}])
    other = load_critic("mnist-mlp")  # of the same home, hence told apart by its weights alone
    other.load_state_dict({name: tensor + 1e-3 * ("bias" in name) for name, tensor in other.state_dict().items()})
    save_critic(other, tmp_path / "other.safetensors", {})
    data, rows = stand_in("mnist"), {}
    for name in ("mnist-mlp", "mnist-tuned", str(tmp_path / "other.safetensors"), "mnist-mlp"):
        critic = load_critic(name)
        parts = transfer.cache_of(tmp_path, FACTS, name, critic, 2)
        rows[name] = [transfer.rows_of(parts, task, critic, name, data, 2).value[0] for task in transfer.TASKS]
    for name, own in rows.items():
        assert own == [{"enn": name, "task": task.name} for task in transfer.TASKS]
    assert transfer.command("mnist-tuned", 30) == "python -m benchmarks.transfer --enn mnist-tuned"
    assert transfer.command("mnist-mlp", 30) == "python -m benchmarks.transfer"


def test_a_variant_of_ablations_keeps_its_result_wherever_it_stands(tmp_path, monkeypatch, digits) -> None:
    from benchmarks import ablations

    all_named_alike = tuple(dataclasses.replace(variant, name="one") for variant in ablations.VARIANTS)
    place = {id(variant): number for number, variant in enumerate(all_named_alike)}

    class Unused:
        def with_strength(self, _):
            return self

    def found(variants, seeds=(0, 1)):
        monkeypatch.setattr(ablations, "VARIANTS", variants)
        study = ablations.Study(digits, Cache.of(ablations.__file__, vars(ablations), tmp_path, FACTS))
        return {(id(v), seed): study.found(v, seed).value["seconds"] for v in variants for seed in seeds}

    monkeypatch.setattr(ablations, "instruct_targets", lambda *_: [0.5] * ablations.TARGETS)
    monkeypatch.setattr(ablations.Study, "critic", lambda _, variant, seed: (Unused(), place[id(variant)] + seed / 2))
    wanted = {(key, seed): number + seed / 2 for key, number in place.items() for seed in (0, 1)}
    assert found(all_named_alike) == wanted
    assert found(all_named_alike[::-1]) == wanted
    assert found(all_named_alike[3:]).items() < wanted.items()


def test_rows_of_other_enns_are_not_kept_in_one_table(tmp_path) -> None:
    from benchmarks.baselines import kept

    rows = [{"steps": 44, "baseline": "AdamW", "enns": ["a", "b"]}, {"steps": 110, "baseline": "AdamW", "enns": ["a"]}]
    file = tmp_path / "baselines.json"
    file.write_text(json.dumps({"rows": rows}))
    assert list(kept(file, ["a", "b"])) == [(44, "AdamW")] and kept(file, ["b", "a"]) == {}
    assert kept(tmp_path / "nothing.json", ["a"]) == {}


# -- the tables --------------------------------------------------------------------------------------------------------


def test_the_edge_of_candidates() -> None:
    assert edges.at_edge(1e-5, (1e-5, 1e-4, 1e-3)) and edges.at_edge(1e-3, (1e-5, 1e-4, 1e-3))
    assert not edges.at_edge(1e-4, (1e-5, 1e-4, 1e-3)) and not edges.at_edge(1e-4, (1e-4,))
    assert edges.at_edge(0.0, (0.0, 1e-5)) and not edges.at_edge(0.0, (0.0, 1e-5), zero_is_free=True)
    assert edges.at_edge(1e-5, (0.0, 1e-5), zero_is_free=True)
    ladder = (-1.0, 1.0, 3.0, 10.0)
    assert [edges.at_edge(value, ladder) for value in ladder] == [False, True, False, True], "-1: the ENN chooses"


def test_an_arm_without_candidates_has_no_mark() -> None:
    tried = {"0": 0.9, "1e-05": 0.9}
    assert not edges.of_arm("he", None) and not edges.of_arm("l2", {"strength": 0.0, "validation_accuracy": tried})
    assert edges.of_arm("instructed", {"strength": 0.0, "validation_accuracy": tried})


def test_the_footnote_stands_where_a_mark_does() -> None:
    assert edges.noted("| 3 |") == "| 3 |"
    assert edges.noted(f"| {edges.marked('3', True)} |").endswith(edges.FOOTNOTE)


@pytest.mark.parametrize("logarithmic", [True, False])
def test_the_edge_of_a_range(logarithmic) -> None:
    ends = (1e-6, 1e-2)
    assert all(edges.in_range(end, *ends, logarithmic, "learning_rate") for end in ends)
    assert not edges.in_range(1e-4 if logarithmic else 5e-3, *ends, logarithmic, "learning_rate")


def row(commit: str, task: str) -> dict:
    found = {"difference": 0.01, "low": 0.0, "high": 0.02, "p": 0.5}
    facts = {"commit": commit * 20, "date": "2026-11-22T10:00:00", "hardware": {"cpu": "one"}}
    return {"task": task, "start": "he", "n": 2, "accuracy": {"conventional": {"mean": 0.9}}, "provenance": facts} | {
        "difference": {"guarded": found, "unguarded": found},
        "seconds": {"guarded": 1.0, "conventional": 1.0},
    }


def test_a_row_keeps_its_commit() -> None:
    """A table whose rows several commits made says which made which; the newest is not stamped on all."""
    from benchmarks import transfer

    rows = [row("aa", "one"), row("aa", "two"), row("bb", "three"), row("cc", "four")]
    results = {"command": "c", "home": {"steps": 1}, "rows": rows} | rows[-1]["provenance"]
    table = transfer.table(results)
    assert f"commit {'a' * 10})" in table and "| one |" in table and "| two |" in table
    assert "| three¹ |" in table and f"¹ made by commit {'b' * 10}" in table
    assert "| four² |" in table and f"² made by commit {'c' * 10}" in table
    same = transfer.table(results | {"rows": rows[:2]})
    assert not re.search("[¹²]", same) and "made by" not in same
    old = [{key: value for key, value in own.items() if key != "provenance"} for own in rows]
    assert f"commit {'c' * 10})" in transfer.table(results | {"rows": old}), "rows of before have the commit of their file"


def test_what_was_not_committed_is_said_to_be_so() -> None:
    from benchmarks import transfer

    rows = [row("aa", "one")]
    rows[0]["provenance"]["commit"] += "-dirty"
    assert f"commit {'a' * 10}-dirty)" in transfer.table({"command": "c", "home": {"steps": 1}, "rows": rows})


def test_a_row_of_several_parts_has_all_their_commits() -> None:
    parts = [Part(1, {"commit": "aa"}), Part(2, {"commit": "bb"}), Part(3, {"commit": "aa"})]
    assert made_by(parts) == {"commit": "aa", "commits": ["aa", "bb"]}


def test_what_is_committed_names_no_folder_of_a_machine() -> None:
    from benchmarks.commands import without_folder

    found = {
        "rows": [{"command": "grad-instructor run --output /home/me/r --seed 1", "trained": [{"command": "x --output 'a b'"}]}]
    }
    assert without_folder(found) == {"rows": [{"command": "grad-instructor run --seed 1", "trained": [{"command": "x"}]}]}
    for path in sorted((*(FOLDER / "results").glob("*.json"), *(CHECKOUT / "pipeline" / "enn" / "shipped").glob("*.json"))):
        assert "--output /" not in path.read_text(), path.name
