"""How fast are P small networks trained, against the usual ways of doing it? In target-steps per second.

    python -m benchmarks.throughput            # a few minutes; writes benchmarks/results/throughput.json
    python -m benchmarks.throughput --quick    # seconds: P = 4 on digits; writes into a temporary folder

The contestants of one cell (setting, P, device) take turns, so that a drift of the machine hits all alike; a number is the
median over the turns, beside its quartiles. All train on the same batches with plain SGD; gathering the batches counts. The
data are random numbers of the right shape: speed does not depend on them.

To add a contestant, write a factory ``(setting, members, device) -> run(steps)`` and name it in ``CONTESTANTS``; to have it
compared, name the pair in ``RATIOS``.
"""

import argparse
import itertools
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks import quick, tables
from benchmarks.contestants import LEARNING_RATE, SETTINGS, Run, Setting, loop, new_critic, stacked
from pipeline import cluster
from pipeline.data import Dataset
from pipeline.files import write_json
from pipeline.instruction import Batch, Instruct
from pipeline.results.provenance import provenance
from pipeline.targets import Batches, Population, initialise, target

MEMBERS = (1, 4, 16, 64, 256)
REPEATS, SECONDS_PER_TURN = 7, 0.2

MOST_OBSERVED = 64 * 79_511
"""members × parameters up to which the environment is measured: RLlib holds every observation of a run (6 GB beyond)"""

EXAMPLES = 2000
QUICK = {"MEMBERS": (4,), "SETTINGS": SETTINGS[:1], "REPEATS": 2, "SECONDS_PER_TURN": 0.02}


def batches(setting: Setting, members: int, device: str, shared_order: bool) -> Batches:
    """Random data of the setting's shape, in the order that each contestant is given."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(EXAMPLES, setting.widths[0], generator=generator)
    y = torch.randint(setting.widths[-1], (EXAMPLES,), generator=generator)
    return Batches(x.to(device), y.to(device), setting.batch_size, range(members), shared_order)


def start(setting: Setting, members: int, device: str) -> list[Tensor]:
    return initialise(setting.target, "he", range(members), device=device)


def loop_over_modules(setting: Setting, members: int, device: str) -> Run:
    """(a) One module after the other."""
    return loop(setting.target, start(setting, members, device), batches(setting, members, device, shared_order=False))


def vmap(setting: Setting, members: int, device: str) -> Run:
    """(b) Stacked modules."""
    return stacked(setting.target, start(setting, members, device), batches(setting, members, device, shared_order=False))


def population(shared_order: bool) -> Callable[[Setting, int, str], Run]:
    """(c) The population, with an order per member or one for all."""

    def factory(setting: Setting, members: int, device: str) -> Run:
        draw = batches(setting, members, device, shared_order)
        trained = Population(setting.target, start(setting, members, device), learning_rate=LEARNING_RATE)

        def run(steps: int) -> None:
            for step in range(steps):
                trained.apply(trained.grads(*draw(step)))

        return run

    return factory


def matrix_products(shared_order: bool) -> Callable[[Setting, int, str], Run]:
    """The floor: the matrix products that (c) cannot do without, and nothing else."""

    def factory(setting: Setting, members: int, device: str) -> Run:
        x, _ = batches(setting, members, device, shared_order)(0)
        weights = target.weights(start(setting, members, device), setting.target.slots)
        outputs = [torch.randn(members, width, setting.batch_size, device=device) for width in setting.widths[1:]]
        gradients = [torch.empty_like(weight) for weight in weights]
        deltas = [torch.empty_like(output) for output in outputs]

        def first() -> None:
            if shared_order:
                torch.mm(weights[0].view(-1, x.shape[1]), x.t(), out=outputs[0].view(-1, len(x)))
                torch.mm(outputs[0].view(-1, len(x)), x, out=gradients[0].view(-1, x.shape[1]))
            else:
                torch.bmm(weights[0], x.transpose(1, 2), out=outputs[0])
                torch.bmm(outputs[0], x, out=gradients[0])

        def run(steps: int) -> None:
            for _ in range(steps):
                first()
                for layer in range(1, len(weights)):
                    torch.bmm(weights[layer], outputs[layer - 1], out=outputs[layer])
                    torch.bmm(outputs[layer], outputs[layer - 1].transpose(1, 2), out=gradients[layer])
                    torch.bmm(weights[layer].transpose(1, 2), outputs[layer], out=deltas[layer - 1])

        return run

    return factory


def instructed(reader: str) -> Callable[[Setting, int, str], Run]:
    """(d) The population, every member instructed by an ENN with this reader at the default refresh."""

    def factory(setting: Setting, members: int, device: str) -> Run:
        draw, critic = batches(setting, members, device, shared_order=False), new_critic(setting, reader, device)
        trained = Population(setting.target, start(setting, members, device), learning_rate=LEARNING_RATE)
        rule = Instruct(critic.with_strength(1.0), setting.config.training.steps, LEARNING_RATE)
        state = rule.init(trained)

        def run(steps: int) -> None:
            for step in range(steps):
                trained.apply(rule.update(trained, Batch(*draw(step)), state))

        return run

    return factory


def random_data(setting: Setting) -> Dataset:
    """A data set of random numbers of the setting's shape, with 1,000 examples in the reward."""
    generator, features = np.random.default_rng(0), setting.widths[0]

    def part(examples: int) -> tuple[np.ndarray, np.ndarray]:
        x = generator.random((examples, features), dtype=np.float32)
        return x, generator.integers(0, setting.widths[-1], examples)

    return Dataset("random", *part(EXAMPLES), *part(1500), *part(10), (features,), setting.widths[-1])


