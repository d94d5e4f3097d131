"""Statistics over seeds as text and as fields of JSON."""

import numpy as np

from qllm_jax.stats.intervals import ANY, SHARE, Bounds, interval, iqm


def summary(scores: np.ndarray, bounds: Bounds = ANY) -> dict[str, float | None]:
    """Return mean, IQM and the 95% interval of the mean over seeds; None in place of NaN, which JSON does not have."""
    low, high = interval(scores, bounds)
    figures = {"mean": float(scores.mean()), "iqm": iqm(scores), "ci95_low": low, "ci95_high": high}
    return {name: value if np.isfinite(value) else None for name, value in figures.items()}


def mean_with_interval(scores: np.ndarray) -> str:
    """Return the mean over seeds with its interval, as text."""
    average, (low, high) = float(scores.mean()), interval(scores)
    if scores.size < 2:
        return f"{format_number(average)} (one seed, no interval)"
    figures = tuple(format_number(x, average) for x in (average, low, high))
    return f"{figures[0]} (95% CI {figures[1]} to {figures[2]}, {scores.size} seeds)"


def percentage_with_interval(shares: np.ndarray) -> str:
    """Return the mean of shares over seeds with its interval, as text in percent."""
    low, high = interval(shares, SHARE)
    found = "" if shares.size < 2 else f" (95% CI {low:.1%} to {high:.1%})"
    return f"{shares.mean():.1%}{found}"


def format_number(value: float, scale: float | None = None) -> str:
    """Return a return as text: three decimals if it is small (returns of foraging are at most 1), else one.

    `scale` decides in place of `value`, so that numbers printed side by side have equally many decimals.
    """
    return f"{value:,.{3 if abs(value if scale is None else scale) < 10 else 1}f}"


def count(n: int, noun: str) -> str:
    """Return a number of things as text: "1 seed", "5 seeds"."""
    return f"{n} {noun}{'s' * (n != 1)}"
