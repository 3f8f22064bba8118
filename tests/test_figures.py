"""Every figure stands alone: it says what it shows, of how many, and what its lines and bands are; a series has one scale."""

import io
import itertools
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from pipeline.results import figures
from pipeline.results.figures.drawing import Drawing, count, labelled
from pipeline.results.figures.style import DPI, save
from pipeline.results.page.svg import svg

STEPS, SEEDS = 12, 5


def curves(draws, arms) -> dict[str, Any]:
    steps = np.linspace(0, 600, STEPS)
    rise = 0.1 + 0.85 * (1 - np.exp(-steps / 100))
    return {
        arm: {
            "steps": steps.tolist(),
            "seconds": (steps / 1e4).tolist(),
            "accuracy": (rise + 0.005 * draws.normal(size=(SEEDS, STEPS))).tolist(),
            "progress": (steps / 600).tolist(),
            "strength": draws.choice([0.0, 30.0, 100.0], size=(SEEDS, STEPS)).tolist(),
            "gradient_norm": np.exp(draws.normal(size=(SEEDS, STEPS))).tolist(),
            "instruction_norm": [[None, *row[1:]] for row in (0.01 * draws.random((SEEDS, STEPS))).tolist()],
            "angles": (60 + 20 * draws.random((SEEDS, STEPS, 3)) * [1, 1, 0] - [0, 0, 60]).tolist(),
            "bound": 100.0,
        }
        for arm in arms
    }


def maps(draws, size=(9, 20), scale=1.0) -> list[dict[str, Any]]:
    return [
        {"title": f"step {n}", "image": scale * n * draws.normal(size=size), "map": scale * draws.normal(size=size) / n}
        for n in (1, 2, 3)
    ]


def examples(seed: int = 0) -> dict[str, tuple[Drawing, tuple[str, ...]]]:
    """By figure: one of it, and what its legends or axes must name: every group, level and reader that there is."""
    draws = np.random.default_rng(seed)
    arms = ("conventional", "l2", "instructed", "my-own-arm")
    of_arms, score = curves(draws, arms), draws.random(200)
    point = {"predicted": (score + 0.1 * draws.random(200)).tolist(), "realised": score.tolist()}
    point |= {"kendall": 0.8, "low": 0.7, "high": 0.9, "r2": -0.5}
    rounds = [
        {
            "round": n,
            "scores": {"0.0": 0.5, "30.0": draws.random()},
            "critic_error": draws.random(),
            "kendall": None if n else 0.5,
        }
        for n in range(3)
    ]
    values = draws.random(30).tolist()
    against = [{"title": name, "accuracy": draws.random(30).tolist(), "kendall": 0.5} for name in ("cifar10", "cifar100")]
    points = [
        {"x": x, "y": y, "name": f"c{n}", "kind": "ab"[n % 2], "front": n < 3} for n, (x, y) in enumerate(draws.random((9, 2)))
    ]
    settings = [{"enn.width": int(n + 1), "enn.channels": "both" if n % 2 else "signed"} for n in range(9)]
    instructed = {"instructed": of_arms["instructed"], "instructed-he": of_arms["my-own-arm"]}
    spent = {"ENN: RL": 3.0, "ENN: fine-tuning": 1.0}
    return {
        "accuracy": (figures.accuracy(of_arms, data="digits", enn=spent), (*arms, *spent)),
        "agreement": (figures.agreement(["gradsign", "params"], [[1.0, -0.2], [-0.2, 1.0]]), ("gradsign", "params")),
        "angles": (figures.angles(of_arms, data="digits"), arms),
        "front": (figures.front(points, ("gain", "ms_per_instruction")), ("a", "b", "front")),
        "gradcam": (figures.gradcam(maps(draws), of="the arm instructed"), ("step 1", "step 2", "step 3", "red raises it")),
        "importance": (figures.importance({"enn.width": draws.random(), "rl.gamma": 0.3}, "gain"), ("enn.width", "rl.gamma")),
        "instruction": (figures.instruction(instructed, data="digits"), ("λ = 0 (none)", "λ = 30", "λ = 100", *instructed)),
        "learning": (figures.learning(rounds, data="digits", members=8), ("λ = 0", "λ = 30")),
        "parallel": (figures.parallel(settings, values[:9], "gain"), ("enn.\nwidth", "enn.\nchannels", "both", "signed")),
        "prediction": (figures.prediction({"probes": point, "convnet": point}, data="digits"), ("probes", "convnet")),
        "scatter": (figures.scatter("gradsign", values, against), ("cifar10", "cifar100")),
    }


