"""A search from Python: which optimiser's settings train these targets best?

    python examples/search_settings.py

A search is one YAML file, read strictly. This one varies the learning rate and momentum of targets on scikit-learn's digits:
eight candidates, of which the better half are trained to the end. ``tune_configs`` holds searches over ENNs, which are written
alike.
"""

import argparse
from pathlib import Path

from grad_instructor import Placement, UserError, read_plan, search

PLAN = """
question: Which learning rate and momentum train these targets best?
kind: target
preset: digits
settings:
  target.initialisation: he
  unroll.segments: 0
  training.steps: 150
  training.schedule: cosine
space:
  training.learning_rate: {float: [0.01, 2.0], log: true}
  training.momentum: {choice: [0.0, 0.9]}
objectives: {accuracy: maximise}
sampler: {name: tpe, startup: 4}
scheduler: {name: asha, reduction: 2}
budget: {candidates: 8, ahead: 2}
stages:
  - {name: early, targets: 2, steps: 50}
  - {name: whole, targets: 4}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/search-settings"), help="folder of the results")
    options = parser.parse_args()
    file = Path("settings.yaml")
    file.write_text(PLAN)
    try:
        plan = read_plan(file)
        print(f"{plan.budget.candidates} candidates in the stages {', '.join(stage.name for stage in plan.stages)}")
        found = search(file, options.output, placement=Placement(local=True))
    except UserError as error:  # one sentence that says what to do
        parser.error(str(error))
    for row in found.rows:
        if row["name"] in found.front:
            print(f"{row['name']}: {row['settings']} reaches {row['result']['accuracy']:.1f} % on validation data")
    print(f"train with it: grad-instructor run --config {found.best[0]}")


if __name__ == "__main__":
    main()
