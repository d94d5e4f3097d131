"""Results of short trainings in words: ranks, and the differences that their few seeds do not show."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from qllm_jax.generation.training import Result
from qllm_jax.stats import format_number, mean_with_interval, welch


class Standing(NamedTuple):
    """Rank of one function among those of a pool, 1 the best, and its comparison with each of them."""

    rank: int
    best: int  # the rank if all that it does not differ from were worse,
    worst: int  # or better
    better_than: list[int]  # numbers of functions, as far as Welch's 95% interval of the difference shows it
    worse_than: list[int]
    not_shown: list[int]


def standings(results: Mapping[int, Result]) -> dict[int, Standing]:
    """Return the standing of each function by its number, in the order of ranks.

    Those that trained longest come first, as halving kept them, and among those the last return decides.
    """
    order = sorted(results, key=lambda i: (-len(results[i].steps), -results[i].last, list(results).index(i)))
    found = {}
    for rank, number in enumerate(order, start=1):
        signs = {other: compare(results[number], results[other]) for other in results if other != number}
        having = lambda sign, signs=signs: [other for other, found in signs.items() if found == sign]
        worse, better = having(-1), having(1)
        found[number] = Standing(rank, 1 + len(worse), len(order) - len(better), better, worse, having(0))
    return found


def compare(result: Result, other: Result) -> int:
    """Return 1 or -1 if the first is shown to be better or worse, else 0.

    Compared are the returns of the seeds at the last step at which both functions were evaluated.
    """
    common = [step for step in result.steps if step in other.steps]
    if not common:
        return 0
    ours, theirs = (np.asarray(one.returns[one.steps.index(common[-1])]) for one in (result, other))
    difference = welch(ours, theirs)
    return int(np.sign(difference.mean)) if difference.significant else 0


def describe(results: Mapping[int, Result], random: float) -> dict[int, list[str]]:
    """Return sentences on each function by its number; `random` is the return of the random policy."""
    places = standings(results)
    last = max(result.steps[-1] for result in results.values())
    texts = {}
    for number, result in results.items():
        lines = [_curve(result, last, random), *_spread(result)]
        if len(results) > 1:
            lines.append(_rank(places[number], len(results)))
        texts[number] = lines + _use(result)
    return texts


def _curve(result: Result, last: int, random: float) -> str:
    seeds = len(result.returns[-1])
    means = [float(np.mean(row)) for row in result.returns]
    points = ", ".join(f"{format_number(x)} at step {step:,}" for step, x in zip(result.steps, means, strict=True))
    early = "; it stopped there, outside of the better half" if result.steps[-1] < last else ""
    over = f" ({seeds} seeds)" if seeds > 1 else ""
    return f"trained for a short while{over}, return {points}{early}; random policy {format_number(random)}"


def _spread(result: Result) -> list[str]:
    scores = np.asarray(result.returns[-1])
    if scores.size < 2:
        return []
    by_seed = ", ".join(format_number(x, float(scores.mean())) for x in scores)
    return [f"last return by seed {by_seed}: mean {mean_with_interval(scores)}"]


def _rank(place: Standing, n: int) -> str:
    named = lambda numbers: f"function{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
    groups = {
        "better than": place.better_than,
        "worse than": place.worse_than,
        "no difference shown to": place.not_shown,
    }
    parts = "; ".join(f"{words} {named(numbers)}" for words, numbers in groups.items() if numbers)
    range_ = f", which could be anything from {place.best} to {place.worst}" if place.best < place.worst else ""
    return f"rank {place.rank} of {n}{range_}: {parts}"


def _use(result: Result) -> list[str]:
    if result.gradient_shares is None:
        return []
    shares = ", ".join(f"{share:.0%}" for share in result.gradient_shares)
    return [
        f"mean absolute TD error {result.td_error:.3g} in the last part of the training",
        f"evenness over replayed states {result.evenness:.2f}; shares of the gradient, agent 0 first: {shares}",
    ]
