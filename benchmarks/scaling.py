"""What does the actor pool cost, how does it scale, and where would it saturate?

    python -m benchmarks.scaling                   # some minutes; on a GPU add --device cuda
    python -m benchmarks.scaling --parts overhead
    python -m benchmarks.scaling --quick           # every part once, as small as can be

Measured: populations on one and on two workers beside none, in alternating turns; the time that a task takes beside its work,
by batch; the driver's memory against the length of the queue; and on a GPU target-steps per second against P up to the memory
limit, beside a loop over modules and one Ray task per target. From these a cost model says where more GPUs stop helping. Writes
benchmarks/results/scaling.json where all parts ran.
"""

import argparse
import gc
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from rich.console import Console

from benchmarks import quick, tables
from pipeline.cluster import Placement, prepare_environment, run_tasks, start
from pipeline.files import read_json, write_json, write_tensors
from pipeline.results.provenance import provenance

ROOT = Path(__file__).resolve().parents[1]

REPEATS = 5
MEMBERS, STEPS, TASKS = 32, 600, 8
"""a population of the efficiency's measurement, and how many of them"""
QUEUES = (1_000, 10_000, 100_000)
BATCHES = (1, 10, 100)
GPUS = (1, 10, 100, 1000)
WIDTHS, BATCH = (784, 100, 10), 100
CALLS = 200
"""of workers, whose time is taken"""
QUICK = {"REPEATS": 2, "STEPS": 20, "TASKS": 2, "QUEUES": (200,), "BATCHES": (1, 10), "CALLS": 10}
NETWORK = 1000.0
"""megabytes per second between a worker and the driver: assumed"""


# -- what the workers do -------------------------------------------------------------------------------------------------


def nothing(task: Any, device: str) -> int:
    """A target that takes no time: its seed comes back."""
    return task


def tiny_target(task: int, device: str) -> float:
    """A target of a few dozen weights, trained for a step: its last loss."""
    generator = torch.Generator().manual_seed(task)
    weights = torch.randn(4, 8, generator=generator, requires_grad=True)
    loss = (torch.randn(2, 4, generator=generator) @ weights).square().mean()
    (gradient,) = torch.autograd.grad(loss, weights)
    return float(loss - 0.1 * gradient.square().sum())


def megabytes(task: int, device: str) -> torch.Tensor:
    """A result of so many megabytes."""
    return torch.ones(task * 250_000)


def population_seconds(task: tuple[int, int, int], device: str) -> tuple[float, float]:
    """Train a population (seed, members, steps) on random numbers: seconds of the processor, and of the wall."""
    from pipeline.targets import MLP, Population, initialise

    seed, members, steps = task
    target = MLP(WIDTHS)
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.rand(members, BATCH, WIDTHS[0], generator=generator), torch.randint(10, (members, BATCH), generator=generator)
    x, y = x.to(device), y.to(device)
    population = Population(target, initialise(target, "he", range(members), device=device), learning_rate=0.01)
    started, wall = time.thread_time(), time.perf_counter()
    for _ in range(steps):
        population.apply(population.grads(x, y))
    if device == "cuda":
        torch.cuda.synchronize()
    return time.thread_time() - started, time.perf_counter() - wall


# -- measurements --------------------------------------------------------------------------------------------------------


