"""Does a GPU give the CPU's numbers, and how many targets does it train per second?

    python -m benchmarks.gpu                        # at most 8 minutes; writes benchmarks/results/gpu.json
    python -m benchmarks.gpu --device cpu --quick   # seconds, to try this file; into a temporary folder

Needs torch ≥ 2.11, numpy and jaxtyping, and nothing else of what the package needs, so that it runs on a bare GPU machine.

*Equality.* The same work is done on the CPU and on the device, in the same precision, and compared by
``‖device − CPU‖ / ‖CPU‖`` of each member's movement (or of each tensor); the largest counts. A difference above its tolerance
is listed, and the exit code is 1. Products may be summed in another order, which is worth 10⁻¹⁶, 10⁻⁷ or 4 · 10⁻³ (float64,
float32, bfloat16) a step and grows with the steps; a wrong sign, axis or factor is worth far more.

*Speed.* Target-steps per second of populations of P targets beside the usual ways of training as many: a loop over nn.Modules,
``torch.func.vmap``, and vmap under ``torch.compile``. All train with plain SGD on one given batch per target (drawing it is a
contestant of its own), in float32 with TF32 off; a number is the median over turns taken side by side. The share is that of
the rate at which the same card, in the same run, multiplies large float32 matrices. Beyond P = 1,024 only contestants without
a module per target go on, one at a time, P doubling until memory ends.

The time is limited: what the limit forbids is left out, the largest P first, and listed.
"""

import argparse
import itertools
import math
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import BEGUN
from benchmarks.contestants import LEARNING_RATE, SETTINGS, Run, Setting, loop, new_critic, stacked
from benchmarks.equality import cases, difference, judge, told
from pipeline.enn.readers import READERS
from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.instruction import Backprop, Batch, Instruct
from pipeline.instruction.loop import advance
from pipeline.results.provenance import provenance
from pipeline.targets import Batches, Population, initialise

OUTPUT = Path(__file__).resolve().parent / "results" / "gpu.json"
LIMIT = 450.0
"""seconds after which no more is measured; ending may take some more, and eight minutes are all there is"""
COMPILING = 60.0
"""seconds that one compilation may take"""


class TimeUp(BaseException):
    """The limit is reached. No Exception, so that nobody takes it for a failure of their own."""


class Clock:
    """The time limit, and lines on the screen that say what is left of it."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    @property
    def left(self) -> float:
        return BEGUN + self.limit - time.monotonic()

    def say(self, line: str) -> None:
        print(f"[{time.monotonic() - BEGUN:3.0f} s, at most {max(0.0, self.left):3.0f} s left] {line}", flush=True)

    def __enter__(self) -> "Clock":
        """From here on the end of the time raises TimeUp."""

        def ring(*_: Any) -> None:
            raise TimeUp

        self._before = signal.signal(signal.SIGALRM, ring)
        # again every second: raised in a destructor or a callback of the garbage collector, Python would only print it
        signal.setitimer(signal.ITIMER_REAL, max(0.001, self.left), 1.0)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)


# Equality -------------------------------------------------------------------------------------------------------------


def compare(device: str, clock: Clock) -> list[dict[str, Any]]:
    """Every case in each of its precisions, by itself: cuDNN's TF32, on by default, would hide an error in a convolution."""
    usual, rows = torch.backends.cudnn.allow_tf32, []
    torch.backends.cudnn.allow_tf32 = False
    try:
        for case in cases():
            rows += [judge(case, dtype, device) for dtype in case.dtypes]
    finally:
        torch.backends.cudnn.allow_tf32 = usual
    for dtype, of_dtype in itertools.groupby(sorted(rows, key=lambda row: row["dtype"]), lambda row: row["dtype"]):
        own = list(of_dtype)
        worst = max(own, key=lambda row: math.inf if row["difference"] is None else row["difference"])
        clock.say(f"{dtype}: {sum(row['equal'] for row in own)} of {len(own)} cases equal; worst {told(worst)}")
    for row in rows:
        if not row["equal"]:
            clock.say(f"NOT EQUAL: {told(row)}")
    return rows


# Speed ----------------------------------------------------------------------------------------------------------------


