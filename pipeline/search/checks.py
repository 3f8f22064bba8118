"""Whether the parts of a search go together."""

import itertools
import math
from collections.abc import Sequence
from typing import get_args

from pipeline.errors import UserError
from pipeline.names import COMBINATIONS, PredictorName, combination
from pipeline.search.kinds import KINDS, Checks, Kind
from pipeline.search.plain import as_name, check_known
from pipeline.search.plan import Plan
from pipeline.search.samplers import SAMPLERS
from pipeline.search.values import Sampler, Stage

MOST = 1_000_000
"""candidates, each of which has a folder"""
MOST_PROPOSALS = 10_000
"""of which one is judged"""


def check(plan: Plan) -> None:
    """Raises UserError where they do not; one sentence about the first thing that is wrong."""
    kind = KINDS[plan.kind]
    groups = [plan.config(group) for group in plan.groups]
    searched = frozenset(dimension.key for group in plan.groups for dimension in group.space)
    for stage in plan.stages:
        as_name(stage.name, "stages")
        if stage.rank_by:
            _check_ranked(stage, kind)
            if stage.rank_by.startswith("gain") and not stage.targets:
                raise UserError(f"stages.{stage.name}.rank_by is {stage.rank_by!r}, which needs 'targets' in the stage.")
    if plan.assist:
        _check_assist(plan.assist.predictor)
    for holds, message in (*_of_stages(plan, kind.least_targets), *kind.check(plan.stages, groups, searched), *_of_parts(plan)):
        if not holds:
            raise UserError(message)


def _check_assist(predictor: str) -> None:
    """Raises UserError where it is neither a predictor nor a combination of some."""
    try:
        combination(predictor)
    except UserError as error:
        raise UserError(f"assist.predictor: {error}") from error


def _check_ranked(stage: Stage, kind: Kind) -> None:
    """Raises UserError where the scheduler could not compare by this."""
    known = [*kind.objectives, *(name for name in get_args(PredictorName) if kind.predicted and name != "enn")]
    for part in stage.rank_by.split("+") if kind.predicted and stage.rank_by not in kind.objectives else [stage.rank_by]:
        check_known(part, [*known, *(COMBINATIONS if kind.predicted else ())], f"stages.{stage.name}.rank_by")
    if "+" in stage.rank_by and not stage.predictors:
        raise UserError(f"stages.{stage.name}.rank_by is {stage.rank_by!r}; only predictors are combined, give them alone.")


def _of_stages(plan: Plan, least_targets: int) -> Checks:
    stages = plan.stages
    names = [stage.name for stage in stages]
    counts = [(stage.updates, stage.segments, stage.targets) for stage in stages]
    least = f"stages: the last one needs 'targets' of at least {least_targets} to measure anything."
    rising = all(
        earlier <= later for one, other in itertools.pairwise(counts) for earlier, later in zip(one, other, strict=True)
    )
    return [
        (len(set(names)) == len(names), "stages: two have the same name; give each its own."),
        (stages[-1].targets >= least_targets, least),
        (
            all(min(*count, stage.steps) >= 0 for count, stage in zip(counts, stages, strict=True)),
            "stages: a count is below 0; give at least 0.",
        ),
        (rising, "stages: counts are totals since the start and cannot fall from one stage to the next."),
    ]


def _of_architectures(plan: Plan) -> Checks:
    """Of searches by an algorithm over architectures."""
    if "algorithm" not in KINDS[plan.kind].parts:
        return []
    dimensions = [own for group in plan.groups for own in group.space]
    return [
        (
            all(own.choice and not own.when for own in dimensions),
            f"space: in a search over {KINDS[plan.kind].over} every setting has a 'choice', and no 'when'.",
        ),
        (plan.assist is None or plan.assist.proposals >= 2, "assist.proposals must be at least 2; leave 'assist' out for 1."),
        (plan.assist is None or plan.assist.proposals <= MOST_PROPOSALS, f"assist.proposals: give at most {MOST_PROPOSALS:,}."),
        (plan.assist is None or plan.assist.examples >= 1, "assist.examples must be at least 1."),
        (plan.assist is None or 0 <= plan.assist.seconds < math.inf, "assist.seconds must be at least 0."),
        (
            plan.sampler == Sampler(),
            f"'sampler' plays no part in a search over {KINDS[plan.kind].over}; give 'algorithm' instead.",
        ),
    ]


