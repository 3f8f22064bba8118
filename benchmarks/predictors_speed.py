"""What does a predictor cost, and is GradSign in passes of several examples as fast as its matrix products allow?

    python -m benchmarks.predictors_speed                  # ten minutes on one core, needs no data; a killed one goes on
    python -m benchmarks.predictors_speed --device cuda    # on a GPU; into predictors-speed-cuda.json
    python -m benchmarks.predictors_speed --quick          # seconds: two small cells; into a temporary folder

Random cells of NAS-Bench-201 and N random images of 32 × 32, one thread, this thread's time. For each cell GradSign takes turns
with the loop over examples (a plain backward pass for each of them, as the authors' code has it), with
``torch.func.vmap(torch.func.grad(…))`` in passes of as many examples, and with the matrix products that all N gradients need,
alone: forward, backward and weights of every live layer, as products of matrices that lie ready. (Convolutions can be faster
than such products.) The median of ratios is over cells.

*Memory*: how far the peak of a process rises over what it was before, for the largest cell. *Counts* and the *other
predictors*: milliseconds of one call, medians over some of the cells.

Writes benchmarks/results/predictors-speed.json.
"""

import copy
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks import quick, tables
from benchmarks.cache import Cache
from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.predictors import PREDICTORS, named
from pipeline.predictors.gradients import PASS
from pipeline.predictors.weights import weights
from pipeline.results.provenance import provenance
from pipeline.targets.nasbench201 import OPERATIONS, Cell, CellNetwork, network

CELLS, EXAMPLES, SIDE, OTHERS = 40, 128, 32, 6
"""cells, images, their width, and the cells that other predictors score"""
SIZES = {"channels": 16, "cells": 5}
QUICK = {"CELLS": 2, "EXAMPLES": 6, "SIDE": 8, "OTHERS": 1, "SIZES": {"channels": 2, "cells": 1}}
LARGEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
OURS, LOOP, VMAP, PRODUCTS = "gradsign", "loop", "vmap", "products"
AIMS = {LOOP: 3.0, PRODUCTS: 1.9, "megabytes": 200.0, "milliseconds of a count": 1.0}
PUBLISHED = {"naswot": 37, "synflow": 53, "zico": 373, "gradsign": 1824}
"""milliseconds for an architecture on the authors' GPUs (second-hand: Lee & Ham, AZ-NAS, CVPR 2024, table 1)"""


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("--device", default="cpu", help="where to compute (default: cpu)")
    parser.add_argument("--work", type=Path, default=Path("runs/predictors-speed"), help="folder of what is finished")
    options = parser.parse_args()
    if options.quick:
        globals().update(QUICK)
    folder = quick.results_folder(options.quick)
    torch.set_num_threads(1)
    told = ["python", "-m", "benchmarks.predictors_speed"] + (["--device", options.device] if options.device != "cpu" else [])
    facts = provenance(" ".join(told), 0)
    cache = Cache.of(__file__, globals(), folder / "work" if options.quick else options.work, facts, device=options.device)
    cells = drawn_cells()
    rows = []
    for place, cell in enumerate(cells):
        rows.append(cache.part(f"cell {place}", lambda cell=cell: turn(cell, options.device), cell=str(cell)).value)
        print(f"{place + 1}/{len(cells)} {cell}: {rows[-1]['milliseconds']}", flush=True)
    others = [
        cache.part(f"others {cell}", lambda cell=cell: others_of(cell, options.device), cell=str(cell)).value
        for cell in cells[:OTHERS]
    ]
    memory = cache.part("memory", peak).value if options.device == "cpu" else None
    name = "predictors-speed" + ("" if options.device == "cpu" else f"-{torch.device(options.device).type}")
    result = facts | {"examples": EXAMPLES, "side": SIDE, "cells": rows, "others": others, "megabytes": memory, "pass": PASS}
    write_json(folder / f"{name}.json", result)
    print(f"{figures(result)}\nwritten to {folder / f'{name}.json'}")
    return 0


def drawn_cells() -> list[Cell]:
    """Uniform random ones."""
    draw = random.Random(0)
    return [Cell(tuple(draw.choice(OPERATIONS) for _ in range(6))) for _ in range(CELLS)]