EXAMPLES = examples()
ON_VALIDATION_DATA = ("accuracy", "front", "learning", "parallel", "prediction")
BANDED = {"accuracy": "95 % interval", "angles": "95 % interval", "instruction": "10th to the 90th percentile"}


def lacking(figure: Figure, words: str, named: tuple[str, ...]) -> list[str]:
    """What a figure does not say, though it should.

    Args:
        words: that stand above it.
        named: what it must name.
    """
    panels = figure.axes  # scales of colours lie inside of them
    found = [f"panel {n}: no title" for n, panel in enumerate(panels) if not panel.get_title()]
    for number, panel in enumerate(panels):
        bars = all(text.get_text() for text in panel.get_yticklabels()) if panel.containers else not len(panel.get_yticks())
        shared = number > 0 and panel.get_shared_y_axes().joined(panel, panels[0])
        found += [f"panel {number}: no name on x"] if not panel.get_xlabel() else []
        found += [f"panel {number}: no name on y"] if not (panel.get_ylabel() or bars or shared) else []
    found += [] if "n = " in words else ["no n"]
    texts = {text.get_text() for panel in panels for text in panel.texts}
    texts |= {tick.get_text() for panel in panels for tick in (*panel.get_xticklabels(), *panel.get_yticklabels())}
    texts |= {said() for panel in panels for said in (panel.get_title, panel.get_xlabel, panel.get_ylabel)}
    texts |= legends(figure)
    return found + [f"{name!r} is not named" for name in named if not any(name in text for text in texts)]


def legends(figure: Figure) -> set[str]:
    return {text.get_text() for legend in figure.legends for text in legend.get_texts()}


