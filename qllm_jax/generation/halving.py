"""Successive halving (Jamieson and Talwalkar 2016, arxiv.org/abs/1502.07943): the better half trains twice as long.

All functions of a round train for the first share of the steps, the better half of them goes on to twice as many, the
better half of those to four times as many. The lengths depend on the settings alone: functions of all rounds are
evaluated at the same steps, and a round of `k` functions takes as many steps in all as without halving.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

POINTS = 4  # evaluations of a function that trains to the end, at least


class Rung(NamedTuple):
    """A part of the trainings of a round."""

    size: int  # functions that train in it, at most
    stops: tuple[int, ...]  # env steps of a run at the evaluations, after which the next rung takes the best


def rungs(k: int, steps: int, halvings: int) -> list[Rung]:
    """Return the rungs of a round of `k` functions with `k * steps` env steps in all, for each seed."""
    sizes = [k]
    for _ in range(halvings):
        sizes.append(-(-sizes[-1] // 2))
    # A first rung of length 1 is followed by others of 1, 2, 4 ...: each doubles what was trained before.
    lengths = [1, *(2**i for i in range(halvings))]
    first = k * steps / float(np.dot(sizes, lengths))
    n_points = 2**halvings * -(-POINTS // 2**halvings)
    points = [round(first * 2**halvings * (i + 1) / n_points) for i in range(n_points)]
    ends = [0, *(n_points // 2 ** (halvings - i) for i in range(halvings + 1))]
    return [Rung(size, tuple(points[ends[i] : ends[i + 1]])) for i, size in enumerate(sizes)]


def best(returns: Sequence[float], size: int) -> list[int]:
    """Indices of the `size` highest returns, in ascending order. Of equal ones, the first goes on."""
    order = sorted(range(len(returns)), key=lambda i: (-returns[i], i))
    return sorted(order[:size])
