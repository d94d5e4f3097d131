"""marl_eval.json: evaluations in the format of instadeepai/marl-eval (on PyPI: id-marl-eval)."""

import json
from collections.abc import Sequence
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
        timing = {r["env_steps"]: r["elapsed_s"] for r in stored_logs.timing(group) if r["event"] == "eval"}
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
    for run in (run for runs in algos.values() for run in runs.values()):
        evaluations = [each for name, each in run.items() if name.startswith("step_")]
        for each, count in zip(evaluations, step_counts([e["step_count"] for e in evaluations]), strict=True):
            each["step_count"] = count
    # marl-eval cannot read names with commas.
    plain = lambda name: name.replace(",", "_")
    nested = {
        plain(outside.label(config.env["name"])): {plain(task): {plain(name): runs for name, runs in algos.items()}}
    }
    files.write_atomically(path / folder.MARL_EVAL, json.dumps(nested) + "\n")


def step_counts(steps: Sequence[int]) -> list[int]:
    """Return the `step_count` of evaluations at these env steps, the first of which is of the untrained team.

    marl-eval (0.0.4) reads the mean difference of the counts, the first of which it takes from 0, and draws evaluation
    k at k times that. With the count of evaluation k+1 at k, evaluations stand at their env steps and end at the last.
    """
    if len(steps) < 2:
        return list(steps)
    return [*steps[1:], steps[-1] + round(steps[-1] / (len(steps) - 1))]


def episode_metrics(record: dict[str, Any]) -> dict[str, list[float]]:
    """The metrics of each episode of a record."""
    shares = {rate: [float(each) for each in record[name]] for name, rate in results.RATES.items() if name in record}
    return {"return": record["returns"], **shares}