def test_every_figure_has_an_example_here():
    assert {draw.__name__ for draw in figures.DRAWN} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_figure_stands_alone(name):
    """As a whole and, on a page, panel by panel; its twin, from which something is taken, is noticed."""
    drawing, named = EXAMPLES[name]
    figure = figures.whole(drawing)
    above = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    assert drawing.title in above and all(note.strip() in above for note in drawing.notes), "the picture has all of its words"
    assert lacking(figure, above, named) == []
    assert "NaN" not in above and "None" not in above
    if name in ON_VALIDATION_DATA:
        assert "on validation data" in drawing.words
    if name in BANDED:
        assert BANDED[name] in drawing.words
    alone = [figures.alone(panel) for panel in drawing.panels]
    for one in alone:
        assert lacking(one, above, ()) == [] and bool(labelled(one.axes)) == bool(one.legends)
        left, lower, width, height = one.axes[0].get_position().bounds
        assert 0 <= left < left + width <= 1 and 0 < lower < lower + height < 1
    everywhere = {
        label for one in alone for legend in one.legends for label in (text.get_text() for text in legend.get_texts())
    }
    assert everywhere == {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    figure.axes[0].set_title(""), figure.axes[0].set_xlabel("")
    assert {"panel 0: no title", "panel 0: no name on x", "no n", "'nobody' is not named"} <= set(
        lacking(figure, "many", (*named, "nobody"))
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_figure_shows_what_it_is_given(name, tmp_path):
    """Given others it is another one; given the same, the same to the bit."""
    drawing, other = EXAMPLES[name][0], OTHERS[name][0]
    one, again, another = (svg(figures.alone(own.panels[0]), "a", "what it shows") for own in (drawing, drawing, other))
    assert one == again and "<metadata" not in one and "<style" not in one
    assert name == "agreement" or one != another


OTHERS = examples(1)


def test_a_picture_is_a_png_of_its_size(tmp_path):
    from PIL import Image

    made = figures.scatter("params", [1.0, 2.0], [{"title": "a", "accuracy": [1.0, 2.0], "kendall": 1.0}], tmp_path / "one.png")
    save(figures.whole(EXAMPLES["instruction"][0]), tmp_path / "other.png")
    assert isinstance(made, Drawing)
    for name in ("one", "other"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert min(image.size) > 300 and image.info["dpi"][0] == pytest.approx(DPI, abs=1)
            assert len(image.convert("RGB").getcolors(1 << 24) or []) > 50


def test_a_score_of_minus_infinity_is_drawn_and_counted_as_it_is_ranked():
    """At the edge; one that is not defined is said to be missing; no axis of accuracies goes on beyond what there is."""
    scores = [-math.inf, -math.inf, 3.0, math.nan]
    drawing = figures.scatter("naswot", scores, [{"title": "a", "accuracy": [10.0, 20.0, 99.5, 50.0], "kendall": 0.8}])
    assert "n = 3 of the architectures" in drawing.words and "(1 more have no score)" in drawing.words
    assert "2 of them have the worst score, −∞" in drawing.words
    (panel,) = figures.whole(drawing).axes
    finite, worst = (points.get_offsets().tolist() for points in panel.collections)
    assert finite == [[3.0, 99.5]] and [y for _, y in worst] == [10.0, 20.0] and panel.get_ylim()[1] <= 100.5
    assert panel.get_ylim()[0] < 10.0, "all of them are seen"
    plain = figures.scatter("params", [1.0, 2.0], [{"title": "a", "accuracy": [1.0, 2.0], "kendall": 1.0}])
    assert "−∞" not in plain.words and "no score" not in plain.words


def test_names_at_a_front_stand_on_no_other():
    """A crowd of candidates, all of them on the front, drawn with the extents that letters really have."""
    near = [{"name": f"{n:03d}", "x": 1 + 0.02 * n, "y": 2 + 0.01 * n, "kind": "a", "front": True} for n in range(6)]
    far = [{"name": "far", "x": 9.0, "y": 9.0, "kind": "a", "front": True}]
    figure = figures.whole(figures.front([*near, *far], ("gain", "ms_per_instruction"), data="digits"))
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    boxes = {text.get_text(): Text.get_window_extent(text) for text in axes.texts}  # without its line
    assert set(boxes) == {point["name"] for point in (*near, *far)}
    assert not [(a, b) for a, b in itertools.combinations(boxes, 2) if boxes[a].overlaps(boxes[b])]
    assert len({text.get_position() for text in axes.texts}) > 1, "beside its own point each would stand on another"


def test_drawing_needs_no_global_state():
    script = (
        "import sys; from pipeline.results import figures\n"
        "row = {'round': 1, 'scores': {'0': 0.5}, 'critic_error': 0.1, 'kendall': 0.5}\n"
        "figures.whole(figures.learning([row])); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[1])


# -- what stands in particular figures ------------------------------------------------------------------------------------


def colour_scales(drawing: Drawing) -> list[set[tuple[float, float]]]:
    """Of the weights and of the maps, the ends of the colour scales that there are."""
    ends = [figures.alone(panel).axes[0].images[0].get_clim() for panel in drawing.panels]
    bars = [tuple(figures.alone(panel).axes[0].images[0].get_extent()[:2]) for panel in drawing.panels[-2:]]
    assert bars == ends[-2:], "what is written at a scale is what its colours are"
    return [set(ends[0::2]), set(ends[1::2])]


def test_a_series_of_maps_has_one_scale_with_nothing_in_the_middle():
    draws = np.random.default_rng(0)
    one, other = maps(draws), maps(draws, scale=10.0)
    largest = [max(np.abs(item[part]).max() for item in one) for part in ("image", "map")]
    assert colour_scales(figures.gradcam(one)) == [{(-own, own)} for own in largest]
    scale = figures.scale_of([*one, *other])
    apart = [colour_scales(figures.gradcam([item], scale=scale)) for item in (*one, *other)]
    assert all(own == apart[0] for own in apart), "a picture of each step, and of each arm, by the scale of all"
    assert colour_scales(figures.gradcam(one[:1])) != colour_scales(figures.gradcam(one[2:])), "the twin: by their own"
    empty = [{"title": "nothing", "image": np.zeros((3, 4)), "map": np.full((3, 4), np.nan)}]
    assert all(low < 0 < high for ends in colour_scales(figures.gradcam(empty)) for low, high in ends)


def test_high_images_lie_on_their_side_and_say_so():
    draws = np.random.default_rng(0)
    for size, named in (((9, 20), "input"), ((20, 9), "unit")):
        panel = figures.alone(figures.gradcam(maps(draws, size)).panels[0]).axes[0]
        assert panel.images[0].get_array().shape == (9, 20) and panel.get_xlabel().startswith(named)


def test_it_is_said_where_the_strength_is_at_its_bound():
    curve = {"strength": [[1.0, 99.0], [100.0, 3.0]], "bound": 100.0}
    assert figures.bound_sentence("instructed", curve) == "instructed: λ is at its bound, 100, in 50 % of all periods."
    for bound in (300.0, None):
        assert figures.bound_sentence("instructed", curve | {"bound": bound}) == "", "the twin: another bound"
    own = curves(np.random.default_rng(0), ["instructed"])
    assert "λ is at its bound, 100" in figures.instruction(own).words
    title = figures.alone(figures.instruction(own).panels[0]).axes[0].get_title()
    assert title.startswith("instructed: strength λ\nλ at its bound (100): ")
    own["instructed"]["bound"] = 300.0
    assert "bound" not in figures.instruction(own).words


def test_grey_is_no_instruction_and_nothing_else():
    grey = (217 / 255,) * 3
    for levels, expected in (([0.0, 30.0], [True, False]), ([100.0], [False]), ([30.0, 100.0], [False, False])):
        own = curves(np.random.default_rng(0), ["instructed"])
        own["instructed"]["strength"] = np.resize(levels, (SEEDS, STEPS)).tolist()
        areas = figures.alone(figures.instruction(own).panels[0]).axes[0].collections
        assert [tuple(area.get_facecolor()[0][:3]) == pytest.approx(grey) for area in areas] == expected


def test_areas_are_spoken_of_where_there_are_some():
    own = curves(np.random.default_rng(0), ["instructed"])
    for strengths, expected in (([0.0, 30.0], True), (np.linspace(1, 2, SEEDS * STEPS), False)):
        own["instructed"]["strength"] = np.resize(strengths, (SEEDS, STEPS)).tolist()
        assert ("Areas" in figures.instruction(own).words) == expected


def test_what_an_enn_costs_stands_beside_what_a_target_does():
    drawing = EXAMPLES["accuracy"][0]
    panel = figures.alone(drawing.panels[2]).axes[0]
    lengths = dict(zip((tick.get_text() for tick in panel.get_yticklabels()), (bar.get_width() for bar in panel.patches)))  # noqa: B905
    assert lengths["l2"] == pytest.approx(0.06) and lengths["ENN: RL"] == 3.0 and panel.get_xscale() == "log"
    assert [text.get_text() for text in panel.texts][-2:] == ["3 s", "1 s"]
    without = figures.accuracy(curves(np.random.default_rng(0), ["conventional"]))
    assert len(without.panels) == 2 and "ENN" not in without.words


def test_n_is_that_of_the_data():
    assert (count([4, 4]), count([4, 7]), count([])) == ("n = 4", "n = 4 to 7", "n = 0")
    own = curves(np.random.default_rng(0), ["conventional", "l2"])
    assert figures.accuracy(own).notes[0].startswith(f"n = {SEEDS} targets for each arm")
    own["l2"]["accuracy"] = own["l2"]["accuracy"][:3]
    assert figures.accuracy(own).notes[0].startswith(f"n = 3 to {SEEDS} targets for each arm")


def test_a_single_target_has_no_band_and_one_that_gets_nothing_is_named():
    own = curves(np.random.default_rng(0), ["conventional", "frozen"])
    own["conventional"]["accuracy"] = own["conventional"]["accuracy"][:1]
    panel = figures.alone(figures.accuracy(own).panels[0])
    buffer = io.BytesIO()
    FigureCanvasAgg(panel)
    panel.savefig(buffer)
    own["frozen"]["angles"] = np.where([True, False, False], np.nan, np.array(own["frozen"]["angles"])).tolist()
    assert legends(figures.alone(figures.angles(own).panels[0])) == {"conventional", "frozen (nothing)"}


def test_one_arm_has_one_colour_and_no_two_arms_share_one():
    from typing import get_args

    from pipeline.config import Arm

    assert set(get_args(Arm)) <= set(figures.COLOURS)
    assert len({*figures.COLOURS.values(), *figures.OTHERS}) == len(figures.COLOURS) + len(figures.OTHERS)
