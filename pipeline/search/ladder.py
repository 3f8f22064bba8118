"""Which stage of which candidate is judged next: asynchronous successive halving in the order of the candidates.

ASHA (Li et al., 2020) decides by what happens to be finished, so its outcome depends on timing. Here a candidate's going on is
decided by its own result and those of candidates with *smaller numbers*, as one worker would have had them; a decision waits
until these are in. So any number of workers gives the same search, and a search that was stopped goes on as if it had not been.

Candidates that are judged together are members of one population, and rounding depends on how many it has and where each stands
in it. So who they are follows from the settings and from results as well (:meth:`Ladder.population`), whoever is at work.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.names import parts_of
from pipeline.search.forecast import forecast
from pipeline.search.plan import Plan, deciding

Result = dict[str, Any]
"""what a stage found out, or {"failed": why} where the candidate itself is to blame"""


@dataclass(frozen=True)
class Task:
    """One stage of one candidate."""

    group: str
    number: int
    stage: int
    chosen: tuple[tuple[str, Any], ...]
    """the candidate's settings, where they differ from those of its group"""

    @property
    def candidate(self) -> str:
        return name_of(self.group, self.number)


def name_of(group: str, number: int) -> str:
    """A candidate's name: "007", or "adamw-007" in a group."""
    return f"{group}-{number:03d}" if group else f"{number:03d}"


def predicted(name: str, results: Sequence[Result]) -> list[float]:
    """Scores by a predictor, or by the ranks of several among these candidates; what has none is the worst."""
    from pipeline.predictors.rank import combined

    scores = combined(name, {part: [float(result[part]) for result in results] for part in parts_of(name)})
    return [-math.inf if math.isnan(score) else score for score in scores]


