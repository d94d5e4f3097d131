"""Episodes of the teams of a run, as a table and as a file."""

import json
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax import cli, files, stats
from qllm_jax.core.types import Scores
from qllm_jax.errors import UserError
from qllm_jax.program import run_axis
from qllm_jax.run import reopen, results
from qllm_jax.run.reopen import SavedRun

DEFAULTS = {"episodes": 320, "which": "best", "epsilon": None, "seed": 0, "out": None}


def evaluate(arguments: list[str]) -> int:
    """The command: open the run, play, print, write if asked to."""
    places, options = cli.parse(arguments, "the folder of a run", DEFAULTS)
    path = cli.one_run(places, "evaluate")
    out = files.new_file(options["out"], (".json",)) if options["out"] is not None else None
    given, episodes, seed = check(options)
    run = reopen.open_run(path, options["which"])
    epsilon = run.exp.config.algo.eval_epsilon if given is None else given
    scores, random = play(run, episodes, epsilon, seed), play(run, episodes, 1.0, seed)
    print(f"{run}\n{table(run, scores, random, epsilon)}")
    if out is not None:
        files.write_atomically(out, json.dumps(record(run, scores, random, epsilon, seed)) + "\n")
        print(f"written: {out}")
    return 0


def check(options: dict[str, Any]) -> tuple[float | None, int, int]:
    """Epsilon (None: the run's), episodes and seed. UserError for values that make no evaluation."""
    if options["episodes"] < 1:
        raise UserError(f"episodes must be at least 1, got {options['episodes']}")
    seed = reopen.key_number("seed", options["seed"])
    if options["epsilon"] is None:
        return None, options["episodes"], seed
    epsilon = cli.convert("epsilon", options["epsilon"], 0.0)
    if not 0.0 <= epsilon <= 1.0:  # false for nan, too
        raise UserError(f"epsilon must be between 0 and 1, got {epsilon}")
    return epsilon, options["episodes"], seed


def play(run: SavedRun, episodes: int, epsilon: float, seed: int = 0) -> Scores:
    """Scores (R, episodes) of the run's teams on the episodes of `seed`, as many runs at once as were trained."""
    keys = reopen.final_keys(run.exp, seed)
    found = []
    for first in range(0, len(keys), run.at_once):
        some = slice(first, first + run.at_once)
        params = jax.tree.map(lambda x: x[some], run.params)  # noqa: B023
        found.append(run.exp.program.play(params, keys[some], episodes, jnp.asarray(epsilon)))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *found)


def table(run: SavedRun, scores: Scores, random: Scores, epsilon: float) -> str:
    """A row a seed, or in a sweep a configuration: mean and deviation over its episodes; then means over seeds."""
    runs = run_axis.runs(run.exp.config)
    means, by_seed = results.means(scores), results.random_by_seed(runs, results.means(random))
    heads = [f"return of {scores.returns.shape[1]} episodes with epsilon {epsilon:g}:", "the uniformly random policy:"]
    width = max(map(len, heads))
    line = lambda head, x: f"{head:<{width}} {stats.sentence(x.returns)}{results.shares(x)}"
    if runs[0].values:
        return "\n".join([*results.configurations(runs, means), heads[0].rstrip(":"), line(heads[1], by_seed)])
    rows = [f"{'seed':>6}  {'from step':>12}  {'return':>10}  {'std':>8}  {'random':>10}  {'std':>8}"]
    for i, (ours, theirs) in enumerate(zip(scores.returns, random.returns, strict=True)):
        columns = ((x, width) for of in (ours, theirs) for x, width in ((of.mean(), 10), (of.std(), 8)))
        figures = "  ".join(f"{stats.number(x, ours.mean()):>{width}}" for x, width in columns)
        rows.append(f"{runs[i].seed:>6}  {run.params_steps[i]:>12,}  {figures}")
    return "\n".join([*rows, line(heads[0], means), line(heads[1], by_seed)])


def record(run: SavedRun, scores: Scores, random: Scores, epsilon: float, seed: int) -> dict[str, Any]:
    """What `out` holds."""
    runs = run_axis.runs(run.exp.config)
    by_seed = results.random_by_seed(runs, results.means(random))
    head = {"run": str(run.path), "which": run.which, "env_steps": run.env_steps}
    asked = {"epsilon": epsilon, "seed": seed, "episodes": int(scores.returns.shape[1])}
    last = {"random_policy": stats.summary(by_seed.returns), "random_policy_per_seed": by_seed.returns.tolist()}
    if by_seed.won is not None:
        last |= {"random_policy_win_rate": stats.summary(by_seed.won)}
    blocks = results.by_configuration(runs, lambda rows: numbers(run, scores, rows))
    return {**head, **asked, **last, **(blocks[0] if not runs[0].values else {"configurations": blocks})}


def numbers(run: SavedRun, scores: Scores, rows: Sequence[int]) -> dict[str, Any]:
    """What is written of some runs."""
    some = jax.tree.map(lambda x: x[np.asarray(rows)], scores)
    return {"params_env_steps": [run.params_steps[i] for i in rows], **results.scores_of(some)}
