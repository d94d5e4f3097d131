"""What a run ends with: result.json for people, marl_eval.json for instadeepai/marl-eval's tools."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from qllm_jax import folder, log, stats
from qllm_jax.config import Config


def write_result(path: Path, returns: np.ndarray, random: np.ndarray, env_steps: int, best_steps: list[int]) -> None:
    """Write result.json. `returns`, `random`: (R, episodes), greedy on the best checkpoint and uniformly random."""
    per_seed = returns.mean(-1)
    result = {
        "env_steps": env_steps,
        "episodes": int(returns.shape[1]),
        "return": stats.summary(per_seed),
        "return_per_seed": per_seed.tolist(),
        "best_checkpoint_env_steps": best_steps,
        "random_policy": stats.summary(random.mean(-1)),
        "returns": returns.tolist(),
    }
    folder.write_atomically(path / folder.RESULT, json.dumps(result) + "\n")


def best_steps(records: list[dict[str, Any]], n_runs: int) -> list[int]:
    """Environment steps of each run's best evaluation: the first of the highest, as the program keeps it."""
    best: list[tuple[float, int]] = [(-float("inf"), 0)] * n_runs
    for record in records:
        if record["event"] == "eval" and record["return"] > best[record["seed"]][0]:
            best[record["seed"]] = (record["return"], record["env_steps"])
    return [step for _, step in best]


def marl_eval(path: Path, config: Config, task: str) -> None:
    """Write marl_eval.json from the logs: {env: {task: {algo: {seed_i: {step_k: ..., absolute_metrics: ...}}}}}."""
    records = [r for r in log.read(path / folder.METRICS) if r["event"] in ("eval", "final")]
    timing = {r["env_steps"]: r["elapsed_s"] for r in log.read(path / folder.TIMING)}
    runs: dict[str, Any] = {f"seed_{i}": {} for i in range(config.seeds)}
    for record in records:
        run = runs[f"seed_{record['seed']}"]
        if record["event"] == "final":
            run["absolute_metrics"] = {"return": record["returns"]}
        else:
            step = {"step_count": record["env_steps"], "elapsed_time": timing.get(record["env_steps"], 0.0)}
            run[f"step_{len(run)}"] = {**step, "return": record["returns"]}
    # marl-eval cannot read names with commas.
    names = [name.replace(",", "_") for name in (config.env["name"], task, config.algo.name)]
    nested = {names[0]: {names[1]: {names[2]: runs}}}
    folder.write_atomically(path / folder.MARL_EVAL, json.dumps(nested) + "\n")


def table(returns: np.ndarray, random: np.ndarray, best: list[int]) -> str:
    """The last lines of a training run."""
    rows = [f"{'seed':>6}  {'best at step':>12}  {'return':>10}"]
    rows += [f"{i:>6}  {best[i]:>12,}  {stats.number(row.mean()):>10}" for i, row in enumerate(returns)]
    rows.append(f"return of {returns.shape[1]} greedy episodes, best checkpoint: {stats.sentence(returns.mean(-1))}")
    rows.append(f"the uniformly random policy:                      {stats.sentence(random.mean(-1))}")
    return "\n".join(rows)
