"""README.md and docs/, rendered from docs/templates, the results and the code: no number in them is typed.

    python -m benchmarks.pages            # write what differs
    python -m benchmarks.pages --check    # write nothing; exit code 1 where a page is stale
    python -m benchmarks.pages --draw     # and pictures, those that need no training
    python -m benchmarks.pages --quick    # copies in a temporary folder

A benchmark's page is one line of ``PAGES``. Its module has four functions of its results: ``table``; ``figures``, numbers by
name, which every template can say (``{{ transfer.home }}``; a name that is not there stops the rendering); ``verdict``, what
stands on top; and ``doubts``, what was hoped for and what came of it. What else is to be said of it stands in
docs/templates/_notes/NAME.md.j2. A table that has a part of before the last correction of the code says so (‡).
"""

import functools
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import jinja2

from benchmarks import quick, reference, tables
from pipeline.config import PRESETS, to_dotted
from pipeline.enn.files import SHIPPED
from pipeline.errors import UserError
from pipeline.files import read_json, write_atomic
from pipeline.instruction import own_guard, values
from pipeline.names import PredictorName, Signal
from pipeline.results.statistics import mean_interval

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
TEMPLATES = DOCS / "templates"
END = ".j2"
EARLIER = (
    f"{tables.EARLIER} What was made before {tables.CORRECTED} was made by code of before Hessian products became exact, V the "
    "value of a policy, and growth the same under every optimiser ([the log](../../benchmarks/LOG.md))."
)
UNTOUCHED = ("throughput", "rules-speed", "reading", "faults", "kills", "fuzz", "scaling", "tangent")
"""results whose numbers that changed nothing of"""


@dataclass(frozen=True)
class Page:
    """Of a benchmark."""

    name: str
    title: str
    module: str = ""
    """default: of benchmarks/, named as the page"""
    results: tuple[str, ...] = ()
    """names of files in benchmarks/results; default: named as the page"""
    pictures: tuple[tuple[str, str], ...] = ()
    """files beside them, and what they show"""

    @property
    def key(self) -> str:
        """As templates name its figures."""
        return self.name.replace("-", "_")

    @property
    def files(self) -> tuple[str, ...]:
        return self.results or (self.name,)

    @functools.cached_property
    def code(self) -> Any:
        return importlib.import_module(self.module or f"benchmarks.{self.key}")

    @property
    def question(self) -> str:
        """What it asks: as a search has it, or the first line of what its module says of itself."""
        return self.of("figures").get("question") or " ".join((inspect.getdoc(self.code) or "").partition("\n\n")[0].split())

    @property
    def source(self) -> str:
        """The benchmark's file."""
        return Path(self.code.__file__).relative_to(ROOT).as_posix()

    def of(self, what: str) -> Any:
        """What a function of the benchmark makes of the results."""
        return getattr(self.code, what)(*(read_json(quick.RESULTS / f"{name}.json") for name in self.files))

    def redraw(self) -> None:
        """Its pictures once more, where its results hold all that they show."""
        if hasattr(self.code, "redraw"):
            self.code.redraw(*(read_json(quick.RESULTS / f"{name}.json") for name in self.files), quick.RESULTS)

    def earlier(self) -> bool:
        """Whether a part of it is older than the last correction."""
        return any(tables.is_earlier(read_json(quick.RESULTS / f"{name}.json")) for name in self.files if name not in UNTOUCHED)


def searched(name: str, title: str, picture: str = "") -> Page:
    found = f"search-{name}"
    return Page(found.replace("_", "-"), title, "benchmarks.search", (found,), ((f"{found}.png", picture),) if picture else ())


