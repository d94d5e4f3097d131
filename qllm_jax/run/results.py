"""What a run ends with: result.json for people, marl_eval.json for instadeepai/marl-eval's tools."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from qllm_jax import files, stats
from qllm_jax.config import Config
from qllm_jax.core.types import Scores
from qllm_jax.program import run_axis
from qllm_jax.program.run_axis import Run
from qllm_jax.run import folder


class Final(NamedTuple):
    """The last numbers of the runs of one folder."""

    env_steps: int
    scores: Scores  # (R, episodes), greedy on the best checkpoint
    random: Scores  # (R,) means of the uniformly random policy, which depends on the seed alone
    best_steps: list[int]  # of each run's best evaluation


def write(path: Path, config: Config, task: str, final: Final) -> str:
    """Write result.json and marl_eval.json, and give the closing table."""
    files.write_atomically(path / folder.RESULT, json.dumps(result(config, final)) + "\n")
    marl_eval(path, config, task)
    return table(config, final)


def recorded(scores: Scores) -> dict[str, Any]:
    """What a record of metrics.jsonl says of episodes (R, episodes)."""
    found = {"return": scores.returns.mean(-1), "returns": scores.returns}
    return found if scores.won is None else found | {"win_rate": scores.won.mean(-1), "won": scores.won}


def means(scores: Scores) -> Scores:
    """Over the last axis: mean returns, and shares of episodes that are won."""
    return jax.tree.map(lambda x: x.mean(-1), scores)


def result(config: Config, final: Final) -> dict[str, Any]:
    """What result.json holds: a block of numbers, or in a sweep one for each configuration."""
    runs = run_axis.runs(config)
    head = {"env_steps": final.env_steps, "episodes": int(final.scores.returns.shape[1])}
    by_seed = random_by_seed(runs, final.random)
    last: dict[str, Any] = {"random_policy": stats.summary(by_seed.returns)}
    if by_seed.won is not None:
        last["random_policy_win_rate"] = stats.summary(by_seed.won)
    if config.part:  # what `collected` needs
        last["random_policy_per_run"] = jax.tree.map(np.ndarray.tolist, final.random)._asdict()
    found = by_configuration(runs, partial(block, final))
    if runs[0].values:
        return {**head, **last, "configurations": found}
    lists = {key: found[0].pop(key) for key in ("returns", "won") if key in found[0]}
    return {**head, **found[0], **last, **lists}


def by_configuration(runs: Sequence[Run], numbers: Callable[[list[int]], dict[str, Any]]) -> list[dict[str, Any]]:
    """For each configuration of some runs, `numbers` of their places; with its name in a sweep."""

    def named(label: str, rows: list[int]) -> dict[str, Any]:
        return {"configuration": label, "values": runs[rows[0]].values, "seeds": [runs[i].seed for i in rows]}

    found = run_axis.rows(runs).items()
    return [{**(named(label, rows) if label else {}), **numbers(rows)} for label, rows in found]


def block(final: Final, rows: Sequence[int]) -> dict[str, Any]:
    """The numbers of some runs."""
    best = {"best_checkpoint_env_steps": [final.best_steps[i] for i in rows]}
    return best | scores_of(jax.tree.map(lambda x: x[np.asarray(rows)], final.scores))


def scores_of(scores: Scores) -> dict[str, Any]:
    """Scores (runs, episodes) of one configuration, and what they come to."""
    mean = means(scores)
    found = {"return": stats.summary(mean.returns), "return_per_seed": mean.returns.tolist()}
    if scores.won is None or mean.won is None:
        return found | {"returns": scores.returns.tolist()}
    found |= {"win_rate": stats.summary(mean.won), "win_rate_per_seed": mean.won.tolist()}
    return found | {"returns": scores.returns.tolist(), "won": scores.won.tolist()}


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
    column = lambda key: [row for found in of_groups for each in blocks(found).values() for row in each.get(key, [])]
    random = [found["random_policy_per_run"] for found in of_groups]
    joined = lambda key: np.concatenate([np.asarray(each[key]) for each in random])
    has_winner = random[0]["won"] is not None
    return Final(
        env_steps=min(found["env_steps"] for found in of_groups),
        scores=Scores(np.asarray(column("returns")), np.asarray(column("won")) if has_winner else None),
        random=Scores(joined("returns"), joined("won") if has_winner else None),
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


def random_by_seed(runs: Sequence[Run], random: Scores) -> Scores:
    """The random policy's mean for each seed: that of all configurations is the same."""
    first = list({run.seed: i for i, run in reversed(list(enumerate(runs)))}.values())[::-1]
    return jax.tree.map(lambda x: x[np.asarray(first)], random)


