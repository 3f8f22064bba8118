"""How well a network will do, before it is trained: the registry of predictors, and networks ranked by them."""

from pipeline.predictors import PREDICTORS, Labelled, Predictor, Scored, named
from pipeline.predictors.rank import COMBINATIONS, Combination, Ranking, by_ranks, combined, parts_of, rank

__all__ = [
    "COMBINATIONS",
    "PREDICTORS",
    "Combination",
    "Labelled",
    "Predictor",
    "Ranking",
    "Scored",
    "by_ranks",
    "combined",
    "named",
    "parts_of",
    "rank",
]
