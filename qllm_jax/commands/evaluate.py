"""Episodes of the teams of a run, as a table and as a file."""

import json
from typing import Any

import jax.numpy as jnp
import numpy as np

from qllm_jax import cli, folder, saved, stats
from qllm_jax.errors import UserError
from qllm_jax.saved import SavedRun

DEFAULTS = {"episodes": 320, "which": "best", "epsilon": None, "seed": 0, "out": None}


def evaluate(arguments: list[str]) -> int:
    """The command: open the run, play, print, write if asked to."""
    places, options = cli.parse(arguments, "the folder of a run", DEFAULTS)
    path = cli.one_run(places, "evaluate")
    out = saved.new_file(options["out"], (".json",)) if options["out"] is not None else None
    given, episodes, seed = check(options)
    run = saved.open_run(path, options["which"])
    epsilon = run.exp.config.algo.eval_epsilon if given is None else given
    returns, random = play(run, episodes, epsilon, seed), play(run, episodes, 1.0, seed)
    print(f"{run}\n{table(run, returns, random, epsilon)}")
    if out is not None:
        folder.write_atomically(out, json.dumps(record(run, returns, random, epsilon, seed)) + "\n")
        print(f"written: {out}")
    return 0


def check(options: dict[str, Any]) -> tuple[float | None, int, int]:
    """Epsilon (None: the run's), episodes and seed. UserError for values that make no evaluation."""
    if options["episodes"] < 1:
        raise UserError(f"episodes must be at least 1, got {options['episodes']}")
    seed = saved.key_number("seed", options["seed"])
    if options["epsilon"] is None:
        return None, options["episodes"], seed
    epsilon = cli.convert("epsilon", options["epsilon"], 0.0)
    if not 0.0 <= epsilon <= 1.0:  # false for nan, too
        raise UserError(f"epsilon must be between 0 and 1, got {epsilon}")
    return epsilon, options["episodes"], seed


def play(run: SavedRun, episodes: int, epsilon: float, seed: int = 0) -> np.ndarray:
    """Returns (R, episodes) of the run's teams on the episodes of `seed`."""
    keys = saved.final_keys(run.exp, seed)
    return np.asarray(run.exp.program.play(run.params, keys, episodes, jnp.asarray(epsilon)))


def table(run: SavedRun, returns: np.ndarray, random: np.ndarray, epsilon: float) -> str:
    """A row a seed: mean and standard deviation over its episodes; then means over seeds."""
    rows = [f"{'seed':>6}  {'from step':>12}  {'return':>10}  {'std':>8}  {'random':>10}  {'std':>8}"]
    for i, (ours, theirs) in enumerate(zip(returns, random, strict=True)):
        columns = ((x, width) for of in (ours, theirs) for x, width in ((of.mean(), 10), (of.std(), 8)))
        figures = "  ".join(f"{stats.number(x, ours.mean()):>{width}}" for x, width in columns)
        rows.append(f"{i:>6}  {run.params_steps[i]:>12,}  {figures}")
    heads = [f"return of {returns.shape[1]} episodes with epsilon {epsilon:g}:", "the uniformly random policy:"]
    width = max(map(len, heads))
    rows += [f"{h:<{width}} {stats.sentence(x.mean(-1))}" for h, x in zip(heads, (returns, random), strict=True)]
    return "\n".join(rows)


def record(run: SavedRun, returns: np.ndarray, random: np.ndarray, epsilon: float, seed: int) -> dict[str, Any]:
    """What `out` holds."""
    return {
        "run": str(run.path),
        "which": run.which,
        "env_steps": run.env_steps,
        "params_env_steps": run.params_steps,
        "epsilon": epsilon,
        "seed": seed,
        "episodes": int(returns.shape[1]),
        "return": stats.summary(returns.mean(-1)),
        "return_per_seed": returns.mean(-1).tolist(),
        "random_policy": stats.summary(random.mean(-1)),
        "random_policy_per_seed": random.mean(-1).tolist(),
        "returns": returns.tolist(),
    }