def environment(setting: Setting, members: int, device: str) -> Run:
    """(e) The environment stepped bare, its ENN the probes: training, instruction, rewards, observations, resets."""
    from rl.env import TrainingRunEnv

    env, critic = (
        TrainingRunEnv(setting.config, random_data(setting), members, device=device),
        new_critic(setting, "probes", device),
    )
    env.critic_source = lambda: critic
    actions = np.arange(members) % len(setting.config.instruction.ladder)
    env.reset()

    def run(steps: int) -> int:
        for _ in range(math.ceil(steps / setting.config.rl.period)):
            env.step(actions)
        return math.ceil(steps / setting.config.rl.period) * setting.config.rl.period

    return run


def through_rllib(setting: Setting, members: int, device: str) -> Run:
    """(f) The same environment sampled by RLlib's env runner: the policy's decisions and RLlib's episodes come on top."""
    from rl.algorithm import build

    cluster.start(cluster.Placement(workers=1), 20_000_000)
    enn = replace(setting.config.enn, readers=("probes",))
    config = replace(setting.config, enn=enn, rl=replace(setting.config.rl, members=members))
    algorithm = build(config, random_data(setting), device)
    runner = algorithm.env_runner
    torch.set_num_threads(1)

    def run(steps: int) -> int:
        periods = math.ceil(steps / config.rl.period)
        runner.sample(num_timesteps=periods * members, explore=True)
        runner.get_metrics()
        return periods * config.rl.period

    return run


CONTESTANTS: dict[str, Callable[[Setting, int, str], Run]] = {
    "loop over modules": loop_over_modules,
    "vmap": vmap,
    "population": population(shared_order=False),
    "population, shared order": population(shared_order=True),
    "matrix products": matrix_products(shared_order=False),
    "matrix products, shared order": matrix_products(shared_order=True),
    "instructed by probes": instructed("probes"),
    "instructed by convnet": instructed("convnet"),
    "instructed by statistics": instructed("statistics"),
    "environment": environment,
    "environment through RLlib": through_rllib,
}
OBSERVED = ("environment", "environment through RLlib")

RATIOS: dict[str, tuple[str, str]] = {
    "population is n times faster than the loop": ("loop over modules", "population"),
    "population is n times faster than vmap": ("vmap", "population"),
    "shared order is n times faster than own": ("population", "population, shared order"),
    "population takes n times its matrix products": ("population", "matrix products"),
    "shared order takes n times its matrix products": ("population, shared order", "matrix products, shared order"),
    "instruction by probes takes n times the population": ("instructed by probes", "population"),
    "instruction by convnet takes n times the population": ("instructed by convnet", "population"),
    "instruction by statistics takes n times the population": ("instructed by statistics", "population"),
    "RLlib takes n times the bare environment": ("environment through RLlib", "environment"),
}
"""What is n: seconds of the first over seconds of the second, the median over turns taken side by side"""