def efficiency(repeats: int, device: str) -> dict[str, Any]:
    """Seconds of the wall for the same populations in this process, on one worker and on two, in alternating turns.

    Cores are shared with other work, so that a turn on two workers may find less than two: the seconds of the processor that
    the populations took say how much of the wall's was theirs.
    """
    places = {"none": Placement(local=True), "1": Placement(workers=1), "2": Placement(workers=2)}
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in places}
    tasks = [(seed, MEMBERS, STEPS // 10) for seed in range(TASKS)]
    for turn, (name, place) in itertools.product(range(repeats + 1), places.items()):
        results = run_tasks(population_seconds, tasks, {}, place)
        started = time.perf_counter()
        seconds = [result for _, result in results]
        wall = time.perf_counter() - started
        if turn:  # the first one warms up
            turns[name].append({"wall": wall, "cpu": sum(cpu for cpu, _ in seconds), "work": sum(w for _, w in seconds)})
    speedup = [one["wall"] / two["wall"] for one, two in zip(turns["1"], turns["2"], strict=True)]
    return {
        "populations": TASKS,
        "members": MEMBERS,
        "turns": turns,
        "speedup_2_over_1": quartiles(speedup),
        "overlap_2": quartiles([turn["work"] / turn["wall"] for turn in turns["2"]]),
        "cores_used_2": quartiles([turn["cpu"] / turn["wall"] for turn in turns["2"]]),
        "starting_seconds": quartiles([turn["wall"] - turn["work"] for turn in turns["1"]]),
    }


def overhead(repeats: int) -> dict[str, Any]:
    """Microseconds of the wall per task that does nothing, on one worker already started, by batch."""
    rows = {batch: [] for batch in BATCHES}
    for _, batch in itertools.product(range(repeats), BATCHES):
        results, count = run_tasks(nothing, itertools.count(), {}, Placement(workers=1), batch), CALLS * batch
        for _ in range(CALLS // 10 * batch):
            next(results)
        started = time.perf_counter()
        for _ in range(count):
            next(results)
        rows[batch].append(1e6 * (time.perf_counter() - started) / count)
        results.close()  # pyright: ignore[reportAttributeAccessIssue]
    return {"microseconds_per_task": {str(batch): quartiles(values) for batch, values in rows.items()}} | carrying(repeats)


def carrying(repeats: int) -> dict[str, Any]:
    """Milliseconds per megabyte of result: from a worker on this machine to the driver, and from there into a file."""
    size, rows = 32, {"ms_per_MB_carried": [], "ms_per_MB_written": []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(repeats + 1):
            results = run_tasks(megabytes, [size] * 6, {}, Placement(workers=1))
            _, weights = next(results)  # the worker has started
            started = time.perf_counter()
            count = sum(1 for _ in results)
            carried = time.perf_counter() - started
            started = time.perf_counter()
            write_tensors(Path(folder) / "weights.safetensors", {"final": weights})
            written = time.perf_counter() - started
            if turn:
                rows["ms_per_MB_carried"].append(1000 * carried / count / size)
                rows["ms_per_MB_written"].append(1000 * written / size)
    return {name: quartiles(values) for name, values in rows.items()}


def memory() -> dict[str, Any]:
    """The driver's resident memory while so many tiny targets are trained, each queue in a process of its own."""
    rows = []
    for length in QUEUES:
        command = [sys.executable, "-m", "benchmarks.scaling", "--queue", str(length)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    return {"batch": 100, "queues": rows}


def queue(length: int) -> dict[str, Any]:
    """Train ``length`` tiny targets on one worker, keeping none: the driver's memory at first, at most, and at last.

    The tasks are made as they are drawn, and their losses summed up as they come.
    """
    start(Placement(workers=1), 0)
    process, total, seen = psutil.Process(), 0.0, []
    started = time.perf_counter()
    for done, (_, loss) in enumerate(run_tasks(tiny_target, iter(range(length)), {}, Placement(workers=1), 100), 1):
        total += loss
        if done % max(1, length // 100) == 0:
            gc.collect(0)
            seen.append(process.memory_info().rss / 2**20)
    seconds = time.perf_counter() - started
    mib = {"first_MiB": seen[0], "last_MiB": seen[-1], "peak_MiB": max(seen), "growth_MiB": max(seen) - seen[0]}
    return {"targets": length, **{k: round(v, 2) for k, v in mib.items()}, "seconds": round(seconds, 2), "mean": total / length}


def against_members(repeats: int) -> list[dict[str, Any]]:
    """On a GPU: target-steps per second by P, doubling until memory ends, beside a loop over modules and one Ray task each."""
    rows, members = [], 1
    while members <= 2**17:
        try:
            rates = [members * 50 / population_seconds((0, members, 50), "cuda")[1] for _ in range(repeats + 1)][1:]
        except torch.cuda.OutOfMemoryError:
            rows.append({"members": members, "out_of_memory": True})
            break
        row: dict[str, Any] = {"members": members, "population": quartiles(rates)}
        if members <= 64:
            row["loop over modules"] = quartiles([members * 20 / _loop(members, 20) for _ in range(repeats)])
            row["one Ray task each"] = quartiles([members * 50 / _one_task_each(members, 50) for _ in range(repeats)])
        row["memory_GiB"] = torch.cuda.max_memory_allocated() / 2**30
        rows.append(row)
        members *= 2
    return rows


def _loop(members: int, steps: int) -> float:
    modules = [
        torch.nn.Sequential(torch.nn.Linear(784, 100), torch.nn.ReLU(), torch.nn.Linear(100, 10)).cuda() for _ in range(members)
    ]
    optimisers = [torch.optim.SGD(module.parameters(), lr=0.01) for module in modules]
    x, y = torch.rand(BATCH, 784).cuda(), torch.randint(10, (BATCH,)).cuda()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _, (module, optimiser) in itertools.product(range(steps), zip(modules, optimisers, strict=True)):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(module(x), y).backward()
        optimiser.step()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def _one_task_each(members: int, steps: int) -> float:
    tasks = [(seed, 1, steps) for seed in range(members)]
    results = run_tasks(population_seconds, tasks, {}, Placement(workers=4, gpus_per_worker=0.25))
    next(results)  # workers have started
    started = time.perf_counter()
    list(results)
    return time.perf_counter() - started


# -- the model -----------------------------------------------------------------------------------------------------------


def model(measured: dict[str, Any], throughput: dict[str, Any]) -> dict[str, Any]:
    """Where more GPUs stop helping, from what was measured and from assumptions that are listed.

    The driver hands out a task, takes its result and writes it, one after the other, in ``driver`` seconds, so that it serves
    at most 1 / driver tasks per second. A GPU takes ``work`` seconds for a task. n GPUs do min(n / work, 1 / driver) tasks per
    second: they saturate at n = work / driver.
    """
    costs, steps, weights = measured["overhead"], 3850, 79_510
    call, carried, written = (
        costs["microseconds_per_task"]["1"]["median"] / 1e6,
        costs["ms_per_MB_carried"]["median"] / 1000 + 1 / NETWORK,
        costs["ms_per_MB_written"]["median"] / 1000,
    )
    cells = [row for row in throughput["measurements"] if row["contestant"] == "population" and row["setting"] == "mnist"]
    device = "cuda" if any(row["device"] == "cuda" for row in cells) else "cpu"
    best = max((row for row in cells if row["device"] == device), key=lambda row: row["target_steps_per_second"]["median"])
    rate = best["target_steps_per_second"]["median"]
    rows = []
    for speed, members, kept in itertools.product((1, 100), (16, 1024), (True, False)):
        megabytes = 4e-6 * weights * members if kept else 0.0
        work, driver = members * steps / (rate * speed), call + megabytes * (carried + written)
        rows.append(
            {"speed": speed, "members": members, "weights_kept": kept, "work_seconds": work, "driver_seconds": driver}
            | {"saturates_at": work / driver, "efficiency": {str(n): min(1.0, work / driver / n) for n in GPUS}}
        )
    assumptions = [
        f"a device does {rate:,.0f} target-steps per second times 'speed' (measured: {device}, 784-100-10, batches of 100, "
        f"P = {best['members']}, one thread)",
        f"a target takes {steps:,} steps; a task is one population; enough tasks wait for all devices",
        "one driver serves one task after another; what it costs was measured on this machine, shared with other work, with "
        "one worker, whose round trips do not overlap as those of many would: an upper bound",
        f"a result of kept weights ({4e-3 * weights:.0f} kB per target) also crosses a network of {NETWORK:,.0f} MB/s",
    ]
    return {"device": device, "target_steps_per_second": rate, "assumptions": assumptions, "rows": rows}


def quartiles(values: list[float]) -> dict[str, float]:
    """Low, median, high."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"low": low, "median": median, "high": high}


def main() -> int:
    prepare_environment()  # which Ray reads once, at import
    parser = quick.parser_of(__doc__)
    parts = ["efficiency", "overhead", "memory"]
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--repeats", type=int, help=f"default: {REPEATS}")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda also measures a GPU against P")
    parser.add_argument("--queue", type=int, help=argparse.SUPPRESS)
    options, console = parser.parse_args(), Console()
    if options.queue:
        print(json.dumps(queue(options.queue)))
        return 0
    if options.quick:
        globals().update(QUICK)
    results, repeats = quick.results_folder(options.quick), options.repeats or REPEATS
    if repeats < 2:
        parser.error("give at least 2 repeats")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device is available here")
    facts = provenance(" ".join(["python", "-m", "benchmarks.scaling", *sys.argv[1:]]), 0)
    measured: dict[str, Any] = {"memory": memory()} if "memory" in options.parts else {}
    start(Placement(workers=4, gpus_per_worker=0.25 if options.device == "cuda" else 0), 0)
    torch.set_num_threads(1)
    if "overhead" in options.parts:
        measured["overhead"] = overhead(repeats)
    if "efficiency" in options.parts:
        measured["efficiency"] = efficiency(repeats, options.device)
    if options.device == "cuda":
        measured["gpu"] = against_members(repeats)
    if "overhead" in options.parts:
        measured["model"] = model(measured, read_json(ROOT / "benchmarks" / "results" / "throughput.json"))
    console.print(measured)
    if options.parts == parts:
        write_json(results / "scaling.json", {"provenance": facts, "repeats": repeats, **measured})
    return 0


# -- its page ------------------------------------------------------------------------------------------------------------


def table(results: dict[str, Any]) -> str:
    """Memory by queue, time per task by batch, two workers against one, and the model."""
    queues, costs, two = results["memory"]["queues"], results["overhead"], results["efficiency"]
    memory = [["driver's memory at most, MiB", *(f"{row['peak_MiB']:.1f}" for row in queues)]]
    memory += [["of that grown since the first hundredth, MiB", *(f"{row['growth_MiB']:.1f}" for row in queues)]]
    batches = [f"{values['median']:,.0f} µs at {batch}" for batch, values in costs["microseconds_per_task"].items()]
    facts, model = results["provenance"], results["model"]
    said = [
        f"time per task that does nothing, by tasks per call: {', '.join(batches)}; a result costs "
        f"{costs['ms_per_MB_carried']['median']:.1f} ms per MB to the driver and {costs['ms_per_MB_written']['median']:.1f} ms "
        "per MB into a file",
        f"two workers against one: {_quartiles(two['speedup_2_over_1'])} times as fast, on {_quartiles(two['cores_used_2'])} "
        "of two cores, which other work shares (medians and quartiles)",
    ]
    many = [str(n) for n in GPUS if n > 1]
    head = ["a device, against this CPU", "targets per population", "weights kept", *(f"{int(n):,} devices" for n in many)]
    cells = []
    for row in model["rows"]:
        shares = [f"{100 * row['efficiency'][n]:.0f} %" for n in many]
        kept = "yes" if row["weights_kept"] else "no"
        cells.append([f"× {row['speed']}", f"{row['members']:,}", kept, *shares, f"{row['saturates_at']:,.0f}"])
    assumed = "Assumed: " + "; ".join(model["assumptions"]) + "."
    caption = f"`{tables.command(facts)}`: medians of {results['repeats']} alternating turns ({tables.where(facts)}). "
    caption += "No GPU was measured."
    return tables.blocks(
        tables.table(["targets in the queue", *(f"{row['targets']:,}" for row in queues)], memory),
        tables.bullets(said),
        tables.table([*head, "saturates at"], cells),
        assumed,
        caption,
    )


def _quartiles(values: dict[str, float]) -> str:
    return f"{values['median']:.2f} [{values['low']:.2f}, {values['high']:.2f}]"


def figures(results: dict[str, Any]) -> dict[str, Any]:
    queues, rows, two = results["memory"]["queues"], results["model"]["rows"], results["efficiency"]
    slow, fast = min(row["speed"] for row in rows), max(row["speed"] for row in rows)
    at = {
        (row["speed"], row["weights_kept"]): row["saturates_at"]
        for row in rows
        if row["members"] == max(r["members"] for r in rows)
    }
    return {
        "growth": tables.spread((row["growth_MiB"] for row in queues), ".1f"),
        "queues": tables.spread((row["targets"] for row in queues), ",.0f"),
        "speedup": f"{two['speedup_2_over_1']['median']:.2f}",
        "cores": f"{two['cores_used_2']['median']:.2f}",
        "fast": str(fast),
        "kept_slow": f"{at[slow, True]:,.0f}",
        "free_slow": f"{at[slow, False]:,.0f}",
        "kept_fast": f"{at[fast, True]:,.0f}",
        "free_fast": f"{at[fast, False]:,.0f}",
    }


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    return (
        f"The driver's memory grows by {own['growth']} MiB with queues of {own['queues']} targets, and two workers are "
        f"{own['speedup']} "
        f"times as fast as one on {own['cores']} of two cores. By the model one driver keeps {own['kept_slow']} devices like "
        "this CPU busy "
        f"where every target's weights come back, and {own['kept_fast']} that are {own['fast']} times as fast."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    own = figures(results)
    return [
        tables.Doubt(
            f"One driver keeps many devices busy that are {own['fast']} times as fast as this CPU, with every target's "
            "weights brought home.",
            f"By the model it starves them beyond {own['kept_fast']}; where weights are not kept, beyond {own['free_fast']}. "
            "Nothing of "
            "this was measured on a GPU or on a second machine.",
            float(own["kept_fast"].replace(",", "")) >= max(GPUS) / 10,
        )
    ]


if __name__ == "__main__":
    sys.exit(main())
