"""`evaluate`: play episodes with the policies of a run, print a table, write a JSON file."""

import json
import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_envs import football_engine
from qllm_jax import cli, files, stats
from qllm_jax.core.options import integer
from qllm_jax.core.types import Scores
from qllm_jax.errors import UserError
from qllm_jax.program import run_axis
from qllm_jax.run import engine_play, finish, folder, gated, results
from qllm_jax.run.final_evaluation import check_key_number, final_keys
from qllm_jax.run.load import LoadedRun

DEFAULTS = {"episodes": 320, "which": "best", "epsilon": None, "seed": 0, "out": None, "overwrite": False, "env": None}


def evaluate(arguments: list[str]) -> int:
    """Load the run, play, print, write the file if there is one. Return the exit code."""
    paths, options = cli.parse(arguments, "the folder of a run", DEFAULTS)
    path = cli.one_run(paths, "evaluate")
    given_out = options["out"]
    out = None if given_out is None else folder.new_file(given_out, (".json",), options["overwrite"])
    given, episodes, seed = check(options)
    run = gated.load_run(path, options["which"])
    epsilon = run.exp.config.algo.eval_epsilon if given is None else given
    if options["env"] is None:
        scores, random = play(run, episodes, epsilon, seed), play(run, episodes, 1.0, seed)
    else:
        scores, random = play_in_engine(run, options["env"], episodes, epsilon, seed)
    where = f", played in {options['env']}" if options["env"] else ""
    print(f"{run}{where}\n{table(run, scores, random, epsilon)}")
    if out is not None:
        played = {"env": options["env"]} if options["env"] else {}
        files.write_atomically(out, json.dumps(played | record(run, scores, random, epsilon, seed)) + "\n")
        print(f"written: {out}")
    return 0


def check(options: dict[str, Any]) -> tuple[float | None, int, int]:
    """Epsilon (None: the run's), episodes and seed. UserError for a value out of its range."""
    episodes = integer("evaluate", "episodes", options["episodes"])
    seed = check_key_number("seed", integer("evaluate", "seed", options["seed"], low=0))
    if options["epsilon"] is None:
        return None, episodes, seed
    epsilon = cli.convert("epsilon", options["epsilon"], 0.0)
    if not 0.0 <= epsilon <= 1.0:  # false for nan, too
        raise UserError(f"epsilon must be between 0 and 1, got {epsilon}")
    return epsilon, episodes, seed


def play(run: LoadedRun, episodes: int, epsilon: float, seed: int = 0) -> Scores:
    """Scores (R, episodes) of the run's policies on the episodes of `seed`, in groups as large as in training."""
    keys = final_keys(run.exp, seed)
    scores = []
    for start in range(0, len(keys), run.group_size):
        group = slice(start, start + run.group_size)
        params = jax.tree.map(lambda x: x[group], run.params)  # noqa: B023
        scores.append(run.exp.program.play(params, keys[group], episodes, jnp.asarray(epsilon)))
    return jax.tree.map(lambda *groups: np.concatenate(groups), *scores)


def play_in_engine(run: LoadedRun, name: str, episodes: int, epsilon: float, seed: int) -> tuple[Scores, Scores]:
    """Scores (R, episodes) of the run's policies and of the random policy in games of the host.

    UserError for a name that does not exist, a run of another task, or a missing engine.
    """
    if name != football_engine.NAME:
        raise UserError(f"env={name} does not exist: choose {football_engine.NAME}, or leave env out for the run's own")
    keys, params = final_keys(run.exp, seed)[: run.exp.n_runs], run.params
    with engine_play.open_games(run.exp.env.spec, os.cpu_count() or 1) as games:
        played = [engine_play.play(run.exp, params, keys, games, episodes, share) for share in (epsilon, 1.0)]
    return played[0], played[1]


def table(run: LoadedRun, scores: Scores, random: Scores, epsilon: float) -> str:
    """One row per seed with mean and deviation over its episodes, or one per configuration; then means over seeds."""
    runs = run_axis.runs(run.exp.config)
    means, random_means = results.means(scores), results.random_by_seed(runs, results.means(random))
    titles = [f"return of {scores.returns.shape[1]} episodes with epsilon {epsilon:g}:", "the uniformly random policy:"]
    width = max(map(len, titles))
    line = lambda title, means: f"{title:<{width}} {finish.summary(means)}"
    if runs[0].values:
        rows = finish.configuration_rows(runs, means)
        return "\n".join([*rows, titles[0].rstrip(":"), line(titles[1], random_means)])
    rows = [f"{'seed':>6}  {'from step':>12}  {'return':>10}  {'std':>8}  {'random':>10}  {'std':>8}"]
    for i, (ours, theirs) in enumerate(zip(scores.returns, random.returns, strict=True)):
        columns = ((x, width) for returns in (ours, theirs) for x, width in ((returns.mean(), 10), (returns.std(), 8)))
        figures = "  ".join(f"{stats.format_number(x, ours.mean()):>{width}}" for x, width in columns)
        rows.append(f"{runs[i].seed:>6}  {run.params_steps[i]:>12,}  {figures}")
    return "\n".join([*rows, line(titles[0], means), line(titles[1], random_means)])


def record(run: LoadedRun, scores: Scores, random: Scores, epsilon: float, seed: int) -> dict[str, Any]:
    """The content of the file `out`."""
    runs = run_axis.runs(run.exp.config)
    by_seed = results.random_by_seed(runs, results.means(random))
    head = {"run": str(run.path), "which": run.which, "env_steps": run.env_steps}
    asked = {"epsilon": epsilon, "seed": seed, "episodes": int(scores.returns.shape[1])}
    policy = {"random_policy": stats.summary(by_seed.returns), "random_policy_per_seed": by_seed.returns.tolist()}
    policy |= results.random_rates(by_seed)
    blocks = results.by_configuration(runs, lambda indices: numbers(run, scores, indices))
    return {**head, **asked, **policy, **(blocks[0] if not runs[0].values else {"configurations": blocks})}


def numbers(run: LoadedRun, scores: Scores, indices: Sequence[int]) -> dict[str, Any]:
    """The numbers of one configuration, from the indices of its runs."""
    own = jax.tree.map(lambda x: x[np.asarray(indices)], scores)
    return {"params_env_steps": [run.params_steps[i] for i in indices], **results.statistics(own)}