def measure(
    setting: Setting, members: int, device: str, names: Sequence[str], repeats: int, seconds: float
) -> list[dict[str, Any]]:
    """Seconds per step of each contestant, turn by turn: round-robin after a warm-up that also sizes the turns."""
    small = members * (setting.target.size + 1) <= MOST_OBSERVED
    names = [name for name in names if small or name not in OBSERVED]
    runs = {name: CONTESTANTS[name](setting, members, device) for name in names}
    steps = {}
    for name, run in runs.items():
        timed(run, 2, device)
        steps[name] = max(1, round(seconds / timed(run, 2, device)))
    turns: dict[str, list[float]] = {name: [] for name in names}
    for _, name in itertools.product(range(repeats), names):
        turns[name].append(timed(runs[name], steps[name], device))
    return [
        {"setting": setting.name, "members": members, "device": device, "contestant": name}
        | {"steps_per_turn": steps[name], "seconds_per_step": times}
        | {"target_steps_per_second": quartiles([members / value for value in times])}
        for name, times in turns.items()
    ]


def timed(run: Run, steps: int, device: str) -> float:
    """Seconds per step."""
    synchronise(device)
    begin = time.perf_counter()
    taken = run(steps) or steps
    synchronise(device)
    return (time.perf_counter() - begin) / taken


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def quartiles(values: Sequence[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"low": low, "median": median, "high": high}


def ratios(cell: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The RATIOS of one cell whose two contestants both ran."""
    seconds = {row["contestant"]: row["seconds_per_step"] for row in cell}
    return {
        name: statistics.median(a / b for a, b in zip(seconds[above], seconds[below], strict=True))
        for name, (above, below) in RATIOS.items()
        if above in seconds and below in seconds
    }


def show(console: Console, rows: Sequence[dict[str, Any]], compared: Sequence[dict[str, Any]], members: Sequence[int]) -> None:
    """One table per setting and device: target-steps per second by P, then the ratios."""
    for setting, device in dict.fromkeys((row["setting"], row["device"]) for row in rows):
        table = Table("", *(f"P = {count}" for count in members), title=f"{setting}, {device}: target-steps per second")
        here = [row for row in rows if (row["setting"], row["device"]) == (setting, device)]
        for name in dict.fromkeys(row["contestant"] for row in here):
            values = {row["members"]: row["target_steps_per_second"]["median"] for row in here if row["contestant"] == name}
            table.add_row(name, *(f"{values[count]:,.0f}" if count in values else "" for count in members))
        table.add_section()
        cells = {row["members"]: row["ratios"] for row in compared if (row["setting"], row["device"]) == (setting, device)}
        for name in RATIOS:
            if any(name in cell for cell in cells.values()):
                table.add_row(name, *(f"{cells[count][name]:.2f}" if name in cells.get(count, {}) else "" for count in members))
        console.print(table)


def arguments() -> argparse.Namespace:
    parser = quick.parser_of(__doc__)
    parser.add_argument("--members", type=int, nargs="+", help=f"numbers of targets trained at once (default: {MEMBERS})")
    parser.add_argument("--settings", nargs="+", choices=[setting.name for setting in SETTINGS], help="default: all")
    parser.add_argument("--contestants", nargs="+", choices=list(CONTESTANTS), help="default: all")
    parser.add_argument("--devices", nargs="+", choices=["cpu", "cuda"], help="default: cpu, and cuda where there is one")
    parser.add_argument("--repeats", type=int, help=f"turns per contestant, at least 2 (default: {REPEATS})")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads on the CPU (default: 1)")
    parser.add_argument("--output", type=Path, help="where the JSON goes (default: throughput.json in benchmarks/results)")
    options = parser.parse_args()
    if options.quick:
        globals().update(QUICK)
    options.members, options.repeats = options.members or list(MEMBERS), options.repeats or REPEATS
    options.devices = options.devices or (["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
    if options.repeats < 2 or min(options.members) < 1 or options.threads < 1:
        parser.error("give at least 2 repeats, 1 member and 1 thread")
    if "cuda" in options.devices and not torch.cuda.is_available():
        parser.error("no CUDA device is available here; leave cuda out of --devices")
    return options


def main() -> None:
    cluster.prepare_environment()  # which Ray reads once, at import; and RLlib, which the environment needs, imports it
    options, console = arguments(), Console()
    torch.set_num_threads(options.threads)
    facts = provenance(" ".join(["python", "-m", "benchmarks.throughput", *sys.argv[1:]]), 0)  # of the commit that runs
    settings = [setting for setting in SETTINGS if not options.settings or setting.name in options.settings]
    names = options.contestants or list(CONTESTANTS)
    rows: list[dict[str, Any]] = []
    compared: list[dict[str, Any]] = []
    for device, setting, members in itertools.product(options.devices, settings, options.members):
        console.print(f"{setting.name}, {device}, P = {members}", style="dim")
        cell = measure(setting, members, device, names, options.repeats, SECONDS_PER_TURN)
        rows += cell
        compared.append({"setting": setting.name, "members": members, "device": device, "ratios": ratios(cell)})
    show(console, rows, compared, options.members)
    output = options.output or quick.results_folder(options.quick) / "throughput.json"
    report = facts | {
        "torch_threads": torch.get_num_threads(),
        "data": "random numbers of the settings' shapes",
        "optimiser": f"plain SGD, learning rate {LEARNING_RATE}, float32",
        "settings": [asdict(setting) for setting in settings],
        "repeats": options.repeats,
        "measurements": rows,
        "ratios": compared,
    }
    write_json(output, report)
    console.print(f"written to {output}")


# -- its page ------------------------------------------------------------------------------------------------------------

AIMS = ("population is n times faster than the loop", "population is n times faster than vmap")


def table(results: dict[str, Any]) -> str:
    """Ratios at every P, by setting and device."""
    shown = []
    for setting, device in dict.fromkeys((cell["setting"], cell["device"]) for cell in results["ratios"]):
        cells = [cell for cell in results["ratios"] if (cell["setting"], cell["device"]) == (setting, device)]
        names = list(dict.fromkeys(name for cell in cells for name in cell["ratios"]))
        head = [f"{setting}, {device}", *(f"P = {cell['members']}" for cell in cells)]
        shown.append(tables.table(head, [[name, *(_ratio(cell["ratios"].get(name)) for cell in cells)] for name in names]))
    settings = "; ".join(
        f"{own['name']}: {'-'.join(map(str, own['widths']))}, batches of {own['batch_size']}" for own in results["settings"]
    )
    shown.append(
        f"`{tables.command(results)}`: medians of {results['repeats']} turns side by side, {results['torch_threads']} "
        f"thread; {settings} "
        f"({tables.where(results)})."
    )
    return tables.blocks(*shown)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def figures(results: dict[str, Any]) -> dict[str, Any]:
    def of(setting: str, name: str) -> str:
        return tables.spread(cell["ratios"].get(name) for cell in results["ratios"] if cell["setting"] == setting)

    own: dict[str, Any] = {"most": str(max(cell["members"] for cell in results["ratios"]))}
    for setting in dict.fromkeys(cell["setting"] for cell in results["ratios"]):
        instructed = [
            value
            for cell in results["ratios"]
            if cell["setting"] == setting
            for name, value in cell["ratios"].items()
            if name.startswith("instruction by")
        ]
        own |= {
            f"{setting}_loop": of(setting, AIMS[0]),
            f"{setting}_vmap": of(setting, AIMS[1]),
            f"{setting}_products": of(setting, "population takes n times its matrix products"),
            f"{setting}_instruction": tables.spread(instructed),
            f"{setting}_rllib": of(setting, "RLlib takes n times the bare environment"),
        }
    return own


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    return (
        f"A population is {own['digits_loop']} times as fast as a loop over modules on networks of digits and "
        f"{own['mnist_loop']} times on "
        f"those of MNIST, by P; against `torch.func.vmap` {own['digits_vmap']} and {own['mnist_vmap']} times. Instruction "
        "takes "
        f"{own['digits_instruction']} and {own['mnist_instruction']} times the step."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    return []


if __name__ == "__main__":
    main()
