"""result.json: the final returns of all runs, their statistics, and the random policy."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from qllm_jax import files, stats
from qllm_jax.config import Config
from qllm_jax.core.types import Scores
from qllm_jax.program import run_axis
from qllm_jax.program.run_axis import Run
from qllm_jax.run import folder

Failed = Mapping[int, dict[str, Any]]  # runs that failed, by index: their `Failure.mark`
NONE: Failed = MappingProxyType({})
RATES = MappingProxyType({"won": "win_rate", "crashed": "crash_rate"})  # fields of Scores that few tasks have: shares


class Final(NamedTuple):
    """The final evaluation of the runs of one folder."""

    env_steps: int
    scores: Scores  # (R, episodes), of each run's best parameters; NaN: the run failed
    random: Scores  # (R,) means of the uniformly random policy, which depends on the seed alone
    best_steps: list[int]  # environment steps at each run's best evaluation
    failed: Failed = NONE


def write(path: Path, config: Config, final: Final) -> None:
    """Write result.json."""
    content = result(config, final)
    files.write_atomically(path / folder.RESULT, json.dumps(no_nan(content) if final.failed else content) + "\n")


def nan_where_failed(scores: Scores, failed: Sequence[int]) -> Scores:
    """Scores (R, episodes) with NaN for the runs that failed."""
    if not failed:
        return scores
    has_failed = np.isin(np.arange(len(scores.returns)), failed)[:, None]
    return jax.tree.map(lambda x: np.where(has_failed, np.nan, x), scores)


def no_nan(value: Any) -> Any:
    """A JSON value with null in place of NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: no_nan(each) for key, each in value.items()}
    if isinstance(value, list):
        return [no_nan(each) for each in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def metrics(scores: Scores) -> dict[str, Any]:
    """The fields of an evaluation's records in metrics.jsonl, from scores (R, episodes)."""
    fields = {"return": scores.returns.mean(-1), "returns": scores.returns}
    for name, each in shares(scores).items():
        fields |= {RATES[name]: each.mean(-1), name: each}
    return fields


def as_compared(mean: np.ndarray, best: np.ndarray, now_best: np.ndarray) -> np.ndarray:
    """Mean returns (R,) of an evaluation as the program compared them with each run's best, before and after it.

    The program's sum may differ in the last bit, and `best_steps` must find the evaluation whose parameters it kept.
    """
    return np.where(now_best > best, now_best, np.minimum(mean, now_best))


def shares(scores: Scores) -> dict[str, Any]:
    """The arrays of `RATES` that the task has, by name."""
    return {name: each for name in RATES if (each := getattr(scores, name)) is not None}


def means(scores: Scores) -> Scores:
    """Mean returns and shares of episodes won and with a crash, over the last axis."""
    return jax.tree.map(lambda x: x.mean(-1), scores)


def result(config: Config, final: Final) -> dict[str, Any]:
    """The content of result.json: one block of numbers, or in a sweep one for each configuration."""
    runs = run_axis.runs(config)
    head = {"env_steps": final.env_steps, "episodes": int(final.scores.returns.shape[1])}
    by_seed = random_by_seed(runs, final.random)
    random: dict[str, Any] = {"random_policy": stats.summary(by_seed.returns)}
    random |= random_rates(by_seed)
    per_run = jax.tree.map(np.ndarray.tolist, final.random)
    random["random_policy_per_run"] = {"returns": per_run.returns, "won": per_run.won} | shares(per_run)
    blocks = by_configuration(runs, partial(block, final))
    if runs[0].values:
        return {**head, **random, "configurations": blocks}
    long_lists = {key: blocks[0].pop(key) for key in ("returns", *RATES) if key in blocks[0]}
    return {**head, **blocks[0], **random, **long_lists}


def random_rates(by_seed: Scores) -> dict[str, dict[str, Any]]:
    """Shares of the random policy's episodes that were won or had a crash, with intervals, from means (seeds,)."""
    return {f"random_policy_{RATES[name]}": stats.summary(x, stats.SHARE) for name, x in shares(by_seed).items()}


def by_configuration(runs: Sequence[Run], numbers: Callable[[list[int]], dict[str, Any]]) -> list[dict[str, Any]]:
    """`numbers(indices of its runs)` for each configuration, in a sweep with its name, values and seeds."""

    def identity(label: str, indices: list[int]) -> dict[str, Any]:
        return {"configuration": label, "values": runs[indices[0]].values, "seeds": [runs[i].seed for i in indices]}

    by_label = run_axis.indices_by_label(runs).items()
    return [{**(identity(label, indices) if label else {}), **numbers(indices)} for label, indices in by_label]


def block(final: Final, indices: Sequence[int]) -> dict[str, Any]:
    """The numbers of one configuration, from the indices of its runs."""
    best: dict[str, Any] = {"best_checkpoint_env_steps": [final.best_steps[i] for i in indices]}
    if any(i in final.failed for i in indices):
        best = {"failed": [final.failed.get(i) for i in indices], **best}
    return best | statistics(jax.tree.map(lambda x: x[np.asarray(indices)], final.scores))


def statistics(scores: Scores) -> dict[str, Any]:
    """Statistics over seeds and the scores (seeds, episodes) themselves, of one configuration."""
    mean = means(scores)
    fields = {"return": stats.summary(mean.returns), "return_per_seed": mean.returns.tolist()}
    for name, share in shares(mean).items():
        rate = RATES[name]
        fields |= {rate: stats.summary(share, stats.SHARE), f"{rate}_per_seed": share.tolist()}
    return fields | {"returns": scores.returns.tolist()} | {name: x.tolist() for name, x in shares(scores).items()}


def by_label(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The content of result.json by the label of each configuration, as if each had a file of its own."""
    shared = {key: value for key, value in result.items() if key != "configurations"}
    if "configurations" not in result:
        return {"": result}
    return {each["configuration"]: {**each, **shared} for each in result["configurations"]}


def read(path: Path) -> dict[str, Any]:
    """The content of result.json. UserError if it is missing or damaged."""
    return files.read_json(path / folder.RESULT, ("env_steps", "random_policy_per_run"))


def read_finished(path: Path, records: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Read result.json; None if a run is not finished or was continued since. `records` are those of the folder."""
    if not (path / folder.RESULT).is_file() or not records:
        return None
    found = read(path)
    last = {run_of(record): record for record in records}.values()
    # A group whose runs all failed ended before the others.
    reached = lambda record: "failed" in record or record["env_steps"] == found["env_steps"]
    is_last = lambda record: record["event"] == "final" and reached(record)
    return found if all(map(is_last, last)) else None


def collect_groups(path: Path) -> Final:
    """The final evaluation of a run folder, from the result.json of its groups, which are all finished."""
    groups = [read(group) for group in folder.log_folders(path)]
    blocks = [each for group in groups for each in by_label(group).values()]
    column = lambda key: [row for each in blocks for row in each.get(key, [])]
    random = [group["random_policy_per_run"] for group in groups]
    concatenated = lambda key: np.concatenate([np.asarray(each[key]) for each in random])
    names = ["returns", *(name for name in RATES if all(each.get(name) is not None for each in random))]
    marks = [mark for each in blocks for mark in each.get("failed", [None] * len(each["returns"]))]
    array = lambda rows: np.asarray(rows, float if any(marks) else None)
    learned = [group["env_steps"] for group in groups if not all_failed(group)]
    return Final(
        env_steps=min(learned or [group["env_steps"] for group in groups]),
        scores=Scores(**{name: array(column(name)) for name in names}),
        random=Scores(**{name: concatenated(name) for name in names}),
        best_steps=column("best_checkpoint_env_steps"),
        failed={i: mark for i, mark in enumerate(marks) if mark},
    )


def all_failed(result: dict[str, Any]) -> bool:
    """True if no run of a result.json learned to its end."""
    return all(all(each.get("failed", [None])) for each in by_label(result).values())


def failure_text(failed: Sequence[dict[str, Any] | None]) -> str:
    """The failed runs of a configuration in words, from their marks; None: a run that did not fail. "" without one."""
    marks = [mark for mark in failed if mark]
    if not marks:
        return ""
    first = min(marks, key=lambda mark: mark["env_steps"])
    seeds = f"{len(marks)} of {len(failed)} seeds" if len(failed) > 1 else "the seed"
    return f"{seeds} failed, first at step {first['env_steps']:,} ({first['cause']} not finite)"


def best_steps(records: list[dict[str, Any]], runs: Sequence[Run]) -> list[int]:
    """Environment steps at each run's best evaluation: the first of the highest, as the program keeps it."""
    best: dict[tuple, tuple[float, int]] = {}
    for record in records:
        if record["event"] != "eval" or "failed" in record:
            continue
        if record["return"] > best.get(run_of(record), (-float("inf"), 0))[0]:
            best[run_of(record)] = (record["return"], record["env_steps"])
    return [best.get((run.label, run.seed), (0.0, 0))[1] for run in runs]


def run_of(record: dict[str, Any]) -> tuple[str, int]:
    """Label and seed of a record's run."""
    return record.get("configuration", ""), record["seed"]


def random_by_seed(runs: Sequence[Run], random: Scores) -> Scores:
    """Means (seeds,) of the random policy, from those of all runs (R,): they are equal in all configurations."""
    _, first = np.unique([run.seed for run in runs], return_index=True)
    return jax.tree.map(lambda x: x[first], random)
