"""Cells of NAS-Bench-201: what is one, which are equal, which edges live; and the network's known sizes."""

import statistics

import pytest
import torch

from pipeline.errors import UserError
from pipeline.targets.nasbench201 import EDGES, OPERATIONS, Cell, cells, network

ALL = list(cells())
LARGEST, SMALLEST = Cell(("nor_conv_3x3",) * 6), Cell(("none",) * 6)
GOOD = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"


def test_a_cell_is_its_string():
    assert str(Cell.parse(GOOD)) == GOOD and str(Cell.parse(f" {GOOD}\n")) == GOOD
    assert Cell.parse(GOOD).operations == ("nor_conv_3x3", "none", "skip_connect", "avg_pool_3x3", "none", "nor_conv_1x1")
    assert all(Cell.parse(str(cell)) == cell for cell in ALL[::7]) and len(set(ALL)) == len(ALL) == 15_625


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (GOOD.replace("skip_connect", "skip_conect"), "1→2.*did you mean 'skip_connect'"),
        (GOOD.replace("nor_conv_1x1~2", "nor_conv_1x1~1"), "2→3"),
        (GOOD.replace("~0|none", "|none"), "edge 0→3"),
        (GOOD.rpartition("+")[0], "2 nodes"),
        (GOOD.replace("|none~0|skip", "|skip"), "node 2"),
        (GOOD.replace("|nor_conv_3x3~0|+", "nor_conv_3x3~0+"), "node 1"),
        ("", "1 nodes"),
        ("|" * 10_000, "nodes"),
    ],
)
def test_what_is_no_cell_is_refused_where_it_is_wrong(text, where):
    with pytest.raises(UserError, match=where) as refused:
        Cell.parse(text)
    assert len(str(refused.value)) < 600 and "\n" not in str(refused.value)


@pytest.mark.parametrize("operations", [("none",) * 5, ("none",) * 5 + ("pool",), ()], ids=str)
def test_other_operations_are_refused(operations):
    with pytest.raises(UserError, match=r"six operations|no operation"):
        Cell(operations)


@pytest.mark.slow
def test_known_counts():
    """Of 15,625 cells 341 join input to output nowhere, 9,445 have no dead edge, 6,466 differ for the benchmark's code."""
    assert sum(not cell.connected for cell in ALL) == 341
    assert sum(cell.live() == cell for cell in ALL) == 9_445
    assert len({cell.benchmark_string() for cell in ALL}) == 6_466
    assert len({cell.canonical() for cell in ALL}) == 5_260
    meanings: dict[str, set] = {}
    for cell in ALL:
        meanings.setdefault(cell.benchmark_string(), set()).add(cell.canonical())
    assert sum(len(found) > 1 for found in meanings.values()) == 430


def function(cell, weights):
    """What a cell makes of random features, each convolution another random map; the weights that it has used."""
    generator = torch.Generator().manual_seed(0)
    pool = torch.randn(8, 8, generator=generator, dtype=torch.float64)
    nodes, used = [torch.randn(8, generator=generator, dtype=torch.float64)], 0
    for j in (1, 2, 3):
        total = torch.zeros(8, dtype=torch.float64)
        for (source, target), operation in zip(EDGES, cell.operations, strict=True):
            if target != j or operation == "none" or not nodes[source].any():
                continue
            if operation == "skip_connect":
                total = total + nodes[source]
            elif operation == "avg_pool_3x3":
                total = total + pool @ nodes[source]
            else:
                total, used = total + (weights[used] @ nodes[source]).tanh(), used + 1
        nodes.append(total)
    return nodes[3]


