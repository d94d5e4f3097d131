"""Aggregates over tasks and seeds (Agarwal et al. 2021, arXiv 2108.13264), with stratified bootstrap intervals.

Seeds are resampled within each task, and every task counts the same whatever its number of seeds. Scores are those of
one method: a list with one array (seeds,) for each task, normalized so that tasks can be averaged.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float

RESAMPLES = 10_000
Scores = Sequence[np.ndarray]  # for each task (seeds,), or (resamples, seeds)


class Estimate(NamedTuple):
    """A statistic with its 95% percentile interval over resamples, and the number of runs that it is made of.

    The bounds are NaN if a task has one seed, of which every resample is the same.
    """

    value: float
    low: float
    high: float
    n_runs: int


def iqm(scores: Scores) -> np.ndarray:
    """Return the interquartile mean of all runs: the mean of the middle half, by weight, of the ordered scores.

    A run weighs 1 / its task's number of seeds. With equally many seeds and a total that 4 divides, this is the
    trimmed mean of Agarwal et al.
    """
    pooled = np.concatenate(scores, -1)
    weights = np.concatenate([np.full(each.shape[-1], 1 / (len(scores) * each.shape[-1])) for each in scores])
    order = np.argsort(pooled, -1)
    ends = np.cumsum(weights[order], -1)
    inside = np.clip(ends, 0.25, 0.75) - np.clip(ends - weights[order], 0.25, 0.75)
    return 2 * np.sum(inside * np.take_along_axis(pooled, order, -1), -1)


def improvement(scores: Scores, others: Scores) -> np.ndarray:
    """Return the probability that a run of one method beats a run of the other on a task drawn at random.

    A tie counts one half. Both lists have the same tasks in the same order.
    """
    pairs = ((ours[..., :, None], theirs[..., None, :]) for ours, theirs in zip(scores, others, strict=True))
    return np.mean([np.mean((x > y) + 0.5 * (x == y), (-2, -1)) for x, y in pairs], 0)


def improvement_p(scores: Scores, others: Scores) -> float:
    """Return the two-sided p-value of `improvement` being 1/2: the stratified rank-sum test, by permutation.

    Under its hypothesis both methods' runs have the same distribution on each task, so that within a task the methods
    can be exchanged between runs: 10,000 times at random. Rank sums are weighed as `improvement` weighs them, which is
    as van Elteren (1960) does if all tasks have the same numbers of seeds.
    """
    drawn = np.zeros(RESAMPLES)
    for i, (ours, theirs) in enumerate(zip(scores, others, strict=True)):
        ranks = scipy.stats.rankdata([*ours, *theirs])
        sums = _splits(ours.size, theirs.size, seed=i) @ ranks
        drawn += (sums - ours.size * (ours.size + 1) / 2) / (ours.size * theirs.size * len(scores))
    rounding = 1e-9
    as_far = np.abs(drawn - 0.5) >= np.abs(improvement(scores, others) - 0.5) - rounding
    return float((1 + np.sum(as_far)) / (1 + RESAMPLES))


def profile(scores: Scores, thresholds: Float[np.ndarray, " taus"]) -> np.ndarray:
    """Return the performance profile: the share of runs with a score above each threshold (..., taus)."""
    return np.mean([np.mean(each[..., None] > thresholds, -2) for each in scores], 0)


def iqm_interval(scores: Scores) -> Estimate:
    """Return the IQM over tasks and seeds with its interval."""
    return _estimate(iqm(scores), iqm(_resampled(scores)), scores)


def improvement_interval(scores: Scores, others: Scores) -> Estimate:
    """Return the probability of improvement with its interval: the seeds of both methods are resampled."""
    resampled = improvement(_resampled(scores), _resampled(others, seed=1))
    return _estimate(improvement(scores, others), resampled, [*scores, *others])


def profile_band(scores: Scores, thresholds: Float[np.ndarray, " taus"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95% interval of the performance profile at each threshold, pointwise; NaN if a task has one seed."""
    if min(each.size for each in scores) < 2:
        nothing = np.full(len(thresholds), np.nan)
        return nothing, nothing
    # The share of one task at one threshold is a mean of draws: one product instead of (resamples, seeds, taus).
    totals = np.zeros((RESAMPLES, len(thresholds)))
    for each, rows in zip(scores, _draws(scores), strict=True):
        counts = np.stack([np.sum(rows == i, -1) for i in range(each.size)], -1)  # (resamples, seeds)
        totals += counts @ (each[:, None] > thresholds).astype(float) / each.size
    return _percentiles(totals / len(scores))


def normalize(scores: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map scores so that `low` becomes 0 and `high` 1. ValueError if `high` is not above `low`."""
    if not high > low:
        raise ValueError(f"scores cannot be normalized from {low:g} to {high:g}: the second must be greater")
    return (scores - low) / (high - low)


@functools.lru_cache(maxsize=64)  # a page compares many pairs of methods with the same numbers of seeds
def _splits(n_ours: int, n_theirs: int, seed: int) -> np.ndarray:
    """Ways of giving runs to two methods (resamples, runs): 1 for a run of the first, else 0."""
    labels = np.tile(np.arange(n_ours + n_theirs) < n_ours, (RESAMPLES, 1))
    return np.random.default_rng(seed).permuted(labels, axis=1).astype(float)


def _draws(scores: Scores, seed: int = 0) -> list[np.ndarray]:
    """Indices of resampled seeds (resamples, seeds) for each task."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, each.size, (RESAMPLES, each.size)) for each in scores]


def _resampled(scores: Scores, seed: int = 0) -> list[np.ndarray]:
    """Scores (resamples, seeds) for each task."""
    return [each[rows] for each, rows in zip(scores, _draws(scores, seed), strict=True)]


def _percentiles(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.percentile(values, [2.5, 97.5], 0)
    return low, high


def _estimate(value: np.ndarray, resampled: np.ndarray, scores: Scores) -> Estimate:
    sizes = [each.size for each in scores]
    low, high = _percentiles(resampled) if min(sizes) > 1 else (np.nan, np.nan)
    return Estimate(float(value), float(low), float(high), sum(sizes))
