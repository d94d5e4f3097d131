"""Ranks of methods over tasks: Friedman's test and Nemenyi's critical difference (Demsar 2006, JMLR 7, 1 to 30)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats as scipy_stats

LEVEL = 0.05
MIN_TASKS, MIN_METHODS = 2, 3


class Ranking(NamedTuple):
    """Average ranks of methods, 1 the best, and the tests of their differences."""

    ranks: Float[np.ndarray, " methods"]
    p: float  # of Friedman's test: all methods have the same rank on average
    critical_difference: float  # between average ranks, at 5%; of use only if the test rejects

    @property
    def rejects(self) -> bool:
        """True if Friedman's test rejects at 5% that all methods are alike."""
        return self.p < LEVEL

    @property
    def cliques(self) -> list[list[int]]:
        """Largest sets of methods, by index and the best first, whose ranks differ by no critical difference.

        All methods are one set if the test does not reject.
        """
        order = np.argsort(self.ranks, kind="stable")
        if not self.rejects:
            return [order.tolist()]
        ranks = self.ranks[order]
        stops = np.searchsorted(ranks, ranks + self.critical_difference, side="right")
        starts = [i for i, stop in enumerate(stops) if i == 0 or stop > stops[i - 1]]
        return [order[i : stops[i]].tolist() for i in starts if stops[i] - i > 1]


def average(scores: Float[np.ndarray, "tasks methods"]) -> Float[np.ndarray, " methods"]:
    """Return the average rank of each method over tasks, 1 the best; ties share their mean rank."""
    return scipy_stats.rankdata(-scores, axis=1).mean(0)


def ranking(scores: Float[np.ndarray, "tasks methods"]) -> Ranking:
    """Return the ranking of methods by their scores, higher better; ties share their mean rank.

    ValueError with fewer than MIN_TASKS tasks or MIN_METHODS methods.
    """
    n_tasks, n_methods = scores.shape
    if n_tasks < MIN_TASKS or n_methods < MIN_METHODS:
        needs = f"at least {MIN_TASKS} tasks and {MIN_METHODS} methods"
        raise ValueError(f"critical differences need {needs}, got {n_tasks} and {n_methods}")
    ranks = scipy_stats.rankdata(-scores, axis=1)
    p = 1.0 if np.all(ranks == ranks[0, 0]) else float(scipy_stats.friedmanchisquare(*scores.T).pvalue)
    # Quantiles of the studentized range with infinite degrees of freedom.
    quantile = scipy_stats.studentized_range.ppf(1 - LEVEL, n_methods, np.inf) / np.sqrt(2)
    difference = quantile * np.sqrt(n_methods * (n_methods + 1) / (6 * n_tasks))
    return Ranking(ranks.mean(0), p, float(difference))