def made(cell: Cell, device: str) -> tuple[CellNetwork, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(EXAMPLES, 3, SIDE, SIDE, generator=generator), torch.randint(10, (EXAMPLES,), generator=generator)
    return network(cell, **SIZES).to(device), x.to(device), y.to(device)


# -- the contestants -------------------------------------------------------------------------------------------------------


def turn(cell: Cell, device: str) -> dict[str, Any]:
    """Milliseconds of each contestant, one after the other, and what GradSign and the loop found."""
    net, x, y = made(cell, device)
    runs: dict[str, Callable[[], float]] = {
        OURS: lambda: named("gradsign").score(net, (x, y), torch.Generator()),
        LOOP: lambda: loop(net, x, y),
        VMAP: lambda: vmapped(net, x, y),
    }
    named("gradsign").score(net, (x[:PASS], y[:PASS]), torch.Generator())
    loop(net, x[:2], y[:2]), vmapped(net, x[:2], y[:2])  # what is slow at the first time only is not counted
    found = {name: timed(run, device) for name, run in runs.items()}
    milliseconds = {name: own[1] for name, own in found.items()} | {PRODUCTS: products(net, x, device)}
    live = [layer for layer in net.layers(SIDE, SIDE) if layer.live]
    return {
        "cell": str(cell),
        "live multiply-adds": sum(layer.weights * layer.positions for layer in live),
        "milliseconds": milliseconds,
        "scores": {name: own[0] for name, own in found.items()},
    }


def timed(run: Callable[[], float], device: str) -> tuple[float, float]:
    """What a run gives, and this thread's milliseconds (on a GPU those of the clock, once all is computed)."""
    clock = time.thread_time if device == "cpu" else time.perf_counter
    started = clock()
    value = run()
    if device != "cpu":
        torch.cuda.synchronize()
    return value, 1000 * (clock() - started)


def loop(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """GradSign as its definition has it."""
    net = copy.deepcopy(net).train()
    sums = [torch.zeros_like(own) for own in weights(net).values()]
    for n in range(len(x)):
        net.zero_grad()
        cross_entropy(net(x[n : n + 1]), y[n : n + 1]).backward()
        for total, own in zip(sums, weights(net).values(), strict=True):
            if own.grad is not None:
                total += own.grad.sign()
    return float(sum(total.abs().sum() for total in sums))


def vmapped(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """GradSign by torch.func; BatchNorm keeps no running statistics there, which vmap cannot change."""
    net = copy.deepcopy(net).train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats, module.running_mean, module.running_var = False, None, None
            module.num_batches_tracked = None
    parameters = {name: own.detach() for name, own in net.named_parameters()}

    def loss(own: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        return cross_entropy(torch.func.functional_call(net, own, (image[None],)), label[None])

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    sums = {name: torch.zeros_like(parameters[name]) for name in weights(net)}
    for xs, ys in zip(x.split(PASS), y.split(PASS), strict=True):
        found = each(parameters, xs, ys)
        for name, total in sums.items():
            total += found[name].sign().sum(0)
    return float(sum(total.abs().sum() for total in sums.values()))


def products(net: CellNetwork, x: Tensor, device: str) -> float:
    """Milliseconds of the matrix products alone for all examples."""
    shapes: Counter[tuple[int, int, int]] = Counter()
    hooks = [
        module.register_forward_hook(lambda own, _, out: shapes.update([(*own.weight.flatten(1).shape, out[0, 0].numel())]))
        for module in net.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad():
        net.eval()(x[:1])
    net.train()
    for hook in hooks:
        hook.remove()
    if not net.cell.connected:
        return 0.0
    return sum(count * _three(shape, device) for shape, count in shapes.items())


def _three(shape: tuple[int, int, int], device: str) -> float:
    """Milliseconds of a layer's three products, for all examples in passes."""
    outputs, inputs, positions = shape
    weight = torch.randn(outputs, inputs, device=device)
    columns, gradient = (torch.randn(PASS, size, positions, device=device) for size in (inputs, outputs))
    across = columns.transpose(1, 2).contiguous()

    def run() -> float:
        for _ in range(-(-EXAMPLES // PASS)):
            torch.matmul(weight, columns)
            torch.matmul(weight.T, gradient)
            torch.bmm(gradient, across)
        return 0.0

    run()
    return timed(run, device)[1]


# -- memory, counts and the others -----------------------------------------------------------------------------------------

CHILD = """
import torch
torch.set_num_threads(1)
from benchmarks import predictors_speed as own
own.EXAMPLES, own.SIDE, own.SIZES = {examples}, {side}, {sizes}
net, x, y = own.made(own.Cell.parse(own.LARGEST), "cpu")
net.eval()(x[:1])
torch.autograd.grad(net(x[:1]).sum(), list(net.parameters())[:1])
before = own.high_water()
own.named("gradsign").score(net, (x, y), torch.Generator())
print(own.high_water() - before)
"""


def high_water() -> float:
    """The most memory that this process has held, in megabytes. Linux alone says so; ``getrusage`` counts what the process
    that started this one held as well."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def peak() -> float | None:
    """Megabytes by which GradSign raises the peak of a process of its own; None where the system does not say."""
    if not Path("/proc/self/status").exists():
        return None
    script = CHILD.format(examples=EXAMPLES, side=SIDE, sizes=SIZES)
    root = str(Path(__file__).resolve().parents[1])
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def others_of(cell: Cell, device: str) -> dict[str, float | None]:
    """Milliseconds of every predictor; None where it cannot read such networks."""
    net, x, y = made(cell, device)
    found: dict[str, float | None] = {}
    for name in PREDICTORS:
        try:
            calls = [
                timed(lambda name=name: named(name).score(net, (x, y), torch.Generator().manual_seed(0)), device)[1]
                for _ in range(3 if name in COUNTS else 1)
            ]
        except UserError:
            calls = []
        found[name] = statistics.median(calls) if calls else None
    return found


COUNTS = ("params", "flops", "live_params", "live_flops")


# -- its page ------------------------------------------------------------------------------------------------------------


def _ratios(results: dict[str, Any], over: str, under: str) -> list[float]:
    cells = [own["milliseconds"] for own in results["cells"]]
    return [own[over] / own[under] for own in cells if own[under] > 0]


def _median(results: dict[str, Any], name: str) -> float:
    return statistics.median(own["milliseconds"][name] for own in results["cells"])


def _of_predictor(results: dict[str, Any], name: str) -> float | None:
    known = [own[name] for own in results["others"] if own.get(name) is not None]
    return statistics.median(known) if known else None


def table(results: dict[str, Any]) -> str:
    """GradSign's ways, and every predictor."""
    rows = [
        [label, f"{_median(results, name):.0f}", f"{statistics.median(_ratios(results, name, OURS)):.2f}"]
        for name, label in (
            (OURS, "GradSign, in passes"),
            (LOOP, "the loop over examples"),
            (VMAP, "`torch.func.vmap` of `grad`"),
            (PRODUCTS, "its matrix products alone"),
        )
    ]
    known = [(name, _of_predictor(results, name)) for name in PREDICTORS]
    others = [
        [f"`{name}`", "–" if own is None else f"{own:.2f}" if own < 10 else f"{own:.0f}", str(PUBLISHED.get(name, ""))]
        for name, own in known
    ]
    caption = (
        f"`{tables.command(results)}`: medians of {len(results['cells'])} random cells of NAS-Bench-201, {results['examples']} "
        f"images of {results['side']} × {results['side']}, passes of {results['pass']}, one thread ({tables.where(results)}); "
        "ratios are medians of the cells' ratios."
    )
    second = (
        f"Medians of {len(results['others'])} of these cells; `enn` reads no convolutions. Published: on the authors' GPUs, "
        "second-hand from Lee & Ham, AZ-NAS, CVPR 2024, table 1."
    )
    how = (
        "With one image to a batch BatchNorm is the normalisation of that image, so that a pass of several images, in which "
        "it is one, gives the gradients of each ([how](../predictors.md#gradsign)). Whether a network allows that is found out "
        "first: one of three images is computed both ways, which is part of the time."
    )
    return tables.blocks(
        how,
        tables.table(["one cell", "ms", "times GradSign"], rows),
        caption,
        tables.table(["predictor", "ms", "published, ms"], others),
        second,
    )


def figures(results: dict[str, Any]) -> dict[str, Any]:
    scores = [own["scores"] for own in results["cells"]]
    apart = [abs(own[OURS] - own[LOOP]) / own[LOOP] for own in scores if own[LOOP]]
    return {
        "gradsign": f"{_median(results, OURS):.0f}",
        "loop": f"{statistics.median(_ratios(results, LOOP, OURS)):.1f}",
        "vmap": f"{statistics.median(_ratios(results, VMAP, OURS)):.1f}",
        "products": f"{statistics.median(_ratios(results, OURS, PRODUCTS)):.2f}",
        "megabytes": "–" if results["megabytes"] is None else f"{results['megabytes']:.0f}",
        "count": f"{_of_predictor(results, 'live_params') or 0:.2f}",
        "apart": f"{max(apart, default=0.0):.1e}",
        "examples": results["examples"],
    }


def verdict(results: dict[str, Any]) -> str:
    own = figures(results)
    return (
        f"For {own['examples']} examples GradSign takes {own['gradsign']} ms on one core and at most {own['megabytes']} MB: "
        f"{own['loop']} times faster than the loop over examples, {own['vmap']} times faster than `vmap`, and "
        f"{own['products']} times what its matrix products alone take. Counting live weights takes {own['count']} ms."
    )


def doubts(results: dict[str, Any]) -> list[tables.Doubt]:
    """Whether each aim was reached."""
    own, count = figures(results), _of_predictor(results, "live_params")
    reached = (
        (
            statistics.median(_ratios(results, LOOP, OURS)) >= AIMS[LOOP],
            f"GradSign in passes is at least {AIMS[LOOP]:g} times faster than the loop over examples.",
            f"{own['loop']} times, in the median of random cells.",
        ),
        (
            statistics.median(_ratios(results, OURS, PRODUCTS)) <= AIMS[PRODUCTS],
            f"GradSign takes at most {AIMS[PRODUCTS]:g} times what its matrix products alone take.",
            f"{own['products']} times, in the median of random cells.",
        ),
        (
            (results["megabytes"] or 0) <= AIMS["megabytes"],
            f"GradSign needs at most {AIMS['megabytes']:g} MB.",
            f"{own['megabytes']} MB for the largest cell.",
        ),
        (
            (count or 0) <= AIMS["milliseconds of a count"],
            f"Counting live weights takes at most {AIMS['milliseconds of a count']:g} ms.",
            f"{own['count']} ms.",
        ),
    )
    return [tables.Doubt(hope, told, held=False) for held, hope, told in reached if not held]


if __name__ == "__main__":
    sys.exit(main())
