"""Results of short trainings in words: ranks, and the differences that their few seeds do not show."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from qllm_jax.generation.trial_training import Result
from qllm_jax.stats import format_number, mean_with_interval, welch
from qllm_jax.stats.intervals import Difference


class Standing(NamedTuple):
    """Rank of one function among those of a pool, 1 the best, and its comparison with each of them."""

    rank: int
    best: int  # the rank if all that it does not differ from were worse,
    worst: int  # or better
    better_than: list[int]  # numbers of functions, as far as Welch's 95% interval of the difference shows it
    worse_than: list[int]
    not_shown: list[int]
    faster_than: list[int]  # the same of the mean over the common evaluations
    slower_than: list[int]


def standings(results: Mapping[int, Result]) -> dict[int, Standing]:
    """Return the standing of each function by its number, in the order of ranks.

    Those that trained longest come first, as halving kept them, and among those the last return decides. Those that
    failed in a seed are the last.
    """
    order = sorted(
        results, key=lambda i: (results[i].failed > 0, -len(results[i].steps), -results[i].last, list(results).index(i))
    )
    found = {}
    for rank, number in enumerate(order, start=1):
        signs = {other: compare(results[number], results[other]) for other in results if other != number}
        having = lambda column, sign, signs=signs: [other for other, found in signs.items() if found[column] == sign]
        better, worse = having(0, 1), having(0, -1)
        best, worst = 1 + len(worse), len(order) - len(better)
        found[number] = Standing(rank, best, worst, better, worse, having(0, 0), having(1, 1), having(1, -1))
    return found


def compare(result: Result, other: Result) -> tuple[int, int]:
    """Return 1 or -1 if the first is shown to be better or worse, else 0: in its last return, and over the training.

    Compared are the returns of the seeds at the last step at which both functions were evaluated, and their means over
    all such steps. Last returns are alike once both functions are near the best return, however long that took. One
    that failed in a seed is worse than one that did not.
    """
    if result.failed or other.failed:
        sign = (other.failed > 0) - (result.failed > 0)
        return sign, sign
    common = [step for step in result.steps if step in other.steps]
    if not common:
        return 0, 0
    ours, theirs = (np.asarray([one.returns[one.steps.index(step)] for step in common]) for one in (result, other))
    return _sign(welch(ours[-1], theirs[-1])), _sign(welch(ours.mean(0), theirs.mean(0)))


def _sign(difference: Difference) -> int:
    return int(np.sign(difference.mean)) if difference.significant else 0


def describe(results: Mapping[int, Result], random: float) -> dict[int, list[str]]:
    """Return sentences on each function by its number; `random` is the return of the random policy."""
    places = standings(results)
    last = max(result.steps[-1] for result in results.values())
    texts = {}
    for number, result in results.items():
        lines = [*_failure(result), _curve(result, last, random), *_spread(result)]
        if len(results) > 1:
            lines += [_rank(places[number], len(results)), _speed(places[number])]
        texts[number] = lines + _use(result)
    return texts


def _failure(result: Result) -> list[str]:
    if not result.failed:
        return []
    seeds = f"{result.failed} of {len(result.returns[-1])} seeds"
    return [f"its training FAILED in {seeds}: weights, bias or loss became NaN or infinite, and learning ended there"]


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
    groups = {
        "better than": place.better_than,
        "worse than": place.worse_than,
        "no difference shown to": place.not_shown,
    }
    range_ = f", which could be anything from {place.best} to {place.worst}" if place.best < place.worst else ""
    return f"last return: rank {place.rank} of {n}{range_}: {_named(groups)}"


def _speed(place: Standing) -> str:
    parts = _named({"better than": place.faster_than, "worse than": place.slower_than})
    return f"mean return over the training: {parts or 'no difference shown to any'}"


def _named(groups: Mapping[str, list[int]]) -> str:
    """Return the words of each group with its functions, groups without one left out."""
    named = lambda numbers: f"function{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
    return "; ".join(f"{words} {named(numbers)}" for words, numbers in groups.items() if numbers)


def _use(result: Result) -> list[str]:
    if result.gradient_shares is None or result.failed:
        return []
    shares = ", ".join(f"{share:.0%}" for share in result.gradient_shares)
    return [
        f"mean absolute TD error {result.td_error:.3g} in the last part of the training",
        f"evenness over replayed states {result.evenness:.2f}; shares of the gradient, agent 0 first: {shares}",
    ]