class Ladder:
    """The candidates of one group and how far they have come.

    Args:
        total: candidates.
        propose: the settings of a candidate.
        tell: is given each candidate's last result, in order, before a candidate that may see it is proposed
            (:meth:`pipeline.search.values.Budget.seen`).
    """

    def __init__(
        self,
        plan: Plan,
        group: str,
        total: int,
        propose: Callable[[int], dict[str, Any]],
        tell: Callable[[int, Result | None, bool], None],
    ) -> None:
        self.plan, self.group, self.total = plan, group, total
        self._propose, self._tell = propose, tell
        self.chosen: list[dict[str, Any]] = []
        self.results: dict[tuple[int, int], Result] = {}
        self._running: set[tuple[int, int]] = set()
        self._verdicts: dict[tuple[int, int], bool] = {}
        self._told = 0

    def next(self) -> Task | Literal["wait", "finished"]:
        """What to do next; more is known after each :meth:`done`."""
        found = self.population(1)
        return found[0] if isinstance(found, list) else found

    def population(self, size: int) -> list[Task] | Literal["wait", "finished"]:
        """What to do next, together: a stage of ``size`` candidates that stand side by side in their batch, but those that have
        ended before it. It waits until that is known of each.

        Where some of them have their results already, because the search was stopped in between, they are among the tasks all
        the same: without them the others would be rounded otherwise.
        """
        for number in range(len(self.chosen)):
            if tasks := self._open(number, size):
                return tasks
        while len(self.chosen) < self.total and self._may_propose():
            if len(self.chosen) >= self.total:  # what was told meanwhile has ended the search
                break
            self.chosen.append(self._propose(len(self.chosen)))
            if tasks := self._open(len(self.chosen) - 1, size):
                return tasks
        if len(self.chosen) == self.total and all(self.settled(number) for number in range(self.total)):
            self._tell_until(self.total)
            return "finished"
        return "wait"

    def done(self, number: int, stage: int, result: Result) -> None:
        """The result of a task."""
        self._running.discard((number, stage))
        self.results[number, stage] = result

    def settled(self, number: int) -> bool:
        """Whether nothing more will be asked about a candidate."""
        return self.outcome(number) is not None

    def outcome(self, number: int) -> tuple[int, str] | None:
        """A candidate's last stage and how it ended there: finished, stopped or failed. None while it is on its way."""
        for stage in range(len(self.plan.stages)):
            result = self.results.get((number, stage))
            if result is None:
                return None
            if "failed" in result:
                return stage, "failed"
            if stage == len(self.plan.stages) - 1:
                return stage, "finished"
            verdict = self.goes_on(number, stage)
            if verdict is None:
                return None
            if not verdict:
                return stage, "stopped"
        raise AssertionError("unreachable: a plan has stages")

    def goes_on(self, number: int, stage: int) -> bool | None:
        """Whether a candidate with a result of this stage goes on to the next; None while that is not known."""
        if self.plan.scheduler.name == "none":
            return True
        key = number, stage
        if key not in self._verdicts:
            rivals = self._rivals(number, stage)
            if rivals is None:
                return None
            values = self._values(rivals, number, stage)
            better = sum(value > values[-1] for value in values[:-1])
            self._verdicts[key] = better < max(1, int(len(values) / self.plan.scheduler.reduction))
        return self._verdicts[key]

    def _rivals(self, number: int, stage: int) -> list[int] | None:
        """Candidates up to this one that came to this stage; None while that is not known of one."""
        rivals = []
        for other in range(number + 1):
            result = self.results.get((other, stage))
            if result is not None:
                rivals += [other] if "failed" not in result else []
            elif not self._ended_before(other, stage):
                return None
        return rivals

    def _ended_before(self, number: int, stage: int) -> bool:
        outcome = self.outcome(number)
        return outcome is not None and outcome[0] < stage

    def _values(self, rivals: list[int], number: int, stage: int) -> list[float]:
        if stage == 0 and self.plan.predict and self._gain_stage:
            seen = range(self.plan.budget.seen(number))
            known = [other for other in seen if self._gain_of(other) is not None]
            if len(known) >= self.plan.predict.after:
                gains = [float(self._gain_of(other) or 0.0) for other in known]
                measured = [self.results[other, 0] for other in known]
                return forecast(measured, gains, [self.results[other, 0] for other in rivals])
        name, sign = self.plan.rank_by(stage)
        if self.plan.stages[stage].predictors:
            return predicted(name, [self.results[other, stage] for other in rivals])
        return [sign * deciding(self.results[other, stage], name) for other in rivals]

    @property
    def _gain_stage(self) -> int:
        """The first stage, after the very first, in which targets are instructed; 0 where there is none."""
        return next((number for number, stage in enumerate(self.plan.stages) if number and stage.targets), 0)

    def _gain_of(self, number: int) -> float | None:
        """What a candidate gained there; None where it did not come so far."""
        return self.results.get((number, self._gain_stage), {}).get("gain")

    def _open(self, number: int, size: int) -> list[Task]:
        """The stage that the population is to go through now of which a candidate is the last one; it is then under way."""
        side_by_side = self._side_by_side(number, size)
        stages = {other: self._open_stage(other) for other in side_by_side if number == side_by_side[-1]}
        stage = min((stage for stage in stages.values() if stage is not None), default=None)
        if stage is None:
            return []
        members = [other for other in side_by_side if not self._ended_before(other, stage)]
        missing = [other for other in members if (other, stage) not in self.results]
        if any(stages[other] != stage or (other, stage) in self._running for other in missing):
            return []
        self._running.update((other, stage) for other in missing)
        return [Task(self.group, other, stage, tuple(self.chosen[other].items())) for other in members]

    def _side_by_side(self, number: int, size: int) -> range:
        """The candidates of a candidate's batch that are judged with it: each ``size`` of them from its first one on."""
        place = number % self.plan.budget.batch
        first = number - place % size
        return range(first, min(first + size, number - place + self.plan.budget.batch, self.total))

    def _open_stage(self, number: int) -> int | None:
        for stage in range(len(self.plan.stages)):
            if (number, stage) not in self.results:
                return stage
            if "failed" in self.results[number, stage] or stage == len(self.plan.stages) - 1:
                return None
            if not self.goes_on(number, stage):
                return None
        return None

    def _may_propose(self) -> bool:
        """A proposal sees exactly the candidates up to ``ahead`` before it, or those before its batch."""
        until = self.plan.budget.seen(len(self.chosen))
        if not all(self.settled(number) for number in range(until)):
            return False
        self._tell_until(until)
        return True

    def _tell_until(self, until: int) -> None:
        while self._told < until:
            outcome = self.outcome(self._told)
            assert outcome is not None
            stage, how = outcome
            self._tell(self._told, self.results[self._told, stage] if how == "finished" else None, how == "failed")
            self._told += 1