def _of_parts(plan: Plan) -> Checks:
    budget, sampler, record, predict = plan.budget, plan.sampler, plan.record, plan.predict
    kind = KINDS[plan.kind]
    return [
        (
            not kind.samplers or sampler.name in kind.samplers,
            f"sampler {sampler.name} cannot propose {kind.over}; choose {' or '.join(kind.samplers)}.",
        ),
        (
            kind.proposals is None or sampler.mutation is None,
            f"sampler.mutation has no effect in a search over {kind.over}, which change in one place each; leave it out.",
        ),
        *_of_architectures(plan),
        (budget.candidates >= 1, f"budget.candidates is {budget.candidates}; give at least 1."),
        (budget.candidates <= MOST, f"budget.candidates is {budget.candidates:,}; give at most {MOST:,}."),
        (budget.ahead >= 1, f"budget.ahead is {budget.ahead}; give at least 1."),
        (budget.batch >= 1, f"budget.batch is {budget.batch}; give at least 1."),
        (
            1 < plan.scheduler.reduction < math.inf,
            f"scheduler.reduction is {plan.scheduler.reduction}; give a number above 1.",
        ),
        (sampler.startup >= 1, f"sampler.startup is {sampler.startup}; give at least 1."),
        (sampler.population >= 2, f"sampler.population is {sampler.population}; give at least 2."),
        *_of_sampler(sampler, [name for name, _ in plan.objectives]),
        (record.rounds >= 1, f"record.rounds is {record.rounds}; give at least 1."),
        (record.updates >= 0, f"record.updates is {record.updates}; give at least 0."),
        (predict is None or predict.after >= 5, "predict.after must be at least 5."),
        (
            predict is None or (plan.scheduler.name != "none" and any(stage.targets for stage in plan.stages[1:])),
            "'predict' needs a scheduler, and targets in a stage after the first; leave it out.",
        ),
        (
            sampler.name != "grid" or all(dimension.choice for group in plan.groups for dimension in group.space),
            "sampler grid needs a 'choice' for every setting of the space.",
        ),
    ]


LATELY = ("acquisition", "trade_off", "mutation", "random_every")
"""options of which a sampler that does not read them says so; files of before give the others to any"""


def _of_sampler(sampler: Sampler, objectives: Sequence[str]) -> Checks:
    """What must hold of its options."""
    form, plain = SAMPLERS[sampler.name], Sampler()
    takers = {option: [name for name, other in SAMPLERS.items() if option in other.takes] for option in LATELY}
    needless = [own for own in LATELY if getattr(sampler, own) != getattr(plain, own) and own not in form.takes]
    alone = form.one_objective or bool(sampler.acquisition)
    trade_off, mutation = sampler.trade_off, sampler.mutation
    return [
        (
            not needless,
            f"sampler {sampler.name} has no {needless[0]!r}; leave it out, or choose {' or '.join(takers[needless[0]])}."
            if needless
            else "",
        ),
        (
            trade_off is None or bool(sampler.acquisition),
            "sampler.trade_off is that of an 'acquisition'; give one of pi, ei and ucb with it, or leave it out.",
        ),
        (
            trade_off is None or 0 <= trade_off < math.inf,
            f"sampler.trade_off is {trade_off}; give a number of at least 0.",
        ),
        (mutation is None or 0 <= mutation <= 1, f"sampler.mutation is {mutation}; give a probability, from 0 to 1."),
        (sampler.random_every >= 0, f"sampler.random_every is {sampler.random_every}; give at least 0."),
        (
            not alone or len(objectives) == 1,
            f"sampler {sampler.name}{f' with acquisition {sampler.acquisition}' * bool(sampler.acquisition)} compares by one "
            f"objective, and there are {len(objectives)}; leave out all but one, or choose nsga2.",
        ),
    ]
