"""The benchmark of a GPU, tried on the CPU: alone with torch, numpy and jaxtyping; differences fail it; time and memory end."""

import itertools
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.equality import Case, difference
from pipeline.enn.readers import READERS
from pipeline.targets import ACTIVATIONS
from pipeline.targets.optimisers import OPTIMISERS

ROOT = Path(__file__).parents[1]
BARE = """
import runpy, sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__")
"""
ABSENT = (
    "ray", "mlflow", "tyro", "rich", "yaml", "scipy", "sklearn", "captum", "optuna", "pyarrow", "psutil", "safetensors",
    "matplotlib", "gymnasium", "torchvision", "pandas", "beartype",
)  # fmt: skip


def no_number(name: str) -> float:
    raise AssertionError(f"{name} is not JSON")


def test_it_needs_torch_numpy_and_jaxtyping_alone(tmp_path):
    output = tmp_path / "gpu.json"
    command = [sys.executable, "-c", f"ABSENT = {ABSENT}\n{BARE}", "benchmarks.gpu"]
    done = subprocess.run(
        [*command, "--device", "cpu", "--quick", "--output", str(output)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(output.read_text(), parse_constant=no_number)
    assert report["finished"] and report["unequal"] == [] and report["aims"] == [] and not report["skipped"]
    names = [row["case"] for row in report["equality"]]
    for word in (*ACTIVATIONS, *READERS, *OPTIMISERS, "tangent", "instruction", "fine-tuning", "last targets = first"):
        assert any(word in name for name in names), word
    assert {row["dtype"] for row in report["equality"]} == {"float64", "float32", "bfloat16"}
    for cell in report["cells"][:4]:
        assert {gpu.LOOP, gpu.VMAP, gpu.POPULATION, *gpu.INSTRUCTED.values()} <= cell["contestants"].keys()
    assert f"population over {gpu.COMPILED}" in report["cells"][3]["ratios"]
    assert "torch" in report and "commit" in report and report["matrix_tflops"]["float32"] > 0


def test_a_difference_is_seen_in_any_member():
    one = torch.ones(5, dtype=torch.float64)
    assert difference([one, one], [one, one]) == 0
    assert difference([one, 1.01 * one], [one, one]) == pytest.approx(0.01)
    for found, expected in (([one * torch.nan], [one]), ([one], [one * 0]), ([], [])):
        assert difference(found, expected) == float("inf")


def run(monkeypatch, tmp_path, *options):
    monkeypatch.setattr(gpu.Speed, "measure", lambda self: None)
    before = signal.getsignal(signal.SIGALRM)
    code = gpu.main(["--device", "cpu", "--quick", "--output", str(tmp_path / "gpu.json"), *options])
    assert signal.getsignal(signal.SIGALRM) is before and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    return code, json.loads((tmp_path / "gpu.json").read_text(), parse_constant=no_number)


@pytest.mark.parametrize(("factor", "code"), [(1.0, 0), (1.001, 1), (float("nan"), 1)])
def test_what_differs_is_listed_and_fails(monkeypatch, tmp_path, factor, code):
    results = itertools.cycle([[torch.ones(3) * factor], [torch.ones(3)]])
    monkeypatch.setattr(gpu, "cases", lambda: [Case("this one", lambda device, dtype: next(results), (torch.float32,))])
    found, report = run(monkeypatch, tmp_path, "--seconds", "1000")
    assert found == code and [row["case"] for row in report["unequal"]] == ["this one"] * code


def test_the_time_limit_ends_it_and_what_was_found_is_kept(monkeypatch, tmp_path):
    code, report = run(monkeypatch, tmp_path, "--seconds", "0.001")
    assert code == 1 and not report["finished"] and "time limit" in report["skipped"][0]


def test_what_fails_is_raised_and_what_was_found_before_is_kept(monkeypatch, tmp_path):
    def fails(self):
        raise RuntimeError("the card is lost")

    monkeypatch.setattr(gpu, "cases", lambda: [Case("this one", lambda *_: [torch.ones(3)], (torch.float32,))])
    monkeypatch.setattr(gpu.Speed, "measure", fails)
    with pytest.raises(RuntimeError, match="the card is lost"):
        gpu.main(["--device", "cpu", "--quick", "--seconds", "1000", "--output", str(tmp_path / "gpu.json")])
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert [row["case"] for row in report["equality"]] == ["this one"] and not report["finished"]
    assert "the card is lost" in report["skipped"][0]


@pytest.mark.parametrize("when", ["made", "run"])
def test_what_does_not_fit_into_memory_is_left_out(monkeypatch, when):
    calls = itertools.count()

    def runs(steps):
        if next(calls) == 2:  # after warming up and sizing, beside the others
            raise torch.OutOfMemoryError("none left")

    def factory(setting, members, device):
        if when == "made":
            raise torch.OutOfMemoryError("none left")
        return runs

    speed = gpu.Speed("cpu", gpu.Effort((2,), (), 2, 0.0, 0), True, gpu.Clock(1e6))
    speed.contestants = {"greedy": factory, gpu.POPULATION: gpu.population()}
    monkeypatch.setattr(gpu, "SETTINGS", gpu.SETTINGS[:1])
    speed.measure()
    assert [cell["contestants"].keys() for cell in speed.cells] == [{gpu.POPULATION}]
    assert len(speed.skipped) == 1 and "greedy: out of memory" in speed.skipped[0]


def test_without_a_gpu_it_says_what_to_do(capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SystemExit) as end:
        gpu.main([])
    assert end.value.code == 2 and "--device cpu" in capsys.readouterr().err
    quick = gpu.arguments(["--quick"])
    assert quick.device == "cpu" and quick.output.parent != gpu.OUTPUT.parent, "a try would stand among the results"


def test_aims_are_judged_by_the_cells_they_name():
    def cell(setting, members, ratio, share):
        rows = {gpu.POPULATION: {"share_of_float32_rate": share}}
        return {"setting": setting, "members": members, "ratios": {"population over loop": ratio}, "contestants": rows}

    found = gpu.aims([cell("digits", 256, 60.0, 0.1), cell("mnist", 256, 40.0, 0.9), cell("digits", 1024, 9.0, 0.4)])
    verdicts = {(row["aim"], row["setting"]): row["met"] for row in found}
    assert verdicts == {
        ("population over loop", "digits"): True,
        ("population over loop", "mnist"): False,
        ("share of the float32 rate", "digits"): True,
        ("share of the float32 rate", "mnist"): None,
    }


def test_products_of_a_step_are_counted():
    digits = gpu.SETTINGS[0]
    assert digits.flop == 2 * 32 * (2 * (64 * 32 + 32 * 10) + 32 * 10)


@pytest.mark.parametrize(("error", "unequal"), [(torch.OutOfMemoryError("none left"), 0), (RuntimeError("batch too large"), 1)])
def test_p_doubles_until_memory_ends_and_another_end_is_a_failure(monkeypatch, error, unequal):
    def until(members, factory):
        def limited(setting, asked, device):
            if asked > members:
                raise error
            return factory(setting, asked, device)

        return limited

    monkeypatch.setattr(gpu, "SETTINGS", gpu.SETTINGS[:1])
    speed = gpu.Speed("cpu", gpu.Effort((4,), (), 2, 0.0, 20), True, gpu.Clock(1e6))
    speed.contestants = {
        gpu.POPULATION: until(20, gpu.population()),
        gpu.SHARED: until(4, gpu.population(shared=True)),
        gpu.VMAP: until(8, gpu.vmap()),
    }
    if unequal:  # what is not ours may fail in its own way
        speed.contestants |= {gpu.SHARED: until(4096, gpu.population(shared=True)), gpu.VMAP: until(4, gpu.vmap())}
        speed.effort = gpu.Effort((4,), (), 2, 0.0, 3)
    speed.measure()
    reached = {name: max(c["members"] for c in speed.cells if name in c["contestants"]) for name in speed.contestants}
    assert reached[gpu.POPULATION] == 16 and reached[gpu.VMAP] == (4 if unequal else 8)
    assert any(f"P = 32, {gpu.POPULATION}: " in line for line in speed.skipped)
    assert [row["equal"] for row in speed.repeats] == [True, True] + [False] * unequal
    assert len(speed.skipped) == 3 - unequal, "what ended was tried again"


def test_repeats_that_differ_are_seen(monkeypatch):
    trained = gpu.population()(gpu.SETTINGS[0], 8, "cpu")(1)
    speed = gpu.Speed("cpu", gpu.QUICK, True, gpu.Clock(1e6))
    speed._compare_repeats(gpu.SETTINGS[0], lambda steps: trained)
    trained.parameters[2][6] += 0.01
    speed._compare_repeats(gpu.SETTINGS[0], lambda steps: trained)
    assert [row["equal"] for row in speed.repeats] == [True, False]
