"""Runs to compare, read from their folders: curves and results, in panels of comparable returns."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from qllm_jax import config as configs
from qllm_jax.config import Config, env_options, function_name, given_function
from qllm_jax.program import experiment, run_axis
from qllm_jax.run import folder, results, stored_logs


class Entry(NamedTuple):
    """One configuration of a run folder: its curves and results."""

    path: Path
    config: Config  # as recorded
    task: str  # `Spec.task`
    n_agents: int
    steps: Int[np.ndarray, " evals"]
    returns: Float[np.ndarray, "runs evals"]
    result: dict[str, Any] | None  # None: not finished
    env_steps: int
    elapsed_s: float  # of all configurations of a sweep together
    configuration: str = ""  # `Run.label`; "" without a sweep
    win_rates: Float[np.ndarray, "runs evals"] | None = None  # None: the task has no winner
    failed: int = 0  # runs that failed: from there on, their curves are NaN


class Panel(NamedTuple):
    """Runs with comparable returns: one environment with the same options and number of agents."""

    title: str  # the task, with the options that distinguish it from other panels of this task
    entries: list[Entry]
    labels: list[str]


def read(run_dir: str) -> list[Entry]:
    """Read a run folder: one entry for each configuration. UserError if it is not a run."""
    path, config = folder.load(run_dir)
    recorded = configs.read(path / folder.CONFIG)  # `config` names the copies of functions in the folder
    records = folder.records(path)
    groups = [group for group in folder.log_folders(path) if (group / folder.TIMING).is_file()]
    timing = [stored_logs.timing(group) for group in groups]
    result = results.read_finished(path, records)
    result_by_label = results.by_label(result) if result else {}
    spec = experiment.make_env(config.env, config.n_agents).spec
    runs = run_axis.runs(config)
    entries = []
    for label, indices in run_axis.indices_by_label(runs).items():
        own = [record for record in records if results.run_of(record)[0] == label]
        steps, curves = evaluations(own, [runs[i].seed for i in indices])
        entry = Entry(
            path=path,
            config=recorded,
            task=spec.task,
            n_agents=spec.n_agents,
            steps=steps,
            returns=curves["return"],
            result=result_by_label.get(label),
            env_steps=own[-1]["env_steps"] if own else 0,
            elapsed_s=sum(times[-1]["elapsed_s"] for times in timing if times),
            configuration=label,
            win_rates=curves.get("win_rate"),
            failed=len({record["seed"] for record in own if "failed" in record}),
        )
        entries.append(entry)
    return entries


def evaluations(records: list[dict[str, Any]], seeds: list[int]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Environment steps (evals,) of one configuration's evaluations, and their curves (runs, evals).

    Curves are "return" and, if the task has a winner, "win_rate". NaN: the run has failed.
    """
    by_step: dict[int, dict[int, dict[str, Any]]] = {}
    for record in records:
        if record["event"] == "eval":
            by_step.setdefault(record["env_steps"], {})[record["seed"]] = record
    # After a kill, the last step may have records of some seeds only.
    by_step = {step: found for step, found in by_step.items() if len(found) == len(seeds)}
    of = lambda name: np.array([[found[seed][name] for found in by_step.values()] for seed in seeds], float)
    names = ["return", *("win_rate" for found in list(by_step.values())[:1] if "win_rate" in found[seeds[0]])]
    return np.array(list(by_step), int), {name: of(name) for name in names}


def make_panels(entries: list[Entry]) -> list[Panel]:
    """Panels in the order of their first run. Their titles have the options that differ between panels of one task."""
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
    """The options of an entry's environment, which change the meaning of returns, as in YAML."""
    found = env_options(entry.config.env)
    return {key: json.dumps(value) for key, value in found.items()}


def labels(entries: list[Entry]) -> list[str]:
    """Algorithm and configuration of each entry, with its credit function or its folder if two entries share them."""
    functions: dict[str, set[str]] = {}
    for entry in entries:
        functions.setdefault(entry.config.algo.name, set()).add(function_of(entry))
    function = lambda entry: function_of(entry) if len(functions[entry.config.algo.name]) > 1 else ""
    words = [(entry.config.algo.name, function(entry), entry.configuration) for entry in entries]
    names = [" ".join(filter(None, each)) for each in words]
    folders = list(dict.fromkeys(entry.path for entry in entries))
    short = [path.name for path in folders]
    shown = {path: path.name if short.count(path.name) == 1 else str(path) for path in folders}
    return [n if names.count(n) == 1 else f"{n} ({shown[e.path]})" for n, e in zip(names, entries, strict=True)]


def function_of(entry: Entry) -> str:
    """Name of the credit function of an entry, with its control; "" for a method or a sweep without one."""
    return "" if entry.configuration else function_name(given_function(entry.config.algo))


def differing(entries: list[Entry]) -> dict[str, list[str]]:
    """Settings of `algo` in which the runs of one algorithm differ, with their values, by the algorithm."""
    by_algo: dict[str, list[dict[str, Any]]] = {}
    for config in {entry.path: entry.config for entry in entries}.values():
        by_algo.setdefault(config.algo.name, []).append(flat(asdict(config.algo), "algo."))
    found: dict[str, list[str]] = {}
    for algo, settings in by_algo.items():
        for key in dict.fromkeys(key for each in settings for key in each if key != "algo.eval_epsilon"):
            values = [str(each.get(key, "-")) for each in settings]
            if len(set(values)) > 1:
                found.setdefault(algo, []).append(f"{key} ({', '.join(values)})")
    return found


def flat(settings: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Nested settings by their full keys."""
    found = {}
    for key, value in settings.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def unfinished_mark(entry: Entry) -> str:
    """The end of the label of an entry that is not finished, or in which runs failed."""
    if entry.failed:
        return f" ({entry.failed} of {len(entry.returns)} seeds failed)"
    return "" if entry.result else " (running)"