@pytest.mark.slow
def test_a_cell_and_its_canonical_one_compute_the_same():
    """With the weights of its convolutions in some order, and with no others: a permutation makes the outputs equal."""
    import itertools

    maps = [torch.randn(8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in range(6)]
    for cell in ALL[5::501]:
        other = cell.canonical()
        assert other.live() == other == other.canonical()
        count = sum(operation.startswith("nor") for operation in other.operations)
        assert count == sum(operation.startswith("nor") for operation in cell.live().operations)
        wanted = function(cell.live(), maps)
        orders = itertools.permutations(maps[:count])
        assert any(torch.allclose(function(other, order), wanted, atol=1e-12) for order in orders), cell


def test_a_convolution_that_is_carried_on_is_not_two():
    """What the benchmark's own strings confuse."""
    one = Cell(("nor_conv_1x1", "none", "skip_connect", "none", "skip_connect", "skip_connect"))
    two = Cell(("none", "nor_conv_1x1", "none", "nor_conv_1x1", "none", "skip_connect"))
    assert one.benchmark_string() == two.benchmark_string() and one.meaning() != two.meaning()
    twin = Cell(("nor_conv_1x1", "none", "none", "nor_conv_1x1", "skip_connect", "none"))
    assert two.meaning() == twin.meaning() and twin != two


def test_known_sizes():
    """At most 1,524,282 parameters; 7.78 to 220.12 million multiply-adds, 55.0 in the mean over all cells."""
    largest, smallest = network(LARGEST), network(SMALLEST)
    assert sum(parameter.numel() for parameter in largest.parameters()) == 1_524_282
    least, most = (sum(own.weights * own.positions for own in made.layers(32, 32)) for made in (smallest, largest))
    assert (round(least / 1e6, 2), round(most / 1e6, 2)) == (7.78, 220.12)
    each = {"nor_conv_3x3": (most - least) / 6, "nor_conv_1x1": (most - least) / 54}
    assert round(statistics.fmean(least + sum(each.get(name, 0) for name in cell.operations) for cell in ALL) / 1e6, 1) == 55.0


@pytest.mark.parametrize("size", [32, 17])
def test_the_layers_that_a_network_says_are_those_that_it_has(size):
    made = network(Cell.parse(GOOD), classes=7, channels=4, cells=2)
    found, seen = list(made.layers(size, size)), []
    parts = [module for module in made.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]
    hooks = [
        part.register_forward_hook(lambda part, _, out: seen.append((part.weight.numel(), out[0, 0].numel()))) for part in parts
    ]
    made.eval()(torch.zeros(1, 3, size, size))
    assert hooks and sorted(seen) == sorted((own.weights, own.positions) for own in found if own.live)
    assert sorted(part.weight.numel() for part in parts) == sorted(own.weights for own in found)


def test_the_seed_alone_decides_the_weights():
    cell, state = Cell.parse(GOOD), torch.get_rng_state()
    one, same, other = (network(cell, channels=2, cells=1, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), state)
    pairs = list(zip(one.parameters(), same.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs) and not any(torch.equal(a, c) for a, _, c in pairs)


@pytest.mark.parametrize("sizes", [{"classes": 0}, {"cells": -1}, {"classes": True}], ids=str)
def test_sizes_below_one_are_refused(sizes):
    with pytest.raises(UserError, match=f"{next(iter(sizes))} is .*at least 1"):
        network(SMALLEST, **sizes)


def test_what_passes_through_a_cell():
    """Node sums by hand, for a cell of one of each operation."""
    made = network(Cell.parse(GOOD), channels=3, cells=1, affine=True).double().train()
    block, x = made.blocks[1], torch.randn(2, 3, 6, 6, dtype=torch.float64)
    own = block.operations
    first = own["0to1"](x)
    pooled = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(x, (1, 1, 1, 1)), 3, 1) * 9
    counts = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(torch.ones_like(x), (1, 1, 1, 1)), 3, 1) * 9
    wanted = pooled / counts + own["2to3"](first)
    torch.testing.assert_close(block(x), wanted, rtol=1e-12, atol=1e-12)
    assert [type(part).__name__ for part in own["0to1"]] == ["ReLU", "Conv2d", "BatchNorm2d"]
    assert set(OPERATIONS) >= {name for name, _ in block.edges.values()}
