"""Play episodes with the trained teams of a run, beside the uniformly random policy.

    python -m qllm_jax.evaluate runs/qllm
    python -m qllm_jax.evaluate runs/qllm which=last episodes=1000 seed=1 out=numbers.json

Keys: episodes (of each seed; 320), which (best | last: each seed's parameters of its best evaluation, or of the newest
checkpoint), epsilon (share of random actions; that of the run's evaluations unless given; 1 is the uniformly random
policy), seed (which episodes; 0 are those of result.json), out (a new .json file; nothing is written without). Of a
sweep, all configurations are played.
"""

import json
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qllm_jax import cli, folder, results, saved, stats, sweep
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
    """Returns (R, episodes) of the run's teams on the episodes of `seed`, as many runs at once as were trained."""
    keys = saved.final_keys(run.exp, seed)
    found = []
    for first in range(0, len(keys), run.at_once):
        some = slice(first, first + run.at_once)
        params = jax.tree.map(lambda x: x[some], run.params)  # noqa: B023
        found.append(np.asarray(run.exp.program.play(params, keys[some], episodes, jnp.asarray(epsilon))))
    return np.concatenate(found)


def table(run: SavedRun, returns: np.ndarray, random: np.ndarray, epsilon: float) -> str:
    """A row a seed, or in a sweep a configuration: mean and deviation over its episodes; then means over seeds."""
    runs = sweep.runs(run.exp.config)
    random_by_seed = results.random_by_seed(runs, random.mean(-1))
    heads = [f"return of {returns.shape[1]} episodes with epsilon {epsilon:g}:", "the uniformly random policy:"]
    width = max(map(len, heads))
    if runs[0].values:
        last = [heads[0].rstrip(":"), f"{heads[1]:<{width}} {stats.sentence(random_by_seed)}"]
        return "\n".join([*results.configurations(runs, returns), *last])
    rows = [f"{'seed':>6}  {'from step':>12}  {'return':>10}  {'std':>8}  {'random':>10}  {'std':>8}"]
    for i, (ours, theirs) in enumerate(zip(returns, random, strict=True)):
        columns = ((x, width) for of in (ours, theirs) for x, width in ((of.mean(), 10), (of.std(), 8)))
        figures = "  ".join(f"{stats.number(x, ours.mean()):>{width}}" for x, width in columns)
        rows.append(f"{runs[i].seed:>6}  {run.params_steps[i]:>12,}  {figures}")
    means = (returns.mean(-1), random_by_seed)
    rows += [f"{h:<{width}} {stats.sentence(x)}" for h, x in zip(heads, means, strict=True)]
    return "\n".join(rows)


def record(run: SavedRun, returns: np.ndarray, random: np.ndarray, epsilon: float, seed: int) -> dict[str, Any]:
    """What `out` holds."""
    runs = sweep.runs(run.exp.config)
    random_by_seed = results.random_by_seed(runs, random.mean(-1))
    head = {"run": str(run.path), "which": run.which, "env_steps": run.env_steps}
    asked = {"epsilon": epsilon, "seed": seed, "episodes": int(returns.shape[1])}
    last = {"random_policy": stats.summary(random_by_seed), "random_policy_per_seed": random_by_seed.tolist()}
    blocks = results.by_configuration(runs, lambda rows: numbers(run, returns, rows))
    return {**head, **asked, **last, **(blocks[0] if not runs[0].values else {"configurations": blocks})}


def numbers(run: SavedRun, returns: np.ndarray, rows: Sequence[int]) -> dict[str, Any]:
    """What is written of some runs."""
    return {"params_env_steps": [run.params_steps[i] for i in rows], **results.returns_of(returns[np.asarray(rows)])}


if __name__ == "__main__":
    cli.main(evaluate, __doc__)
