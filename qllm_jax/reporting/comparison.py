"""Runs to compare, as their folders tell: curves and results, grouped where returns mean the same."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from qllm_jax import files
from qllm_jax.config import Config
from qllm_jax.program import experiment, run_axis
from qllm_jax.run import folder, results


class Entry(NamedTuple):
    """What the files of one run say, of one configuration."""

    path: Path
    config: Config
    task: str  # see `Spec`
    n_agents: int
    steps: Int[np.ndarray, " evals"]
    returns: Float[np.ndarray, "runs evals"]
    result: dict[str, Any] | None  # None: not finished
    env_steps: int
    elapsed_s: float  # of all configurations of a sweep together
    configuration: str = ""  # of a sweep, see `Run.label`
    win_rates: Float[np.ndarray, "runs evals"] | None = None  # None: the task knows no winner


class Panel(NamedTuple):
    """Runs whose returns can be compared: one environment with the same options, as many agents."""

    title: str  # the task, with the options in which it differs from other panels of one name
    entries: list[Entry]
    labels: list[str]


def read(place: str) -> list[Entry]:
    """One run, or all configurations of a sweep, from its files. UserError when it is no run."""
    path, config = folder.load(place)
    records = folder.records(path)
    timing = [
        files.read_json_lines(part / folder.TIMING) for part in folder.parts(path) if (part / folder.TIMING).is_file()
    ]
    result = results.finished(path, records)
    blocks = results.blocks(result) if result else {}
    spec = experiment.make_env(config.env, config.n_agents).spec
    runs = run_axis.runs(config)
    entries = []
    for label, rows in run_axis.rows(runs).items():
        own = [record for record in records if results.run_of(record)[0] == label]
        steps, curves = evaluations(own, [runs[i].seed for i in rows])
        entry = Entry(
            path=path,
            config=config,
            task=spec.task,
            n_agents=spec.n_agents,
            steps=steps,
            returns=curves["return"],
            result=blocks.get(label),
            env_steps=own[-1]["env_steps"] if own else 0,
            elapsed_s=sum(times[-1]["elapsed_s"] for times in timing if times),
            configuration=label,
            win_rates=curves.get("win_rate"),
        )
        entries.append(entry)
    return entries


def evaluations(records: list[dict[str, Any]], seeds: list[int]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Steps (evals,) of one configuration's evaluations; their "return" and, if the task knows it, "win_rate", each
    (runs, evals).
    """
    by_step: dict[int, dict[int, dict[str, Any]]] = {}
    for record in records:
        if record["event"] == "eval":
            by_step.setdefault(record["env_steps"], {})[record["seed"]] = record
    # A step whose records are cut short by a kill is left out.
    by_step = {step: found for step, found in by_step.items() if len(found) == len(seeds)}
    of = lambda name: np.array([[found[seed][name] for found in by_step.values()] for seed in seeds], float)
    names = ["return", *("win_rate" for found in list(by_step.values())[:1] if "win_rate" in found[seeds[0]])]
    return np.array(list(by_step), int), {name: of(name) for name in names}


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
    """The algorithm and configuration of each run, with its folder where two runs share them."""
    names = [f"{entry.config.algo.name} {entry.configuration}".rstrip() for entry in entries]
    folders = list(dict.fromkeys(entry.path for entry in entries))
    short = [path.name for path in folders]
    where = {path: path.name if short.count(path.name) == 1 else str(path) for path in folders}
    return [n if names.count(n) == 1 else f"{n} ({where[e.path]})" for n, e in zip(names, entries, strict=True)]


def running(entry: Entry) -> str:
    """What to put behind the label of a run that is not finished."""
    return "" if entry.result else " (running)"
