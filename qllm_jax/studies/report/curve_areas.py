"""Learning curves of a study as one number a seed, over a span that all methods of a task have."""

from collections.abc import Mapping

import numpy as np

from qllm_jax.stats import learning_curves
from qllm_jax.studies.report.measured import Result

Span = tuple[int, int]


def span(row: Mapping[str, Result]) -> Span:
    """Return the env steps from the last first evaluation to the first last one of a task's methods."""
    return max(int(r.steps[0]) for r in row.values()), min(int(r.steps[-1]) for r in row.values())


def areas(result: Result, over: Span) -> np.ndarray:
    """Return the mean score over training of each seed. With a single evaluation, its score."""
    curves = result.curves[result.metric]
    if over[0] >= over[1]:
        return curves[:, np.searchsorted(result.steps, over[1])]
    return learning_curves.area(result.steps, curves, *over)


def steps_to(result: Result, threshold: float) -> np.ndarray:
    """Return the env steps at which each seed holds a threshold; infinity if it does not."""
    return learning_curves.steps_to(result.steps, result.curves[result.metric], threshold)
