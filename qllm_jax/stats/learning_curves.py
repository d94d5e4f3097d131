"""Learning curves as one number a seed: mean return over training, and env steps to a threshold."""

import numpy as np
from jaxtyping import Float, Int

WINDOW = 3  # consecutive evaluations whose mean is compared with a threshold


def area(
    steps: Int[np.ndarray, " evals"], curves: Float[np.ndarray, "seeds evals"], start: float, stop: float
) -> Float[np.ndarray, " seeds"]:
    """Return the area under each curve from `start` to `stop`, divided by that length: a mean over env steps.

    Curves are straight between evaluations (trapezoidal rule). Curves are compared over a span that all of them have:
    ValueError if an end lies outside of this one's evaluations.
    """
    if not steps[0] <= start < stop <= steps[-1]:
        ends = f"{steps[0]:,} to {steps[-1]:,}"
        raise ValueError(f"no evaluations from {start:,} to {stop:,} env steps: they are at {ends}")
    inside = steps[(steps > start) & (steps < stop)]
    points = np.concatenate([[start], inside, [stop]])
    values = np.stack([np.interp(points, steps, curve) for curve in curves])  # (seeds, points)
    return np.trapezoid(values, points, axis=-1) / (stop - start)


def steps_to(
    steps: Int[np.ndarray, " evals"], curves: Float[np.ndarray, "seeds evals"], threshold: float
) -> Float[np.ndarray, " seeds"]:
    """Return the env steps of the first evaluation from which returns stay at or above a threshold.

    They stay there if the mean of every WINDOW consecutive evaluations from that one on is at or above it: one bad
    evaluation does not count against a run, and one good one not for it. Infinity: not within these steps (censored).
    """
    if len(steps) < WINDOW:
        return np.full(len(curves), np.inf)
    means = np.lib.stride_tricks.sliding_window_view(curves, WINDOW, -1).mean(-1)  # (seeds, evals - WINDOW + 1)
    stays = np.logical_and.accumulate((means >= threshold)[:, ::-1], -1)[:, ::-1]
    return np.where(stays.any(-1), steps[stays.argmax(-1)], np.inf)
