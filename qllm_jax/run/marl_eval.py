"""marl_eval.json: evaluations in the format of instadeepai/marl-eval's plots and tables."""

import json
from pathlib import Path
from typing import Any

from qllm_envs import outside
from qllm_jax import files
from qllm_jax.config import Config
from qllm_jax.run import folder, results, stored_logs


def write(path: Path, config: Config, task: str) -> None:
    """Write marl_eval.json from the logs: {env: {task: {algo: {seed_i: {step_k: ..., absolute_metrics: ...}}}}}.

    In a sweep, the name of an algorithm ends with its configuration. One with a run that failed is left out, as its
    other runs would be averaged as if they were all.
    """
    algos: dict[str, Any] = {}
    failed = {results.run_of(record)[0] for record in folder.records(path) if "failed" in record}
    for group in folder.log_folders(path):
        timing = {r["env_steps"]: r["elapsed_s"] for r in stored_logs.timing(group)}
        for record in stored_logs.metrics(group):
            label, seed = results.run_of(record)
            if record["event"] not in ("eval", "final") or label in failed:
                continue
            run = algos.setdefault(f"{config.algo.name} {label}".strip(), {}).setdefault(f"seed_{seed}", {})
            if record["event"] == "final":
                run["absolute_metrics"] = episode_metrics(record)
            else:
                step = {"step_count": record["env_steps"], "elapsed_time": timing.get(record["env_steps"], 0.0)}
                run[f"step_{len(run)}"] = {**step, **episode_metrics(record)}
    # marl-eval cannot read names with commas.
    plain = lambda name: name.replace(",", "_")
    nested = {
        plain(outside.label(config.env["name"])): {plain(task): {plain(name): runs for name, runs in algos.items()}}
    }
    files.write_atomically(path / folder.MARL_EVAL, json.dumps(nested) + "\n")


def episode_metrics(record: dict[str, Any]) -> dict[str, list[float]]:
    """The metrics of each episode of a record."""
    won = {"win_rate": [float(each) for each in record["won"]]} if "won" in record else {}
    return {"return": record["returns"], **won}
