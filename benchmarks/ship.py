"""Put a run's ENN into the package, with its card, so that ``Instructor.load(NAME)`` finds it.

python benchmarks/ship.py mnist-mlp runs/paper/paper-shallow/probes
python benchmarks/ship.py mnist-image runs/paper/paper-shallow/image
python benchmarks/ship.py mnist-tuned runs/mnist-9c9b
python benchmarks/ship.py digits-mlp runs/digits-3b5c
"""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.config import Config, coarsened, from_dotted
from pipeline.enn import load_critic, save_critic
from pipeline.enn.files import SHIPPED
from pipeline.files import read_json
from pipeline.setting import home_of

LIMITS = (
    "Targets with other inputs or classes cannot be read. Targets of other data are instructed as far as the guard lets it. "
    "Measured on the targets and data of the tables in README.md, on nothing else."
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("name")
    parser.add_argument("run", type=Path, help="folder of a finished run")
    options = parser.parse_args()
    settings = read_json(options.run / "config.json")
    config = from_dotted(settings["settings"])
    critic = load_critic(options.run / "enn.safetensors")
    # at home where it learned: on the coarser runs, at the learning rate that its users are likely to have
    critic.home = dataclasses.replace(home_of(coarsened(config), critic.home.target), scale=critic.home.scale)
    save_critic(critic, SHIPPED / f"{options.name}.safetensors", card(config, options.run))
    print(f"{SHIPPED / options.name}.safetensors")
    return 0


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
        "command": facts["command"],
        "commit": facts["commit"],
        "seed": config.seed,
        "date": facts["date"],
        "test accuracy": figures,
        "limits": LIMITS + depth,
    }


if __name__ == "__main__":
    sys.exit(main())