PAGES = (
    Page(
        "main-job",
        "What `grad-instructor run` shows",
        results=("main-digits",),
        pictures=(("main-digits.png", "Validation accuracy against steps and seconds, with and without instruction"),),
    ),
    Page(
        "paper",
        "The paper's claim",
        results=("paper-shallow", "paper-deep"),
        pictures=(
            ("paper-shallow-accuracy.png", "Validation accuracy against steps and seconds in paper-shallow"),
            ("paper-shallow-instruction.png", "λ that the ENN chooses and the sizes of both gradients, by progress"),
        ),
    ),
    Page("directions", "What is learned beyond growth"),
    Page("transfer", "Other targets, other data"),
    Page(
        "baselines",
        "On top of what people use",
        pictures=(("baselines-44.png", "Validation error against steps and seconds in the shortest runs"),),
    ),
    Page("own-loop", "In somebody's own loop"),
    Page("scarce", "Scarce and wrong labels"),
    Page("ablations", "What matters in training an ENN"),
    Page("prediction", "Who predicts best"),
    Page("predicted-enn", "Can the gain of an ENN be predicted?"),
    Page("target-settings", "Settings of the targets, by an early prediction"),
    searched("enn_architecture", "Search: which ENN", "Gain against milliseconds per instruction"),
    searched("image_resolution", "Search: how small may the weight image be", "Gain against milliseconds by resolution"),
    searched("off_policy", "Search: how RL should learn", "Gain against calibration error"),
    searched("baselines", "Search: the optimisers, with the same budget"),
    Page(
        "rules",
        "Learning rules side by side",
        pictures=(
            ("rules-mnist.png", "Validation accuracy on MNIST against steps and seconds"),
            ("rules-mnist-angles.png", "The angle to the gradient on MNIST, layer by layer"),
            ("rules-fashion.png", "Validation accuracy on Fashion-MNIST against steps and seconds"),
            ("rules-fashion-angles.png", "The angle to the gradient on Fashion-MNIST, layer by layer"),
        ),
    ),
    Page("rules-images", "Learning rules on convolutional networks"),
    Page("decoupled", "Layers that do not wait"),
    Page(
        "evolution",
        "Equations that evolve",
        pictures=(
            ("evolution-family.png", "Validation accuracy of all equations judged to the end, and the winner's ancestors"),
            ("evolution-ratios.png", "The ratio r / b of each hidden unit, for the best equations"),
        ),
    ),
    Page("predictors", "What predictors tell of architectures", results=("predictors", "predictors-scores")),
    Page("predictors-sweeps", "How much of a predictor is its batch and its weights"),
    Page("zoo", "Who ranks our own small networks, before they are trained?"),
    Page(
        "assisted",
        "Searches over architectures, with a predictor in front",
        pictures=(("assisted.png", "Test accuracy of the best cell so far, by simulated seconds"),),
    ),
    Page(
        "pblf",
        "Is there a better derivative, or is it a learning rate?",
        pictures=(
            ("pblf-components.png", "All φ that were judged in two principal components, coloured by accuracy"),
            ("pblf-betas.png", "The path of two weights for several factors β, under SGD and under Adam"),
        ),
    ),
    Page("pblf-wrn", "A searched derivative in a wide residual network"),
    Page("throughput", "Speed of populations"),
    Page("rules-speed", "What a learning rule costs"),
    Page("predictors-speed", "What a predictor costs"),
    Page("reading", "What reading costs in one's own loop"),
    Page("tangent", "Exact Hessian products"),
    Page("scaling", "How far it scales"),
    Page("faults", "When things fail", "tests.support.faults", ("faults", "kills")),
    Page("fuzz", "Malformed files", "tests.support.fuzz"),
)


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where a page is stale")
    parser.add_argument("--draw", action="store_true", help="draw the pictures again of which the results hold all points")
    options = parser.parse_args()
    for page in PAGES if options.draw else ():
        page.redraw()
    folder = quick.results_folder(True) if options.quick else ROOT
    try:
        stale = [(path, text) for path, text in rendered() if not _is(folder / path, text)]
    except (UserError, jinja2.TemplateError) as error:
        print(error, file=sys.stderr)
        return 2
    if options.check:
        for path, _ in stale:
            print(f"{path} is stale; run: python -m benchmarks.pages", file=sys.stderr)
        return int(bool(stale))
    for path, text in stale:
        write_atomic(folder / path, text)
        print(f"written: {path}")
    return 0


