"""Who proposes equations: by evolution (Alber et al., 2018), or at random as the control. No equation is proposed twice.

Evolution keeps the best ``sampler.population`` equations of those that were judged to the end, and changes one of them in one
place (:func:`pipeline.learning.expression.drawing.mutated`); the first ``sampler.startup`` are random, and every
``sampler.random_every``-th later on. A proposal is a function
of the seed, the candidate's number, the equations before it and what has been told, so that a search that was stopped goes on
as if it had not been.

Two equations are one where they do the same on a probe batch. Nothing is kept on disk: whose child each is can be had again
from the results (:func:`family`).
"""

import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from pipeline.config import PRESETS, to_dotted
from pipeline.errors import UserError
from pipeline.search.ladder import name_of
from pipeline.search.plan import Plan, deciding
from pipeline.search.values import Group
from pipeline.seeding import stream

if TYPE_CHECKING:
    from pipeline.learning.expression.grammar import Tree

KEY = "rule.equation"
"""the setting that is proposed"""
MOST_TRIES = 500
"""proposals in a row that have all been made before"""


class Equations:
    """The candidates of one group: a proposer like :class:`pipeline.search.propose.Proposals`.

    Attributes:
        noted: how each equation came about: ``how``, ``parent`` (a candidate's name, or None), ``fingerprint``, ``tries``.

    Raises:
        UserError: an equation to begin with cannot be read or does not type.
    """

    def __init__(self, plan: Plan, group: Group) -> None:
        from pipeline.learning.expression.spelling import parse

        self.plan, self.group = plan, group
        settings = to_dotted(PRESETS[plan.preset]) | group.settings
        self.seed, self.deepest = int(settings["seed"]), int(settings["evolution.depth"])
        self.activation = str(settings["target.activation"])
        self.trees: list[Tree] = []
        self.noted: list[dict[str, Any]] = []
        self.found: dict[str, int] = {}
        """by fingerprint, the equation that was the first to have it"""
        self.fitness: dict[int, float] = {}
        """of those that were judged to the end; more is better"""
        self.first = [parse(text) for text in group.space[0].choice]

    @property
    def total(self) -> int:
        """How many candidates there will be."""
        return self.plan.budget.candidates

    def propose(self, number: int) -> dict[str, Any]:
        """The settings of a candidate, by dotted name. Numbers come one after the other."""
        from pipeline.learning.expression.spelling import plain

        assert number == len(self.trees), "equations are proposed one after the other"
        draws = Random(stream(self.seed, "equation", self.group.name, number))
        tree, noted = self._new(number, draws)
        self.trees.append(tree)
        self.noted.append(noted)
        return {KEY: plain(tree)}

    def tell(self, number: int, result: dict[str, Any] | None, failed: bool = False) -> None:
        """The outcome of a candidate: of the last stage, or None where it was stopped before."""
        del failed
        if result is not None:
            name, direction = self.plan.objectives[0]
            value = deciding(result, name) if "failed" not in result else math.nan
            if math.isfinite(value):
                self.fitness[number] = value if direction == "maximise" else -value

    @property
    def best(self) -> list[int]:
        """The equations that evolution keeps, best first."""
        return sorted(self.fitness, key=lambda number: (-self.fitness[number], number))[: self.plan.sampler.population]

    def _at_random(self, number: int) -> bool:
        """Whether a candidate is a random one."""
        sampler = self.plan.sampler
        every = sampler.random_every
        return sampler.name == "random" or number < sampler.startup or bool(every and number % every == every - 1)

    def _new(self, number: int, draws: Random) -> "tuple[Tree, dict[str, Any]]":
        """An equation that is none of those before, and how it came about."""
        from pipeline.learning.expression.fingerprint import fingerprint
        from pipeline.learning.expression.spelling import plain

        for tries in range(MOST_TRIES):
            tree, noted = self._drawn(number, draws, tries)
            digits = fingerprint(plain(tree), self.activation)
            if digits not in self.found:
                self.found[digits] = number
                return tree, noted | {"fingerprint": digits, "tries": tries + 1}
        raise UserError(
            f"the last {MOST_TRIES} equations that were tried for candidate {name_of(self.group.name, number)} have all been "
            "judged before: there are no more to be found so; give a smaller budget.candidates or a larger evolution.depth."
        )

    def _drawn(self, number: int, draws: Random, tries: int) -> "tuple[Tree, dict[str, Any]]":
        """In its simplest form: what is judged has nothing in it that is never computed."""
        from pipeline.learning.expression.drawing import equation, mutated
        from pipeline.learning.expression.simplify import simplified

        if number < len(self.first) and not tries:
            return simplified(self.first[number]), {"how": "given", "parent": None}
        kept = [] if self._at_random(number) else self.best
        if not kept:
            return simplified(equation(draws, self.deepest)), {"how": "random", "parent": None}
        parent = draws.choice(kept)
        tree, how = mutated(self.trees[parent], draws, self.deepest)
        return simplified(tree), {"how": how, "parent": name_of(self.group.name, parent)}


def family(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How each equation of a search came about, proposed once more from what is known of those before it.

    Args:
        rows: of the search's only group, by number, as ``search.json`` has them.

    Raises:
        UserError: the rows are of another search, or another version of this one.
    """
    (group,) = plan.groups
    proposer, told = Equations(plan, group), 0
    for number, row in enumerate(rows):
        while told < plan.budget.seen(number):
            proposer.tell(told, rows[told]["result"] if rows[told]["outcome"] == "finished" else None)
            told += 1
        if proposer.propose(number) != row["settings"]:
            raise UserError(f"candidate {row['name']} is not what {plan.name} proposes today; do the search again.")
    return proposer.noted
