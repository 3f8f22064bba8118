"""Networks in the order of one predictor, or of several by their ranks.

A combination has for each network the mean of its ranks among the networks, or, for AZ-NAS (Lee & Ham, CVPR 2024, eq. 9), the
sum of the logarithms of rank / m, where the best of m networks has rank m; equal scores share their mean rank. Only networks
with a score by every part have ranks: what is NaN is named, and stands nowhere, and so is a network that a predictor cannot use
where it can use others. A combination may be a part of another:
``synflow+az_nas`` has the mean of a network's ranks by SynFlow and by AZ-NAS.
"""

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.enn.files import checked_device
from pipeline.errors import UserError, reason_of, shown
from pipeline.names import COMBINATIONS, Combination, combination, parts_of
from pipeline.predictors import PREDICTORS, Scored, checks, named
from pipeline.seeding import torch_stream
from pipeline.targets import Population

__all__ = ["COMBINATIONS", "Combination", "Ranking", "by_ranks", "combined", "order", "parts_of", "rank", "unranked"]


@dataclass(frozen=True)
class Ranking:
    """What :func:`rank` found."""

    scores: Mapping[str, Sequence[Scored]]
    """of each single predictor, one for each network"""
    combined: Sequence[float]
    """of each network, by all that was asked for: the score itself if that was one predictor; larger is better"""
    order: Sequence[int]
    """places of the networks in the list that was given, best first"""
    unranked: Mapping[int, Sequence[str]]
    """places of networks that have no rank, and which predictors are NaN there"""
    why: Mapping[int, str] = field(default_factory=dict)
    """of those among them that a predictor cannot use, why the first cannot, as a sentence"""

    @property
    def best(self) -> int:
        """The place of the best network.

        Raises:
            UserError: no network has a rank.
        """
        if not self.order:
            said = "".join(f" ({why})" for why in list(self.why.values())[:1])
            raise UserError(f"no network has a rank: {', '.join(sorted(self.scores))} are NaN{said}; choose other predictors.")
        return self.order[0]


def rank(
    models: Iterable[nn.Module] | Population,
    batch: tuple[Tensor, Tensor],
    predictors: Iterable[str],
    seed: int = 0,
    device: str | torch.device | None = None,
) -> Ranking:
    """Networks in the order of a predictor, or of several by their ranks.

    Args:
        models: networks, which are left as they were; or a population, whose members they are.
        batch: inputs (N, …) and labels (N,).
        predictors: names, of combinations too.
        seed: of what is random in a predictor; the same for each network.
        device: where to compute, on a copy of each network; where it lies if not given.

    Raises:
        UserError: no networks, no predictors or unknown ones, no such device, a seed that is no whole number, a batch that is
            none, or a predictor that can use none of the networks.
    """
    networks, seed = _networks(models), checks.whole(seed, "seed", least=-math.inf)
    predictors = predictors if isinstance(predictors, str) or not isinstance(predictors, Iterable) else list(predictors)
    if not isinstance(predictors, list) or not predictors:
        raise UserError(f"predictors are a list of names and got {shown(predictors)}; choose from {', '.join(known())}.")
    place = None if device is None else checked_device(device)
    parts = list(dict.fromkeys(part for name in predictors for part in parts_of(name)))
    checks.pair(batch)
    scores: dict[str, list[Scored]] = {part: [] for part in parts}
    refused: dict[str, dict[int, UserError]] = {part: {} for part in parts}
    for number, network in enumerate(networks):
        own = network if place is None else _moved(number, network, place)
        for part in parts:
            try:
                found = named(part).scored(own, batch, torch_stream(seed, "predictor", part))
            except UserError as error:
                refused[part][number], found = error, Scored(math.nan, 0.0)
            except Exception as error:
                error.add_note(f"This was network {number} of the list, scored by {part}.")
                raise
            scores[part].append(found)
    if none := [part for part in parts if len(refused[part]) == len(networks)]:
        raise refused[none[0]][0]
    values = {part: [scored.value for scored in found] for part, found in scores.items()}
    columns = [combined(name, values) for name in predictors]
    total = columns[0] if len(columns) == 1 else by_ranks(columns)
    why = {number: str(error) for part in reversed(parts) for number, error in refused[part].items()}
    return Ranking(scores, total, order(total), unranked(values), dict(sorted(why.items())))


