"""A study with made-up result files: learning curves that rise to a mean that each cell is given."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from qllm_jax.studies import plan, wanted
from qllm_jax.studies.plan import Study


def study(name: str, content: dict[str, Any], folder: Path) -> Study:
    """The study of a file's content."""
    return Study(name, folder / f"{name}.yaml", plan.from_dict(content))


def content(tasks: dict[str, dict[str, Any]], methods: dict[str, str], **others: Any) -> dict[str, Any]:
    """The content of a study file of all pairs. Tasks have "n_agents" beside their keys."""
    entries = {}
    for name, keys in tasks.items():
        keys = dict(keys)
        set_agents = [f"n_agents={keys.pop('n_agents', 3)}"]
        entries[name] = {"seeds": 5, "total_steps": 100_000, "set": ["env=mpe_spread", *set_agents], **keys}
    return {
        "title": "When does credit matter?",
        "seed": 1000,
        "tasks": entries,
        "methods": {name: {"label": label, "set": ["algo=matched_vdn"]} for name, label in methods.items()},
        "cells": [{"tasks": list(entries), "methods": list(methods)}],
        **others,
    }


def write(study: Study, results: Path, scores: dict[tuple[str, str], tuple[float, float]], **options: Any) -> None:
    """Write a result file for each cell of `scores`, which has the mean and the spread over seeds."""
    for task, method, _, overrides, _ in wanted.cells(study):
        if (task, method) in scores:
            made = result(study, task, method, overrides, scores[task, method], **options)
            path = results / task / f"{method}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(made))


def result(
    study: Study,
    task: str,
    method: str,
    overrides: tuple[str, ...],
    score: tuple[float, float],
    random: float = 1.2,
    wins: bool = False,
    crashes: bool = False,
    critic: dict[str, Any] | None = None,
    evals: int = 20,
) -> dict[str, Any]:
    """The content of a result file. Curves rise from the random policy to each seed's end."""
    entry = study.plan.tasks[task]
    rng = np.random.default_rng([ord(letter) for letter in task + method])
    steps = (np.arange(1, evals + 1) * entry.total_steps // evals).tolist()
    ends = score[0] + score[1] * rng.normal(size=entry.seeds)
    rate = rng.uniform(2, 8)
    curves = random + (ends - random)[:, None] * (1 - np.exp(-rate * np.array(steps) / entry.total_steps))
    curves += 0.5 * score[1] * rng.normal(size=curves.shape)
    randoms = random + 0.05 * rng.normal(size=entry.seeds)
    share = lambda x: np.clip(x / 20, 0, 1).round(4).tolist()
    plain = lambda x: x.round(4).tolist()
    won = lambda x: ({"win_rate": share(x)} if wins else {}) | ({"crash_rate": share(1.0 - x)} if crashes else {})
    return {
        "study": study.name,
        "task": task,
        "method": method,
        "overrides": list(overrides),
        "config": {"env": {"name": "mpe_spread"}, "algo": {"name": "matched_vdn", "eval_epsilon": 0.0}},
        "config_hash": "0" * 64,
        "env_task": task,
        "n_agents": int(overrides[1].partition("=")[2]),
        "env_steps": entry.total_steps,
        "seeds": list(range(entry.seeds)),
        "evaluations": {"env_steps": steps, "return": plain(curves), **won(curves)},
        "final": {
            "episodes": 320,
            "return": plain(ends),
            **won(ends),
            "best_checkpoint_env_steps": [steps[-1]] * entry.seeds,
        },
        "random_policy": {"return": plain(randoms), **won(0 * randoms)},
        "credit_functions": {},
        **({"critic": critic} if critic else {}),
        "runs_at_once": 2 * entry.seeds,
        "wall_s": 61.2,
        "provenance": {
            "command": f"study.py {study.name}",
            "started": "2026-01-01T00:00:00+0000",
            "commit": "0123456789abcdef0123456789abcdef01234567",
            "python": "3.11.7",
            "platform": "Linux-x86_64",
            "devices": ["cpu", "cpu"],
            "versions": {"qllm-jax": "0.1.0", "jax": "0.10.2", "numpy": "2.4.6"},
        },
    }
