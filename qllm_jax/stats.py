"""Statistics over seeds: mean, interquartile mean, 95% bootstrap intervals (Gorsane et al. 2022, arXiv 2209.10485)."""

from collections.abc import Callable

import numpy as np

RESAMPLES = 10_000


def iqm(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Interquartile mean: the mean without the lowest and the highest quarter of the scores."""
    ordered = np.sort(scores, axis)
    n = scores.shape[axis]
    cut = int(0.25 * n)
    return np.mean(np.take(ordered, range(cut, n - cut), axis), axis)


def mean(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Arithmetic mean."""
    return np.mean(scores, axis)


def bootstrap(scores: np.ndarray, statistic: Callable[..., np.ndarray] = mean, seed: int = 0) -> tuple[float, float]:
    """95% percentile bootstrap interval of a statistic over runs; `scores` is (runs,). One run has no interval: NaN."""
    if scores.size < 2:
        return float("nan"), float("nan")
    rows = np.random.default_rng(seed).integers(0, scores.size, (RESAMPLES, scores.size))
    low, high = np.percentile(statistic(scores[rows], -1), [2.5, 97.5])
    return float(low), float(high)


def band(scores: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """`bootstrap` of the mean for each column of (runs, columns), with the same resamples for all columns."""
    n_runs, n_columns = scores.shape
    if n_runs < 2:
        return np.full(n_columns, np.nan), np.full(n_columns, np.nan)
    rows = np.random.default_rng(seed).integers(0, n_runs, (RESAMPLES, n_runs))
    # Count the draws of each run: one product gives all means without an array (resamples, runs, columns).
    counts = np.sum(rows[:, :, None] == np.arange(n_runs)[None, None], 1)  # (resamples, runs)
    low, high = np.percentile(counts @ scores / n_runs, [2.5, 97.5], 0)
    return low, high


def summary(scores: np.ndarray) -> dict[str, float | None]:
    """Mean, IQM and the 95% interval of the mean over runs; None in place of NaN, which JSON does not have."""
    low, high = bootstrap(scores)
    figures = {"mean": float(mean(scores)), "iqm": float(iqm(scores)), "ci95_low": low, "ci95_high": high}
    return {name: value if np.isfinite(value) else None for name, value in figures.items()}


def mean_with_interval(scores: np.ndarray) -> str:
    """The mean over seeds with its interval, as text."""
    average, (low, high) = float(mean(scores)), bootstrap(scores)
    if scores.size < 2:
        return f"{format_number(average)} (one seed, no interval)"
    figures = tuple(format_number(x, average) for x in (average, low, high))
    return f"{figures[0]} (95% CI {figures[1]} to {figures[2]}, {scores.size} seeds)"


def percentage_with_interval(shares: np.ndarray) -> str:
    """The mean of shares over seeds with its interval, as text in percent."""
    low, high = bootstrap(shares)
    interval = "" if shares.size < 2 else f" (95% CI {low:.1%} to {high:.1%})"
    return f"{mean(shares):.1%}{interval}"


def format_number(value: float, scale: float | None = None) -> str:
    """A return as text: three decimals if it is small (returns of foraging are at most 1), else one.

    `scale` decides in place of `value`, so that numbers printed side by side have equally many decimals.
    """
    return f"{value:,.{3 if abs(value if scale is None else scale) < 10 else 1}f}"
