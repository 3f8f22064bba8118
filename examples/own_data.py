"""Your own data: train an ENN on them and compare training with and without it, from Python.

    python examples/own_data.py
    python examples/own_data.py mine.npz --output runs/mine

The file holds x_train, y_train, x_test and y_test: rows of numbers, and classes from 0. Without one, the measurements of
scikit-learn's breast cancer data are written into such a file. The settings are small, so that this takes seconds;
``grad-instructor run --dataset mine.npz`` has those of the digits.
"""

import argparse
from pathlib import Path

import numpy as np

from grad_instructor import (
    CompareConfig,
    Config,
    DataConfig,
    ENNConfig,
    InstructionConfig,
    Placement,
    RLConfig,
    TargetConfig,
    TrainingConfig,
    UnrollConfig,
    UserError,
    run,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, help="an .npz (default: breast-cancer.npz, which is made)")
    parser.add_argument("--output", type=Path, default=Path("runs/own-data"), help="folder of the results")
    options = parser.parse_args()
    try:
        report = run(settings(options.file or breast_cancer()), options.output, placement=Placement(local=True))
    except UserError as error:  # one sentence that says what to do
        parser.error(str(error))
    for row in report.rows:
        print(f"{row['arm']:<14} {100 * row['accuracy']:.2f} % of the test set")
    print(f"the ENN: {report.enn}")


def breast_cancer() -> Path:
    """569 tumours, 30 measurements each, scaled by the training part's mean and standard deviation."""
    from sklearn.datasets import load_breast_cancer

    x, y = (np.asarray(array) for array in load_breast_cancer(return_X_y=True))
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[:450], order[450:]
    mean, deviation = x[train].mean(axis=0), x[train].std(axis=0)
    x = ((x - mean) / deviation).astype(np.float32)
    file = Path("breast-cancer.npz")
    np.savez(file, x_train=x[train], y_train=y[train], x_test=x[test], y_test=y[test])
    return file


def settings(file: Path) -> Config:
    """Runs of 100 steps: two rounds of RL, then fine-tuning through them."""
    return Config(
        data=DataConfig(str(file)),
        target=TargetConfig(hidden=(16,)),
        training=TrainingConfig(learning_rate=0.05, batch_size=32, steps=100),
        enn=ENNConfig(readers=("probes",)),
        instruction=InstructionConfig(refresh=10),
        rl=RLConfig(rounds=2, updates=100, members=64, period=20),
        unroll=UnrollConfig(segments=40, steps=40),
        compare=CompareConfig(arms=("conventional", "growth", "he", "instructed", "instructed-he"), seeds=10, tuning_seeds=4),
    )


if __name__ == "__main__":
    main()