def known() -> list[str]:
    """Names of predictors and of combinations."""
    return [*PREDICTORS, *COMBINATIONS]


def combined(name: str, values: Mapping[str, Sequence[float]]) -> list[float]:
    """Scores by a name, of each network; NaN where a part is.

    Args:
        values: scores of each network by each of the name's parts.

    Raises:
        UserError: there is no such name.
    """
    own = combination(name)
    columns = [combined(part, values) if part in COMBINATIONS else list(values[part]) for part in own.parts]
    return columns[0] if len(columns) == 1 else by_ranks(columns, own.by)


def by_ranks(columns: Sequence[Sequence[float]], by: Literal["mean", "logarithm"] = "mean") -> list[float]:
    """Of each network the mean of its ranks, or the sum of their logarithms, larger is better; NaN where it has none.

    Args:
        columns: scores of all networks, one column for each predictor.
    """
    whole = [place for place, row in enumerate(zip(*columns, strict=True)) if not any(map(math.isnan, row))]
    ranks = [ascending([column[place] for place in whole]) for column in columns]
    found = [math.nan] * len(columns[0])
    for at, place in enumerate(whole):
        own = [column[at] for column in ranks]
        found[place] = sum(own) / len(own) if by == "mean" else sum(math.log(value / len(whole)) for value in own)
    return found


def ascending(scores: Sequence[float]) -> list[float]:
    """Ranks from 1, the smallest score, to m; equal ones share their mean."""
    places = sorted(range(len(scores)), key=scores.__getitem__)
    ranks = [0.0] * len(scores)
    start = 0
    while start < len(places):
        end = start
        while end < len(places) and scores[places[end]] == scores[places[start]]:
            end += 1
        for place in places[start:end]:
            ranks[place] = (start + 1 + end) / 2
        start = end
    return ranks


def order(scores: Sequence[float]) -> list[int]:
    """Places, best first, of those that are not NaN; equal scores in the order given."""
    return sorted((place for place, score in enumerate(scores) if not math.isnan(score)), key=lambda place: -scores[place])


def unranked(values: Mapping[str, Sequence[float]]) -> dict[int, list[str]]:
    """Places of networks for which a predictor is NaN, and which."""
    found: dict[int, list[str]] = {}
    for name, column in values.items():
        for place, value in enumerate(column):
            if math.isnan(value):
                found.setdefault(place, []).append(name)
    return dict(sorted(found.items()))


def _networks(models: Iterable[nn.Module] | Population) -> list[nn.Module]:
    if isinstance(models, Population):
        return [models.target.module([own[member] for own in models.parameters]) for member in range(models.members)]
    if isinstance(models, nn.Module) or not isinstance(models, Iterable):
        raise UserError(f"networks to rank are a list and got {shown(type(models).__name__)}; give a list of torch.nn.Module.")
    networks = list(models)
    if not networks:
        raise UserError("there is no network to rank; give a list with at least one torch.nn.Module.")
    if wrong := [network for network in networks if not isinstance(network, nn.Module)]:
        raise UserError(f"a predictor scores a torch.nn.Module and got {shown(wrong[0])}; give networks.")
    return networks


def _moved(number: int, network: nn.Module, place: torch.device) -> nn.Module:
    """A copy on a device.

    Raises:
        UserError: torch does not copy it.
    """
    try:
        return copy.deepcopy(network).to(place)
    except (RuntimeError, NotImplementedError) as error:
        raise UserError(
            f"network {number} of the list cannot be copied to {place} ({reason_of(error)}); move it there, and leave out "
            "the device."
        ) from error
