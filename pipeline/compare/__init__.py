"""The comparison of ways of training: its populations, their training, their results, and the report on the test set."""

from pipeline.compare.results import collect, collect_arm
from pipeline.compare.run import check_populations, compare, population_origin
from pipeline.compare.tasks import (
    Task,
    all_tasks,
    candidates_of,
    choose,
    chooses_rate,
    chosen_strengths,
    final_tasks,
    tuned_arms,
    tuning_task,
)
from pipeline.compare.train import PER_MEMBER, checkpoints_of, trace_json, train_task

__all__ = [
    "PER_MEMBER",
    "Task",
    "all_tasks",
    "candidates_of",
    "check_populations",
    "checkpoints_of",
    "choose",
    "chooses_rate",
    "chosen_strengths",
    "collect",
    "collect_arm",
    "compare",
    "final_tasks",
    "population_origin",
    "trace_json",
    "train_task",
    "tuned_arms",
    "tuning_task",
]
