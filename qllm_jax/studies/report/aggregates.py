"""Scores over several tasks: a table without gaps, normalized so that its tasks can be averaged."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from qllm_jax.stats import ranks
from qllm_jax.stats import tasks as across
from qllm_jax.stats.ranks import Ranking
from qllm_jax.studies.report.measured import Measured, metric_of, random_mean

BEST_KNOWN, ALL_WON, BEST_MEAN = "best known", "all episodes won", "best mean here"
DECIMALS = 9  # of a normalized mean: the order of seeds changes the last bits of a sum, and must part no tie


class Range(NamedTuple):
    """The scores of a task that become 0 and 1."""

    random: float  # 0: mean of the random policy
    best: float  # 1
    source: str  # of `best`


class Block(NamedTuple):
    """Tasks and methods of which every pair has a result, with normalized scores."""

    tasks: list[str]
    methods: list[str]
    scores: dict[str, list[np.ndarray]]  # by method: (seeds,) of each task
    ranges: dict[str, Range]
    other_tasks: list[str]  # labels of tasks that were asked for and are not in the block, for gaps or want of a scale
    other_methods: list[str]  # labels of methods that were asked for and are not in the block, for gaps

    def mean_scores(self) -> np.ndarray:
        """Means over seeds (tasks, methods), without the last digits, in which means of the same scores differ."""
        means = [[self.scores[m][i].mean() for m in self.methods] for i in range(len(self.tasks))]
        return np.round(np.array(means), DECIMALS)


def block(data: Measured, tasks: Sequence[str], methods: Sequence[str]) -> Block:
    """Choose a large table without gaps, by adding methods in the order of how many tasks they have.

    One of two methods is better than any of one, which compares nothing. The reference comes first. A task on which the
    best mean is not above random has no scale, and is left out.
    """
    scales = {task: found for task in tasks if (found := score_range(data, task, methods))}
    have = {m: [task for task in scales if (task, m) in data.results] for m in methods}
    ranked = sorted((m for m in methods if have[m]), key=lambda m: (m != data.study.plan.reference, -len(have[m])))
    chosen: tuple[list[str], list[str]] = ([], [])
    for k in range(1, len(ranked) + 1):
        common = [task for task in scales if all(task in have[m] for m in ranked[:k])]
        if common and (k == 2 or k * len(common) >= len(chosen[0]) * len(chosen[1])):
            chosen = common, ranked[:k]
    kept_tasks, kept = chosen[0], [m for m in methods if m in chosen[1]]
    scores = {m: [normalized(data, task, m, scales[task]) for task in kept_tasks] for m in kept}
    other_tasks = [data.task_label(t) for t in tasks if t not in kept_tasks]
    other_methods = [data.method_label(m) for m in methods if m not in kept]
    return Block(kept_tasks, kept, scores, {task: scales[task] for task in kept_tasks}, other_tasks, other_methods)


def score_range(data: Measured, task: str, methods: Sequence[str]) -> Range | None:
    """Return the range of a task: from the random policy to the task's `best`, all won, or the best mean of `methods`.

    None without results, or if no score above random is known.
    """
    row = data.row(task, methods)
    if not row:
        return None
    metric = metric_of(row)
    random = random_mean(row, metric)
    if data.entry(task).best is not None:
        best, source = float(data.entry(task).best or 0.0), BEST_KNOWN
    elif metric == "win_rate":
        best, source = 1.0, ALL_WON
    else:
        best, source = max(float(result.scores.mean()) for result in row.values()), BEST_MEAN
    return Range(random, best, source) if best > random else None


def normalized(data: Measured, task: str, method: str, scale: Range) -> np.ndarray:
    """Scores of a cell, with 0 for the random policy and 1 for the best."""
    return across.normalize(data.results[task, method].scores, scale.random, scale.best)


def average_ranks(table: Block) -> np.ndarray:
    """Return the average rank of each method over the tasks, 1 the best."""
    return ranks.average(table.mean_scores())


def ranking(table: Block) -> Ranking:
    """Return the ranking of a block's methods. ValueError if it has too few tasks or methods."""
    if not table.tasks or not table.methods:
        raise ValueError("no task has results of these methods, and a scale")
    return ranks.ranking(table.mean_scores())
