"""What a search tells its records and the screen: a child run per candidate, with a true status."""

from collections.abc import Callable, Sequence
from typing import Any

from pipeline.command_line.work import Work
from pipeline.results.measures import in_words, quantity
from pipeline.results.tables import as_cell
from pipeline.search.candidates import Search
from pipeline.search.kinds import KINDS
from pipeline.search.ladder import Result, Task, name_of
from pipeline.search.plan import Plan

NOT_SHOWN = (
    "operations_per_instruction",
    "steps_per_target",
    "targets",
    "gain_low",
    "gain_high",
    "value_spread",
    "spearman",
    "cosine_early",
    "cosine_late",
    "training_seconds",
)
"""results that stay in the search's files: MLflow's tables are to be read by people"""


OF_SEVERAL = ("accuracy_spread",)
"""results that say nothing of a single target"""
VALIDATED = {"accuracy": "val/accuracy", "accuracy_spread": "val/accuracy_spread", "loss": "val/loss"}
"""results by the names of MLflow's metrics"""


class Told:
    """What the records and the screen have been told: a child run per candidate, with a true status."""

    def __init__(self, job: Work, search: Search, say: Callable[[str, str], None]) -> None:
        self.job, self.search, self.say = job, search, say
        events = job.records.events
        outcomes = {event["run"]: event["row"].get("outcome") for event in events if event["kind"] == "result"}
        ends = {event["run"]: event["status"] for event in events if event["kind"] == "end"}
        # a candidate that was at work when the disk was full was ended as failed as well, and is still to be judged
        self.ended = {run for run, outcome in outcomes.items() if outcome and ends.get(run) == _status(outcome)}
        self._open: dict[str, tuple[str, int]] = {}

    def started(self, task: Task, at: int | None = None) -> None:
        """A stage of a candidate begins, or began."""
        run = f"search/{task.candidate}"
        self._open[run] = (task.group, task.number)
        plan = self.search.plan
        self.job.start(run, f"{task.candidate} {plan.name}", self._params(task), "candidate", at)

    def done(self, task: Task, result: Result) -> None:
        """A stage of a candidate is done."""
        self._record(task.group, task.number, task.stage, result)
        self.catch_up()

    def catch_up(self) -> None:
        """End the runs of candidates that are settled by now, also by what other candidates did."""
        for run, (group, number) in sorted(self._settled().items()):
            ladder = self.search.ladders[group]
            outcome = ladder.outcome(number)
            assert outcome is not None
            at, how = outcome
            for earlier in range(at + 1):
                self._record(group, number, earlier, ladder.results[number, earlier])
            name = self.search.plan.stages[at].name
            self.job.records.result(run, {"outcome": how, "stage": name})
            self.job.records.end(run, _status(how), self.search.written(group, number, at))
            self.ended.add(run)
            self.say(run.removeprefix("search/"), _line(self.search.plan, ladder.results[number, at], how, name))
        self.job.send()

    def _settled(self) -> dict[str, tuple[str, int]]:
        found = {}
        for group, ladder in self.search.ladders.items():
            for number in range(len(ladder.chosen)):
                run = f"search/{Task(group, number, 0, ()).candidate}"
                if run not in self.ended and ladder.settled(number):
                    if run not in self._open:  # judged in an earlier call that did not come to say so
                        task = Task(group, number, 0, tuple(ladder.chosen[number].items()))
                        self.started(task, self.search.written(group, number))
                    found[run] = (group, number)
        return found

    def _record(self, group: str, number: int, stage: int, result: Result) -> None:
        if values := shown_metrics(result):
            run = f"search/{name_of(group, number)}"
            self.job.records.metrics(run, stage, values, self.search.written(group, number, stage))

    def _params(self, task: Task) -> dict[str, Any]:
        """What tells it from the candidates of other searches, then what was chosen for it."""
        of = {"search": self.search.plan.name, "data.dataset": self.job.dataset.name}
        return of | ({"group": task.group} if task.group else {}) | dict(task.chosen)


def shown_metrics(result: Result) -> dict[str, float]:
    """The numbers of a result by the names and in the units that they have in every run: what is measured on validation data
    says so, and an accuracy is a share."""
    hidden = (*NOT_SHOWN, *(() if result.get("targets", 2) > 1 else OF_SEVERAL))
    values = {name: value for name, value in result.items() if isinstance(value, int | float) and name not in hidden}
    return {VALIDATED.get(name, name): value / 100 if name.startswith("accuracy") else value for name, value in values.items()}


def _status(outcome: str) -> str:
    return "FAILED" if outcome == "failed" else "FINISHED"


def _line(plan: Plan, result: Result, how: str, stage_name: str) -> str:
    if how == "failed":
        return f"failed in stage {stage_name}: {result['failed']}"
    first = [] if plan.objectives[0][0] in result else [KINDS[plan.kind].ranked]
    shown = [name for name in (*first, *(name for name, _ in plan.objectives)) if name in result]
    values = ", ".join(f"{in_words(name)} {quantity(name, as_cell(result[name], '.3g'))}" for name in shown)
    return f"{how if how == 'finished' else f'stopped after {stage_name}'}: {values}"


def wall_seconds(events: Sequence[dict[str, Any]]) -> float:
    """Over all calls in which something was judged, from a call's start to its last record."""
    total, began, last, judged = 0.0, 0, 0, False
    for event in [*events, {"kind": "start", "run": "search", "time": 0}]:
        if event["kind"] == "start" and event["run"] == "search":
            total += (last - began) / 1000 if judged else 0.0
            began, judged = event["time"], False
        judged, last = judged or event["kind"] == "metrics", event["time"]
    return total
