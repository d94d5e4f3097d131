"""marl_eval.json of a study: all of its cells in the format of instadeepai/marl-eval (on PyPI: id-marl-eval)."""

from typing import Any

from qllm_jax.run import marl_eval
from qllm_jax.studies.report.measured import Measured, Result
from qllm_jax.studies.rules import plain_label

NAME = "marl_eval.json"


def content(data: Measured) -> dict[str, Any]:
    """Return {env: {task: {method: {seed_i: {step_k: ..., absolute_metrics: ...}}}}}.

    Each evaluation has one number, the mean of its episodes. `elapsed_time` is the training's wall time in the
    proportion of env steps.
    """
    nested: dict[str, Any] = {}
    for (task, method), result in data.results.items():
        tasks = nested.setdefault(plain_label(result.content["config"]["env"]["name"]), {})
        tasks.setdefault(plain_label(data.task_label(task)), {})[plain_label(data.method_label(method))] = runs(result)
    return nested


def runs(result: Result) -> dict[str, Any]:
    """Return the evaluations of each seed."""
    made = result.content
    at = made["evaluations"]["env_steps"]
    times = [round(made["wall_s"] * step / made["env_steps"], 1) for step in at]
    found = {}
    for i, seed in enumerate(made["seeds"]):
        steps = {
            f"step_{k}": {"step_count": count, "elapsed_time": times[k]}
            | {metric: [made["evaluations"][metric][i][k]] for metric in result.curves}
            for k, count in enumerate(marl_eval.step_counts(at))
        }
        final = {metric: [made["final"][metric][i]] for metric in result.final}
        found[f"seed_{seed}"] = steps | {"absolute_metrics": final}
    return found
