"""What a run ends with: result.json for people, marl_eval.json for instadeepai/marl-eval's tools."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qllm_jax import folder, log, stats, sweep
from qllm_jax.config import Config
from qllm_jax.sweep import Run


class Final(NamedTuple):
    """The last numbers of the runs of one folder."""

    env_steps: int
    returns: np.ndarray  # (R, episodes), greedy on the best checkpoint
    random: np.ndarray  # (R,) mean return of the uniformly random policy, which depends on the seed alone
    best_steps: list[int]  # of each run's best evaluation


def write(path: Path, config: Config, task: str, final: Final) -> str:
    """Write result.json and marl_eval.json, and give the closing table."""
    folder.write_atomically(path / folder.RESULT, json.dumps(result(config, final)) + "\n")
    marl_eval(path, config, task)
    return table(config, final)


def result(config: Config, final: Final) -> dict[str, Any]:
    """What result.json holds: a block of numbers, or in a sweep one for each configuration."""
    runs = sweep.runs(config)
    head = {"env_steps": final.env_steps, "episodes": int(final.returns.shape[1])}
    last: dict[str, Any] = {"random_policy": stats.summary(random_by_seed(runs, final.random))}
    if config.part:  # what `collected` needs
        last["random_policy_per_run"] = final.random.tolist()
    found = by_configuration(runs, partial(block, final))
    if runs[0].values:
        return {**head, **last, "configurations": found}
    returns = found[0].pop("returns")
    return {**head, **found[0], **last, "returns": returns}


def by_configuration(runs: Sequence[Run], numbers: Callable[[list[int]], dict[str, Any]]) -> list[dict[str, Any]]:
    """For each configuration of some runs, `numbers` of their places; with its name in a sweep."""

    def named(label: str, rows: list[int]) -> dict[str, Any]:
        return {"configuration": label, "values": runs[rows[0]].values, "seeds": [runs[i].seed for i in rows]}

    found = sweep.rows(runs).items()
    return [{**(named(label, rows) if label else {}), **numbers(rows)} for label, rows in found]


def block(final: Final, rows: Sequence[int]) -> dict[str, Any]:
    """The numbers of some runs."""
    numbers = returns_of(final.returns[np.asarray(rows)])
    returns = numbers.pop("returns")
    return {**numbers, "best_checkpoint_env_steps": [final.best_steps[i] for i in rows], "returns": returns}


def returns_of(returns: np.ndarray) -> dict[str, Any]:
    """Returns (runs, episodes) of one configuration, and what they come to."""
    means = returns.mean(-1)
    return {"return": stats.summary(means), "return_per_seed": means.tolist(), "returns": returns.tolist()}


def blocks(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The numbers in result.json by the label of their configuration, as if each had a file of its own."""
    shared = {key: value for key, value in found.items() if key != "configurations"}
    if "configurations" not in found:
        return {"": found}
    return {each["configuration"]: {**each, **shared} for each in found["configurations"]}


def finished(path: Path, records: list[dict[str, Any]]) -> dict[str, Any] | None:
    """result.json, or None if a run is not finished, or was continued since. `records` are those of its parts."""
    if not (path / folder.RESULT).is_file() or not records:
        return None
    found = json.loads((path / folder.RESULT).read_text())
    last = {run_of(record): record for record in records}.values()
    is_last = lambda record: (record["event"], record["env_steps"]) == ("final", found["env_steps"])
    return found if all(map(is_last, last)) else None


def collected(path: Path) -> Final:
    """The numbers of a run whose groups are all finished."""
    of_groups = [json.loads((group / folder.RESULT).read_text()) for group in folder.parts(path)]
    column = lambda key: [row for found in of_groups for each in blocks(found).values() for row in each[key]]
    return Final(
        env_steps=min(found["env_steps"] for found in of_groups),
        returns=np.asarray(column("returns")),
        random=np.asarray([mean for found in of_groups for mean in found["random_policy_per_run"]]),
        best_steps=column("best_checkpoint_env_steps"),
    )