def marl_eval(path: Path, config: Config, task: str) -> None:
    """Write marl_eval.json from the logs: {env: {task: {algo: {seed_i: {step_k: ..., absolute_metrics: ...}}}}}.

    In a sweep, an algorithm's name has the configuration behind it.
    """
    algos: dict[str, Any] = {}
    for part in folder.parts(path):
        timing = {r["env_steps"]: r["elapsed_s"] for r in files.read_json_lines(part / folder.TIMING)}
        for record in files.read_json_lines(part / folder.METRICS):
            if record["event"] not in ("eval", "final"):
                continue
            label, seed = run_of(record)
            run = algos.setdefault(f"{config.algo.name} {label}".strip(), {}).setdefault(f"seed_{seed}", {})
            if record["event"] == "final":
                run["absolute_metrics"] = measured(record)
            else:
                step = {"step_count": record["env_steps"], "elapsed_time": timing.get(record["env_steps"], 0.0)}
                run[f"step_{len(run)}"] = {**step, **measured(record)}
    # marl-eval cannot read names with commas.
    plain = lambda name: name.replace(",", "_")
    nested = {plain(config.env["name"]): {plain(task): {plain(name): runs for name, runs in algos.items()}}}
    files.write_atomically(path / folder.MARL_EVAL, json.dumps(nested) + "\n")


def measured(record: dict[str, Any]) -> dict[str, list[float]]:
    """The metrics of a record's episodes, as marl-eval wants them."""
    won = {"win_rate": [float(each) for each in record["won"]]} if "won" in record else {}
    return {"return": record["returns"], **won}


def table(config: Config, final: Final) -> str:
    """The last lines of a training run."""
    runs, scores = run_axis.runs(config), means(final.scores)
    n_episodes = final.scores.returns.shape[1]
    random = random_by_seed(runs, final.random)
    if runs[0].values:
        rows, head = configurations(runs, scores), "return of {} greedy episodes, best checkpoint"
        rows.append(f"{head.format(n_episodes)}; # is the place in the grid")
    else:
        heads = [
            f"{'seed':>6}  {'best at step':>12}  {'return':>10}",
            *(["     won"] if scores.won is not None else []),
        ]
        rows = ["".join(heads)]
        for i, (run, best) in enumerate(zip(runs, final.best_steps, strict=True)):
            won = "" if scores.won is None else f"  {scores.won[i]:>6.1%}"
            rows.append(f"{run.seed:>6}  {best:>12,}  {stats.number(scores.returns[i]):>10}{won}")
        sentence = stats.sentence(scores.returns)
        rows.append(f"return of {n_episodes} greedy episodes, best checkpoint: {sentence}{shares(scores)}")
    sentence = stats.sentence(random.returns)
    return "\n".join([*rows, f"the uniformly random policy:                      {sentence}{shares(random)}"])


def shares(scores: Scores) -> str:
    """Behind a sentence on returns (seeds,): the share of episodes that are won, if the task knows a winner."""
    return "" if scores.won is None else f"; won: {stats.percentages(scores.won)}"


def configurations(runs: Sequence[Run], scores: Scores) -> list[str]:
    """A row for each configuration of a sweep, the best first, from means (R,); # is its place among the runs'."""
    of = lambda rows: jax.tree.map(lambda x: x[np.asarray(rows)], scores)
    found = [(i, label, of(rows)) for i, (label, rows) in enumerate(run_axis.rows(runs).items())]
    width = max(len("configuration"), *(len(label) for _, label, _ in found))
    lines = [f"{'#':>4}  {'configuration':<{width}}  return"]
    ranked = sorted(found, key=lambda each: -each[2].returns.mean())
    return lines + [f"{i:>4}  {label:<{width}}  {stats.sentence(x.returns)}{shares(x)}" for i, label, x in ranked]
