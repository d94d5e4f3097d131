"""The end of a run: result.json, marl_eval.json and the table that `train` prints."""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from qllm_jax import stats
from qllm_jax.config import Config
from qllm_jax.core.types import Scores
from qllm_jax.program import run_axis
from qllm_jax.program.run_axis import Run
from qllm_jax.run import marl_eval, results
from qllm_jax.run.results import NONE, Failed, Final


def write_results(path: Path, config: Config, task: str, final: Final) -> str:
    """Write result.json and marl_eval.json. Return the table."""
    results.write(path, config, final)
    marl_eval.write(path, config, task)
    return table(config, final)


def table(config: Config, final: Final) -> str:
    """One row per seed, or per configuration of a sweep, and the random policy."""
    runs, scores = run_axis.runs(config), results.means(final.scores)
    random = results.random_by_seed(runs, final.random)
    head = f"return of {final.scores.returns.shape[1]} greedy episodes, best checkpoint"
    if runs[0].values:
        rows = [*configuration_rows(runs, scores, final.failed), f"{head}; # is the index in the grid"]
    else:
        failed = results.failure_text([final.failed.get(i) for i in range(len(runs))])
        mean = f"no mean, as {failed}" if failed else summary(scores)
        rows = [*seed_rows(runs, scores, final.best_steps), f"{head}: {mean}"]
    return "\n".join([*rows, f"the uniformly random policy:                      {summary(random)}"])


def seed_rows(runs: Sequence[Run], scores: Scores, best_steps: Sequence[int]) -> list[str]:
    """A row for each run, from means (R,)."""
    shares = results.shares(scores)
    titles = "".join(f"  {name:>7}" for name in shares)
    rows = [f"{'seed':>6}  {'best at step':>12}  {'return':>10}{titles}"]
    for i, (run, best) in enumerate(zip(runs, best_steps, strict=True)):
        texts = "".join(f"  {each[i]:>7.1%}" for each in shares.values())
        mean = "failed" if np.isnan(scores.returns[i]) else stats.format_number(scores.returns[i])
        rows.append(f"{run.seed:>6}  {best:>12,}  {mean:>10}{texts}")
    return rows


def configuration_rows(runs: Sequence[Run], scores: Scores, failed: Failed = NONE) -> list[str]:
    """A row for each configuration of a sweep, the best first, from means (R,). # is its index in the grid.

    Configurations with a run that failed are the last, without a mean.
    """
    take = lambda indices: jax.tree.map(lambda x: x[np.asarray(indices)], scores)
    text = lambda rows: results.failure_text([failed.get(i) for i in rows])
    found = enumerate(run_axis.indices_by_label(runs).items())
    by_label = [(i, label, take(rows), text(rows)) for i, (label, rows) in found]
    width = max(len("configuration"), *(len(label) for _, label, *_ in by_label))
    ranked = sorted(by_label, key=lambda each: (bool(each[3]), 0.0 if each[3] else -each[2].returns.mean()))
    header = f"{'#':>4}  {'configuration':<{width}}  return"
    return [header, *(f"{i:>4}  {label:<{width}}  {failure or summary(x)}" for i, label, x, failure in ranked)]


def summary(scores: Scores) -> str:
    """Mean return over seeds (seeds,) with its interval, and the shares that the task knows: won, and with a crash."""
    shares = [f"; {name}: {stats.percentage_with_interval(each)}" for name, each in results.shares(scores).items()]
    return "".join((stats.mean_with_interval(scores.returns), *shares))