def best_steps(records: list[dict[str, Any]], heads: Sequence[dict[str, Any]]) -> list[int]:
    """Environment steps of each run's best evaluation: the first of the highest, as the program keeps it."""
    best: dict[tuple, tuple[float, int]] = {}
    for record in records:
        if record["event"] == "eval" and record["return"] > best.get(run_of(record), (-float("inf"), 0))[0]:
            best[run_of(record)] = (record["return"], record["env_steps"])
    return [best.get(run_of(head), (0.0, 0))[1] for head in heads]


def run_of(record: dict[str, Any]) -> tuple[str, int]:
    """Label and seed of a record's run."""
    return record.get("configuration", ""), record["seed"]


def random_by_seed(runs: Sequence[Run], random: np.ndarray) -> np.ndarray:
    """The random policy's mean for each seed: that of all configurations is the same."""
    return np.asarray(list({run.seed: mean for run, mean in zip(runs, random, strict=True)}.values()))


def marl_eval(path: Path, config: Config, task: str) -> None:
    """Write marl_eval.json from the logs: {env: {task: {algo: {seed_i: {step_k: ..., absolute_metrics: ...}}}}}.

    In a sweep, an algorithm's name has the configuration behind it.
    """
    algos: dict[str, Any] = {}
    for part in folder.parts(path):
        timing = {r["env_steps"]: r["elapsed_s"] for r in log.read(part / folder.TIMING)}
        for record in log.read(part / folder.METRICS):
            if record["event"] not in ("eval", "final"):
                continue
            label, seed = run_of(record)
            run = algos.setdefault(f"{config.algo.name} {label}".strip(), {}).setdefault(f"seed_{seed}", {})
            if record["event"] == "final":
                run["absolute_metrics"] = {"return": record["returns"]}
            else:
                step = {"step_count": record["env_steps"], "elapsed_time": timing.get(record["env_steps"], 0.0)}
                run[f"step_{len(run)}"] = {**step, "return": record["returns"]}
    # marl-eval cannot read names with commas.
    plain = lambda name: name.replace(",", "_")
    nested = {plain(config.env["name"]): {plain(task): {plain(name): runs for name, runs in algos.items()}}}
    folder.write_atomically(path / folder.MARL_EVAL, json.dumps(nested) + "\n")


def table(config: Config, final: Final) -> str:
    """The last lines of a training run."""
    runs = sweep.runs(config)
    if runs[0].values:
        rows, head = configurations(runs, final.returns), "return of {} greedy episodes, best checkpoint"
        rows.append(f"{head.format(final.returns.shape[1])}; # is the place in the grid")
    else:
        rows = [f"{'seed':>6}  {'best at step':>12}  {'return':>10}"]
        shown = zip(runs, final.best_steps, final.returns, strict=True)
        rows += [f"{run.seed:>6}  {best:>12,}  {stats.number(row.mean()):>10}" for run, best, row in shown]
        means = stats.sentence(final.returns.mean(-1))
        rows.append(f"return of {final.returns.shape[1]} greedy episodes, best checkpoint: {means}")
    random = stats.sentence(random_by_seed(runs, final.random))
    return "\n".join([*rows, f"the uniformly random policy:                      {random}"])


def configurations(runs: Sequence[Run], returns: np.ndarray) -> list[str]:
    """A row for each configuration of a sweep, the best first; # is its place among those of the runs."""
    found = [(i, label, returns[rows].mean(-1)) for i, (label, rows) in enumerate(sweep.rows(runs).items())]
    width = max(len("configuration"), *(len(label) for _, label, _ in found))
    lines = [f"{'#':>4}  {'configuration':<{width}}  return"]
    ranked = sorted(found, key=lambda each: -each[2].mean())
    return lines + [f"{i:>4}  {label:<{width}}  {stats.sentence(means)}" for i, label, means in ranked]