def drawn(members: int) -> int:
    """So many targets are drawn; the others repeat them, which costs nothing and lets the repeats be compared."""
    return min(256, max(1, members // 2))


def repeated(tensor: Tensor, members: int) -> Tensor:
    """``tensor`` (fewer, …) as (members, …)."""
    return tensor.repeat(math.ceil(members / len(tensor)), *[1] * (tensor.dim() - 1))[:members]


def start(setting: Setting, members: int, device: str) -> list[Tensor]:
    different = initialise(setting.target, "he", range(drawn(members)), device=device)
    return [repeated(tensor, members) for tensor in different]


def batch(setting: Setting, members: int, device: str) -> tuple[Tensor, Tensor]:
    """A batch per target; speed does not depend on the numbers."""
    generator, own = torch.Generator().manual_seed(0), drawn(members)
    x = torch.rand(own, setting.batch_size, setting.widths[0], generator=generator)
    y = torch.randint(setting.widths[-1], (own, setting.batch_size), generator=generator)
    return repeated(x.to(device), members), repeated(y.to(device), members)


def loop_over_modules(setting: Setting, members: int, device: str) -> Run:
    given = batch(setting, members, device)
    return loop(setting.target, start(setting, members, device), lambda _: given)


def vmap(compiler: str | None = None) -> Callable[[Setting, int, str], Run]:
    def factory(setting: Setting, members: int, device: str) -> Run:
        given = batch(setting, members, device)
        return stacked(setting.target, start(setting, members, device), lambda _: given, compiler)

    return factory


def population(shared: bool = False, tf32: bool = False) -> Callable[[Setting, int, str], Run]:
    def factory(setting: Setting, members: int, device: str) -> Run:
        x, y = batch(setting, 1 if shared else members, device)
        x, y = (x[0], y[0]) if shared else (x, y)
        trained = Population(setting.target, start(setting, members, device), learning_rate=LEARNING_RATE)

        def run(steps: int) -> Population:
            with precision("high" if tf32 else "highest"):
                for _ in range(steps):
                    trained.apply(trained.grads(x, y))
            return trained

        return run

    return factory


def population_drawing(setting: Setting, members: int, device: str) -> Run:
    """The population with an order of the data per target, drawn as in a real run."""
    x, y = (tensor.flatten(0, 1)[:2000] for tensor in batch(setting, 64, device))
    batches = Batches(x, y, setting.batch_size, range(members), False)
    trained = Population(setting.target, start(setting, members, device), learning_rate=LEARNING_RATE)
    return lambda steps: advance(trained, Backprop(), None, batches, steps)


def population_instructed(reader: str) -> Callable[[Setting, int, str], Run]:
    """Every target instructed by an untrained ENN as the preset describes it: reading costs the same as for a trained one."""

    def factory(setting: Setting, members: int, device: str) -> Run:
        x, y = batch(setting, members, device)
        critic = new_critic(setting, reader, device).with_strength(1.0)
        trained = Population(setting.target, start(setting, members, device), learning_rate=LEARNING_RATE)
        rule = Instruct(critic, setting.config.training.steps, LEARNING_RATE)
        state = rule.init(trained)

        def run(steps: int) -> None:
            for _ in range(steps):
                trained.apply(rule.update(trained, Batch(x, y), state))

        return run

    return factory


LOOP, VMAP, COMPILED, POPULATION, SHARED = "loop", "vmap", "compiled vmap", "population", "population, one batch for all"
TF32, DRAWING = "population, TF32", "population, drawing its batches"
INSTRUCTED = {reader: f"population, instructed by {reader}" for reader in READERS}


def contestants(device: str, quick: bool) -> dict[str, Callable[[Setting, int, str], Run]]:
    return {
        LOOP: loop_over_modules,
        VMAP: vmap(),
        COMPILED: vmap("aot_eager" if quick else "inductor"),
        POPULATION: population(),
        SHARED: population(shared=True),
        **({TF32: population(tf32=True)} if device == "cuda" else {}),
        DRAWING: population_drawing,
        **{name: population_instructed(reader) for reader, name in INSTRUCTED.items()},
    }


class precision:
    """Of float32 matrix products: highest, or high (TF32)."""

    def __init__(self, name: str) -> None:
        self.name, self.before = name, torch.get_float32_matmul_precision()

    def __enter__(self) -> None:
        torch.set_float32_matmul_precision(self.name)

    def __exit__(self, *_: object) -> None:
        torch.set_float32_matmul_precision(self.before)


def timed(run: Run, steps: int, device: str) -> float:
    """Seconds per step."""
    if device != "cuda":
        begun = time.perf_counter()
        run(steps)
        return (time.perf_counter() - begun) / steps
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    first.record()
    run(steps)
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last) / 1000 / steps


def matrix_rates(device: str, quick: bool) -> dict[str, float]:
    """Tera floating point operations per second of large square products, the median of ten turns."""
    size, rates = 8192 if device == "cuda" else 256 if quick else 1024, {}
    for name, dtype, kind in (
        ("float32", torch.float32, "highest"),
        ("tf32", torch.float32, "high"),
        ("bfloat16", torch.bfloat16, "highest"),
    ):
        if name == "tf32" and device != "cuda":
            continue
        one, other = torch.randn(2, size, size, device=device, dtype=dtype)
        out = torch.empty_like(one)

        def run(steps: int, one: Tensor = one, other: Tensor = other, out: Tensor = out, kind: str = kind) -> None:
            with precision(kind):
                for _ in range(steps):
                    torch.mm(one, other, out=out)

        timed(run, 3, device)
        rates[name] = 2 * size**3 / statistics.median(timed(run, 5, device) for _ in range(10)) / 1e12
    return rates


@dataclass(frozen=True)
class Effort:
    """How long is measured, and up to which P."""

    members: tuple[int, ...]
    compiled: tuple[int, ...]
    """the P at which vmap is compiled: each takes a compiler's time"""
    turns: int
    seconds: float
    """per turn"""
    doublings: int
    """beyond the largest of ``members``"""


FULL = Effort((1, 4, 16, 64, 256, 1024), (16, 256, 1024), 5, 0.1, 20)
QUICK = Effort((1, 4), (4,), 2, 0.002, 1)


class Speed:
    """The cells (setting, P) that were measured, and what was left out."""

    def __init__(self, device: str, effort: Effort, quick: bool, clock: Clock) -> None:
        self.device, self.effort, self.clock = device, effort, clock
        self.contestants = contestants(device, quick)
        self.cells: list[dict[str, Any]] = []
        self.skipped: list[str] = []
        self.rates: dict[str, float] = {}
        self.repeats: list[dict[str, Any]] = []
        self._quick, self._cost = quick, {setting.name: 0.0 for setting in SETTINGS}

    def measure(self) -> None:
        self.rates = matrix_rates(self.device, self._quick)
        self.clock.say("matrix products: " + ", ".join(f"{name} {rate:.2f} TFLOP/s" for name, rate in self.rates.items()))
        for members, setting in itertools.product(self.effort.members, SETTINGS):
            if self._too_dear(setting, members):
                continue
            names = [name for name in self.contestants if name != COMPILED or self._compiles(setting, members)]
            begun = self._begin()
            self._cell(setting, members, names)
            self._cost[setting.name] = time.monotonic() - begun
        self._double()

    def _begin(self) -> float:
        """With empty memory; the time."""
        if self.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        return time.monotonic()

    def _too_dear(self, setting: Setting, members: int) -> bool:
        """A cell is taken to cost at most twice as much as the one before."""
        if 2 * self._cost[setting.name] < self.clock.left - 10:
            return False
        self.skip(f"{setting.name}, P = {members:,}: no time left")
        return True

    def _compiles(self, setting: Setting, members: int) -> bool:
        there = members in self.effort.compiled
        if there and 2 * self._cost[setting.name] + COMPILING > self.clock.left - 10 and not self._quick:
            self.skip(f"{setting.name}, P = {members:,}, {COMPILED}: no time left")
            return False
        return there

    def skip(self, line: str) -> None:
        self.skipped.append(line)
        self.clock.say(f"left out: {line}")

    def _cell(self, setting: Setting, members: int, names: Sequence[str]) -> None:
        """Contestants take turns, so that a drift of the machine hits all alike."""
        ready = {name: self._ready(setting, members, name) for name in names}
        runs = {name: run for name, run in ready.items() if run is not None}
        turns: dict[str, list[float]] = {name: [] for name in runs}
        for _, (name, (run, steps)) in itertools.product(range(self.effort.turns), runs.items()):
            if name not in turns:
                continue
            try:
                turns[name].append(timed(run, steps, self.device))
            except Exception as error:  # out of memory beside the others, perhaps
                self._ended(setting, members, name, error)
                del turns[name]
        self._keep(setting, members, turns)

    def _ready(self, setting: Setting, members: int, name: str) -> tuple[Run, int] | None:
        """A contestant, warm, and its steps per turn; None where it does not fit into memory, or does not run at all."""
        try:
            run = self.contestants[name](setting, members, self.device)
            timed(run, 2, self.device)
            return run, max(1, round(self.effort.seconds / timed(run, 2, self.device)))
        except Exception as error:
            self._ended(setting, members, name, error)
        return None

    def _ended(self, setting: Setting, members: int, name: str, error: Exception) -> None:
        """A contestant that does not fit is left out. So is one that fails; a population that fails is a failure of ours."""
        memory = isinstance(error, torch.OutOfMemoryError)
        self.skip(f"{setting.name}, P = {members:,}, {name}: {'out of memory' if memory else _in_short(error)}")
        if not memory and name.startswith(POPULATION):
            traceback.print_exception(error)
            self._unlike(f"{name} runs, {setting.name}, P = {members:,}", math.inf)

    def _keep(self, setting: Setting, members: int, turns: dict[str, list[float]]) -> None:
        rows = {}
        for name, seconds in turns.items():
            speed = members / statistics.median(seconds)
            rows[name] = {
                "target_steps_per_second": speed,
                "seconds_per_step": seconds,
                "share_of_float32_rate": speed * setting.flop / (self.rates["float32"] * 1e12),
            }
            if name == TF32:
                rows[name]["share_of_tf32_rate"] = speed * setting.flop / (self.rates["tf32"] * 1e12)
        cell = {"setting": setting.name, "members": members, "contestants": rows, "ratios": ratios(turns)}
        if self.device == "cuda":
            cell["peak_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
        self.cells.append(cell)
        name = POPULATION if POPULATION in rows else next(iter(rows), None)
        if name is not None:
            pairs = [(pair.partition(" over ")[2], value) for pair, value in cell["ratios"].items()]
            times = "".join(f", {value:.3g} × {slower}" for slower, value in pairs if slower)
            self.clock.say(
                f"{setting.name}, P = {members:,}, {name}: {rows[name]['target_steps_per_second']:,.0f} target-steps/s, "
                f"{rows[name]['share_of_float32_rate']:.1%} of the float32 rate{times}"
            )

    # -- up to the memory limit ----------------------------------------------------------------------------------------

    def _double(self) -> None:
        members, fit = self.effort.members[-1], {setting: [POPULATION, SHARED, VMAP] for setting in SETTINGS}
        self._cost = dict.fromkeys(self._cost, 0.0)  # the cells before held more, and a compiler's time
        for _ in range(self.effort.doublings):
            members *= 2
            for setting in list(fit):
                if self._too_dear(setting, members):
                    del fit[setting]
                    continue
                begun = time.monotonic()
                fit[setting] = [name for name in fit[setting] if self._alone(setting, members, name)]
                self._cost[setting.name] = time.monotonic() - begun
            fit = {setting: names for setting, names in fit.items() if names}

    def _alone(self, setting: Setting, members: int, name: str) -> bool:
        """One contestant with the device to itself; whether it fitted."""
        try:
            self._begin()
            ready = self._ready(setting, members, name)
            if ready is None:
                return False
            run, steps = ready
            self._keep(setting, members, {name: [timed(run, steps, self.device) for _ in range(min(3, self.effort.turns))]})
            if name == POPULATION:
                self._compare_repeats(setting, run)
            return True
        except Exception as error:
            self._ended(setting, members, name, error)
        return False

    def _compare_repeats(self, setting: Setting, run: Run) -> None:
        """The last targets repeat the first: they differ where an index overflows."""
        trained = run(1)
        assert isinstance(trained, Population)
        own = drawn(trained.members)
        pairs = [(tensor[-own:], tensor[:own]) for tensor in trained.parameters]
        apart = difference(*zip(*pairs, strict=True))
        self._unlike(f"last targets = first, {setting.name}, P = {trained.members:,}", apart)

    def _unlike(self, case: str, apart: float) -> None:
        row = {"case": case, "dtype": "float32", "difference": apart if math.isfinite(apart) else None}
        self.repeats.append(row | {"tolerance": 1e-5, "equal": apart <= 1e-5})
        if apart > 1e-5:
            self.clock.say(f"NOT EQUAL: {told(self.repeats[-1])}")


def _in_short(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"


def ratios(turns: dict[str, list[float]]) -> dict[str, float]:
    """Medians, over turns taken side by side, of how many times as fast the population is, and of what instruction costs."""
    pairs = {f"population over {name}": (name, POPULATION) for name in (LOOP, VMAP, COMPILED)}
    pairs |= {f"{name} takes times the population's time": (name, POPULATION) for name in (DRAWING, *INSTRUCTED.values())}
    return {
        name: statistics.median(a / b for a, b in zip(turns[above], turns[below], strict=True))
        for name, (above, below) in pairs.items()
        if above in turns and below in turns
    }


AIMS = (
    ("population over loop", 256, 50.0),
    ("share of the float32 rate", 1024, 0.3),
)


def aims(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was to be reached, with "met": true, false, or null where it was not measured."""
    rows = []
    for (name, members, least), setting in itertools.product(AIMS, SETTINGS):
        own = [cell for cell in cells if (cell["setting"], cell["members"]) == (setting.name, members)]
        value = None
        if own and name in own[0]["ratios"]:
            value = own[0]["ratios"][name]
        elif own and name.startswith("share") and POPULATION in own[0]["contestants"]:
            value = own[0]["contestants"][POPULATION]["share_of_float32_rate"]
        rows.append({"aim": name, "setting": setting.name, "members": members, "at_least": least, "found": value})
        rows[-1]["met"] = None if value is None else value >= least
    return rows


# The whole ------------------------------------------------------------------------------------------------------------


def describe(device: str) -> dict[str, Any]:
    """The device and what decides the precision of its products."""
    facts: dict[str, Any] = {"device": device, "torch_threads": torch.get_num_threads()}
    facts["precision"] = f"float32, matrix products {torch.get_float32_matmul_precision()} (TF32 off)"
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        facts |= {"gpu": properties.name, "gpu_memory_gib": round(properties.total_memory / 2**30, 1), "driver": driver()}
        facts |= {"cuda": torch.version.cuda or torch.version.hip, "cudnn": torch.backends.cudnn.version()}
    return facts


def driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="seconds, on the CPU where there is no GPU; results go to a temporary folder"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda; with --quick, cpu where there is no GPU")
    parser.add_argument("--seconds", type=float, default=LIMIT, help=f"limit on the whole (default: {LIMIT:.0f})")
    parser.add_argument("--output", type=Path, help=f"where the JSON goes (default: {OUTPUT.name} in benchmarks/results)")
    options = parser.parse_args(given)
    there = torch.cuda.is_available()
    options.device = options.device or ("cuda" if there or not options.quick else "cpu")
    if options.device == "cuda" and not there:
        parser.error("no GPU is available here; give --device cpu to measure this machine's processor")
    if not options.seconds > 0:
        parser.error("--seconds is a time above 0")
    if options.output is None and options.quick:
        options.output = Path(tempfile.mkdtemp(prefix="grad-instructor-quick-")) / OUTPUT.name
    if options.output is None and options.device == "cuda":
        options.output = OUTPUT
    return options


def main(given: Sequence[str] | None = None) -> int:
    options = arguments(given)
    clock, device = Clock(options.seconds), options.device
    if device == "cpu":
        torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    report = provenance(" ".join(["python", "-m", "benchmarks.gpu", *sys.argv[1:]]), 0) | describe(device)
    clock.say(", ".join(str(report[key]) for key in ("gpu", "device", "torch", "driver", "precision") if key in report))
    speed = Speed(device, QUICK if options.quick else FULL, options.quick, clock)
    rows: list[dict[str, Any]] = []
    finished, failure = False, None
    try:
        with clock:
            rows += compare(device, clock)
            speed.measure()
        finished = True
    except TimeUp:
        speed.skip("all that would have followed: the time limit was reached")
    except Exception as error:  # raised again below, when what was found is written
        failure = error
        speed.skip(f"all that would have followed: {_in_short(error)}")
    rows += speed.repeats
    unequal = [row for row in rows if not row["equal"]]
    report |= {"quick": options.quick, "finished": finished, "seconds": time.monotonic() - BEGUN}
    report |= {"matrix_tflops": speed.rates, "aims": aims(speed.cells) if device == "cuda" else [], "skipped": speed.skipped}
    report |= {"unequal": unequal, "equality": rows, "cells": speed.cells}
    for aim in report["aims"]:
        verdict = {None: "not measured", True: "met", False: "missed"}[aim["met"]]
        found = "" if aim["found"] is None else f": {aim['found']:.3g}"
        clock.say(f"aim, {aim['setting']}, P = {aim['members']:,}, {aim['aim']} ≥ {aim['at_least']:g}{found}, {verdict}")
    clock.say(f"equality: {len(rows) - len(unequal)} of {len(rows)} within tolerance")
    if options.output is not None:
        try:
            write_json(options.output, report)
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
        clock.say(f"written to {options.output}")
    if failure is not None:
        raise failure
    return 1 if unequal or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
