"""Put a run's ENN into the package, with its card, so that ``Instructor.load(NAME)`` finds it.

python -m benchmarks.ship mnist-mlp runs/paper/paper-shallow/probes
python -m benchmarks.ship mnist-image runs/paper/paper-shallow/image
python -m benchmarks.ship mnist-tuned runs/mnist-9c9b
python -m benchmarks.ship digits-mlp runs/digits-3b5c
python -m benchmarks.ship --quick    # an untrained ENN with a made-up report, into a temporary folder
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from benchmarks import quick
from benchmarks.commands import without_folder
from pipeline.config import PRESETS, Config, coarsened, from_dotted, to_dotted
from pipeline.enn import Critic, load_critic, save_critic
from pipeline.enn.files import SHIPPED
from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.results.provenance import provenance
from pipeline.results.tables import report_rows
from pipeline.setting import home_of
from pipeline.targets import MLP

LIMITS = (
    "Targets with other inputs or classes cannot be read. Targets of other data are instructed as far as the guard lets it. "
    "Measured on the targets and data of docs/results, on nothing else."
)


def main() -> int:
    parser = quick.parser_of(__doc__)
    parser.add_argument("name", nargs="?")
    parser.add_argument("run", type=Path, nargs="?", help="folder of a finished run")
    options = parser.parse_args()
    if not options.run and not options.quick:
        parser.error("give a name and the folder of a finished run, or --quick")
    results = quick.results_folder(True) if options.quick else SHIPPED
    run, name = options.run or made_up(results / "run"), options.name or "tiny"
    try:
        ship(run, results / f"{name}.safetensors")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{results / name}.safetensors")
    return 0


def ship(run: Path, output: Path) -> None:
    """Write a run's ENN with its card.

    Raises:
        UserError: a file of the run is missing or damaged.
    """
    settings = read_json(run / "config.json")
    config = from_dotted(settings["settings"])
    critic = load_critic(run / "enn.safetensors")
    # at home where it learned: on the coarser runs, at the learning rate that its users are likely to have
    critic.home = dataclasses.replace(home_of(coarsened(config), critic.home.target), scale=critic.home.scale)
    save_critic(critic, output, card(config, run))


def made_up(folder: Path) -> Path:
    """What a finished run's folder holds of what is read here; nothing in it was trained."""
    config = PRESETS["digits"]
    save_critic(
        Critic("probes", config.enn, home_of(config, MLP((64, *config.target.hidden, 10)))), folder / "enn.safetensors", {}
    )
    numbers = {"test_accuracy": [0.5, 0.6], "test_loss": [1.0, 1.0], "train_loss": [1.0, 1.0], "ms_per_step": [1.0, 1.0]}
    arm = numbers | {"seeds": [1, 2], "strength": "", "diverged": 0}
    rows = [row | {"provenance": provenance("made up", 0)} for row in report_rows({"conventional": arm, "instructed": arm})]
    write_json(folder / "report.json", {"rows": rows})
    write_json(folder / "config.json", {"preset": "digits", "settings": to_dotted(config)})
    return folder


def card(config: Config, run: Path) -> dict[str, Any]:
    """Data, targets, command, figures, limits."""
    report = read_json(run / "report.json")
    facts = report["rows"][0]["provenance"]
    figures = {
        row["arm"]: {key: row[key] for key in ("n", "accuracy", "accuracy_low", "accuracy_high", "difference", "p")}
        for row in report["rows"]
        if row["arm"] in ("conventional", "growth", "he", "instructed", "instructed-he")
    }
    depth = f" Reads MLPs of {len(config.target.hidden) + 1} layers only." if config.enn.readers[0] == "convnet" else ""
    starts = "from He" if config.target.initialisation == "he" else "from small weights and He"
    return {
        "data": config.data.dataset,
        "targets": f"hidden layers {list(config.target.hidden)}, {config.target.activation}, {starts}",
        "optimiser": f"SGD, momentum {config.training.momentum:g}, learning rate {config.training.learning_rate:g}",
        "command": without_folder(facts)["command"],
        "commit": facts["commit"],
        "seed": config.seed,
        "date": facts["date"],
        "test accuracy": figures,
        "limits": LIMITS + depth,
    }


if __name__ == "__main__":
    sys.exit(main())