def rendered() -> Iterator[tuple[Path, str]]:
    """Every page, by its path in the repository."""
    world = environment()
    for page in PAGES:
        text = world.get_template(f"_page.md{END}").render(page=page, notes=f"_notes/{page.name}.md{END}", earlier=EARLIER)
        yield Path("docs/results") / f"{page.name}.md", _tidy(text)
    for template in sorted(world.list_templates()):
        if template.endswith(END) and not template.startswith("_"):
            path = Path(template.removesuffix(END))
            yield path if path == Path("README.md") else Path("docs") / path, _tidy(world.get_template(template).render())


def environment(templates: Path = TEMPLATES) -> jinja2.Environment:
    """Where templates find figures, settings and what the code says of itself."""
    world = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    world.globals |= {page.key: page.of("figures") for page in PAGES}
    world.globals |= {
        "pages": PAGES,
        "setting": setting,
        "epochs": epochs,
        "card": lambda name: read_json(SHIPPED / f"{name}.json")["card"],
        "doubts": [(page, doubt) for page in PAGES for doubt in page.of("doubts")],
        "output": output,
        "outputs": read_json(quick.RESULTS / "outputs.json"),
        "guard": own_guard,
        "values": values,
        "reference": reference,
        "tables": tables,
        "confidence": f"{100 * inspect.signature(mean_interval).parameters['confidence'].default:g}",
        "presets": list(PRESETS),
        "registered": {"learning rules": len(get_args(Signal)), "predictors": len(get_args(PredictorName))},
    }
    return world


def setting(preset: str, key: str, form: str = "") -> str:
    """A setting of a preset by its dotted name, as it is shown.

    Raises:
        jinja2.UndefinedError: there is no such preset or setting.
    """
    settings = to_dotted(PRESETS[preset]) if preset in PRESETS else {}
    if key not in settings:
        raise jinja2.UndefinedError(f"there is no setting {key!r} of {preset!r}")
    value = settings[key]
    if isinstance(value, list):
        return ", ".join(format(item, form or "g") for item in value)
    return format(value, form or ("g" if isinstance(value, float) else ",")) if isinstance(value, int | float) else str(value)


def epochs(preset: str) -> str:
    """Of a preset's runs, on MNIST's training split."""
    settings = PRESETS[preset].training
    return f"{settings.steps * settings.batch_size / 55_000:g}"


MOST_LINES = 16
SHOWN = {
    "make run": r"round 1/|test accuracy on| arm | (conventional|he|instructed|instructed-he) +\d|\* |.* against |ENN |MLflow ",
    "make test": r".*\d+ passed",
}
"""of what a command prints, the lines that README.md shows; what is between them is left out"""


def output(name: str) -> str:
    """What a command printed, cut to a few lines (benchmarks/results/outputs.json).

    Raises:
        jinja2.UndefinedError: nobody kept it.
    """
    kept = read_json(quick.RESULTS / "outputs.json")
    if name not in kept:
        raise jinja2.UndefinedError(f"there is no output of {name!r}")
    lines, before = kept[name]["lines"], 0
    shown = [f"$ {name}"]
    for at, line in enumerate(lines):
        if re.match(SHOWN[name], line):
            shown += [*(["…"] if at - before > 3 else []), line]  # between two arms stand the intervals of one
            before = at
    return "\n".join(shown[: MOST_LINES - 1] + shown[-1:] if len(shown) > MOST_LINES else shown)


def _is(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


def _tidy(text: str) -> str:
    """Without blank lines in a row, at the end of lines, and at the end."""
    lines = [line.rstrip() for line in text.splitlines()]
    kept = [line for at, line in enumerate(lines) if line or (at and lines[at - 1])]
    return "\n".join(kept).strip() + "\n"


if __name__ == "__main__":
    sys.exit(main())
