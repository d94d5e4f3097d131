"""Runs to compare, as their folders tell: curves and results, grouped where returns mean the same."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from qllm_jax import experiment, folder, log
from qllm_jax.config import Config


class Entry(NamedTuple):
    """What the files of one run say."""

    path: Path
    config: Config
    task: str  # see `Spec`
    n_agents: int
    steps: Int[np.ndarray, " evals"]
    returns: Float[np.ndarray, "runs evals"]
    result: dict[str, Any] | None  # None: not finished
    env_steps: int
    elapsed_s: float


class Panel(NamedTuple):
    """Runs whose returns can be compared: one environment with the same options, as many agents."""

    title: str  # the task, with the options in which it differs from other panels of one name
    entries: list[Entry]
    labels: list[str]


def read(place: str) -> Entry:
    """One run from its files. UserError when it is no run."""
    path, config = folder.load(place)
    records = log.read(path / folder.METRICS) if (path / folder.METRICS).is_file() else []
    evals = [r for r in records if r["event"] == "eval"]
    by_step: dict[int, dict[int, float]] = {}
    for record in evals:
        by_step.setdefault(record["env_steps"], {})[record["seed"]] = record["return"]
    # A step whose records are cut short by a kill is left out.
    steps = [step for step, found in by_step.items() if len(found) == config.seeds]
    returns = [[by_step[step][seed] for step in steps] for seed in range(config.seeds)]
    spec = experiment.make_env(config.env, config.n_agents).spec
    timing = log.read(path / folder.TIMING) if (path / folder.TIMING).is_file() else []
    return Entry(
        path=path,
        config=config,
        task=spec.task,
        n_agents=spec.n_agents,
        steps=np.array(steps, int),
        returns=np.array(returns, float),
        result=finished(path, records),
        env_steps=records[-1]["env_steps"] if records else 0,
        elapsed_s=timing[-1]["elapsed_s"] if timing else 0.0,
    )


def finished(path: Path, records: list[dict[str, Any]]) -> dict[str, Any] | None:
    """result.json, or None if the run is not finished, or was continued since."""
    if not (path / folder.RESULT).is_file() or not records or records[-1]["event"] != "final":
        return None
    result = json.loads((path / folder.RESULT).read_text())
    return result if result["env_steps"] == records[-1]["env_steps"] else None


def group(entries: list[Entry]) -> list[Panel]:
    """Panels in the order of their first run. Options of an environment that differ between panels are named."""
    groups: dict[tuple, list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.task, *sorted(options(entry).items())), []).append(entry)
    panels = []
    for members in groups.values():
        task = members[0].task
        others = [options(entry) for entry in entries if entry.task == task]
        differ = [
            f"{key}={value}" for key, value in options(members[0]).items() if any(o.get(key) != value for o in others)
        ]
        panels.append(Panel(f"{task} ({', '.join(differ)})" if differ else task, members, labels(members)))
    return panels


def options(entry: Entry) -> dict[str, str]:
    """Options that change what an environment's returns mean, as they read in YAML."""
    found = {key: value for key, value in entry.config.env.items() if key not in experiment.ENV_RUN_KEYS}
    return {key: json.dumps(value) for key, value in found.items()}


def labels(entries: list[Entry]) -> list[str]:
    """The algorithm of each run, with its folder where two runs share one."""
    algos = [entry.config.algo.name for entry in entries]
    names = [entry.path.name for entry in entries]
    wheres = [name if names.count(name) == 1 else str(e.path) for e, name in zip(entries, names, strict=True)]
    return [a if algos.count(a) == 1 else f"{a} ({where})" for a, where in zip(algos, wheres, strict=True)]


def running(entry: Entry) -> str:
    """What to put behind the label of a run that is not finished."""
    return "" if entry.result else " (running)"
