"""Results of a study as arrays, read from results/NAME/TASK/METHOD.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from pydantic import NonNegativeFloat, PositiveInt, TypeAdapter
from pydantic.dataclasses import dataclass

from qllm_jax import files
from qllm_jax.config import split_control
from qllm_jax.errors import UserError
from qllm_jax.stats import SHARE
from qllm_jax.stats.intervals import ANY, Bounds
from qllm_jax.studies import results, wanted
from qllm_jax.studies.plan import Study, TaskEntry
from qllm_jax.studies.wanted import Wanted
from qllm_jax.tfcaf import find
from qllm_jax.tfcaf.static.vocabulary import Kind
from qllm_jax.tfcaf.verdict import sha256


@dataclass(frozen=True)
class _Named:
    """A part of a configuration with its name."""

    name: str


@dataclass(frozen=True)
class _Config:
    """Parts of a configuration that a report reads."""

    env: _Named
    algo: _Named


@dataclass(frozen=True)
class _Final:
    """Keys of a final evaluation, beside its metrics."""

    episodes: PositiveInt


@dataclass(frozen=True)
class _Content:
    """Keys of a result file that a report reads, beside its arrays."""

    overrides: list[str]
    config: _Config
    final: _Final
    seeds: list[int]
    n_agents: PositiveInt
    env_steps: PositiveInt
    runs_at_once: PositiveInt
    wall_s: NonNegativeFloat
    provenance: dict[str, Any]


CONTENT = TypeAdapter(_Content)


class Result(NamedTuple):
    """One cell of a study that has been trained. Metrics are those of `results.METRICS` that its task has."""

    content: dict[str, Any]  # of its file
    steps: Int[np.ndarray, " evals"]
    curves: dict[str, Float[np.ndarray, "seeds evals"]]
    final: dict[str, Float[np.ndarray, " seeds"]]
    random: dict[str, float]  # mean of the uniformly random policy
    metric: str  # by which methods are compared: the share of episodes won if all results of the task have it

    @property
    def scores(self) -> Float[np.ndarray, " seeds"]:
        """Final evaluation of each seed by `metric`."""
        return self.final[self.metric]


class Measured(NamedTuple):
    """A study and the results that it has so far."""

    study: Study
    results: dict[tuple[str, str], Result]  # by task and method, in the order of the study's cells
    folder: Path  # of the results

    @property
    def shown_folder(self) -> str:
        """The folder of the results as a page names it; one of the repository by its place there."""
        return f"results/{self.study.name}" if self.study.is_shipped else str(self.folder)

    def row(self, task: str, methods: Sequence[str] | None = None) -> dict[str, Result]:
        """Results of one task by method, in the order of the study's methods."""
        chosen = self.study.plan.methods if methods is None else methods
        return {method: self.results[task, method] for method in chosen if (task, method) in self.results}

    @property
    def tasks(self) -> list[str]:
        """Tasks with at least one result, in the order of the study."""
        return [task for task in self.study.plan.tasks if self.row(task)]

    @property
    def methods(self) -> list[str]:
        """Methods with at least one result, in the order of the study."""
        return [method for method in self.study.plan.methods if any(m == method for _, m in self.results)]

    def entry(self, task: str) -> TaskEntry:
        """Entry of a task in the study's file."""
        return self.study.plan.tasks[task]

    def task_label(self, task: str) -> str:
        """Name of a task for readers."""
        return self.entry(task).label or task

    def method_label(self, method: str) -> str:
        """Name of a method for readers."""
        return self.study.plan.methods[method].label or method

    def missing(self) -> list[Wanted]:
        """Cells without a result."""
        return [cell for cell in wanted.cells(self.study) if (cell.task, cell.method) not in self.results]

    def outdated(self) -> list[tuple[str, str]]:
        """Cells whose result was made by other overrides than the study gives now."""
        made_by = {pair: tuple(result.content["overrides"]) for pair, result in self.results.items()}
        asked = {(cell.task, cell.method): cell.overrides for cell in wanted.cells(self.study)}
        return [pair for pair, overrides in asked.items() if made_by.get(pair, overrides) != overrides]

    def edited(self) -> list[tuple[str, str]]:
        """Cells whose credit function is not the text any more that their result was made with."""
        return [pair for pair, result in self.results.items() if function_was_edited(result.content)]

    def of_others(self) -> dict[str, list[tuple[str, str]]]:
        """Cells with a result that other studies have trained, by the study."""
        found: dict[str, list[tuple[str, str]]] = {}
        for cell in wanted.cells(self.study):
            if cell.trained_by and (cell.task, cell.method) in self.results:
                found.setdefault(cell.trained_by, []).append((cell.task, cell.method))
        return found


def function_was_edited(content: dict[str, Any]) -> bool:
    """True if the credit function of a result is not the text that it was trained with, or exists no more."""
    algo, digests = content["config"]["algo"], content.get("credit_functions", {}).values()
    kinds: dict[str, Kind] = {"mixer": "value", "learner": "reward"}
    for part, kind in kinds.items():
        if digests and (function := algo.get(part, {}).get("function")):
            try:
                found = find(split_control(function)[0], kind)
            except UserError:
                return True
            return sha256(found.text) not in digests
    return False


def read(study: Study, folder: Path) -> Measured:
    """Read the results of the cells that `study` has now, from its folder of results."""
    paths = {(cell.task, cell.method): results.path_of(folder, cell) for cell in wanted.cells(study)}
    found = {pair: _whole(path) for pair, path in paths.items() if path.is_file()}
    by_return = {task for (task, _), result in found.items() if result.metric == "return"}
    alike = lambda task, result: result._replace(metric="return") if task in by_return else result
    return Measured(study, {pair: alike(pair[0], result) for pair, result in found.items()}, folder)


def _whole(path: Path) -> Result:
    """The result in a file. UserError if it is damaged."""
    try:
        content = files.read_json(path)
        CONTENT.validate_python(content)
        found = make(content)
        shape = (len(found.content["seeds"]), len(found.steps))
        parts = [(found.curves, shape), (found.final, shape[:1])]
        if any(each.shape != own for arrays, own in parts for each in arrays.values()) or not found.curves:
            raise ValueError(shape)
        if not all(np.all(np.isfinite(each)) for arrays, _ in parts for each in arrays.values()):
            raise ValueError(shape)
    except (UserError, KeyError, TypeError, ValueError) as error:
        problem = error if isinstance(error, UserError) else f"{path} is damaged: it is not the result of a cell"
        raise UserError(f"{problem}; remove it, and train the cell") from error
    return found


def make(content: dict[str, Any]) -> Result:
    """Make arrays of the content of a result file."""
    evaluations, final = content["evaluations"], content["final"]
    metrics = [name for name in results.METRICS if name in final]
    return Result(
        content=content,
        steps=np.array(evaluations["env_steps"], int),
        curves={name: np.array(evaluations[name], float) for name in metrics if name in evaluations},
        final={name: np.array(final[name], float) for name in metrics},
        random={name: float(np.mean(content["random_policy"][name])) for name in metrics},
        metric="win_rate" if "win_rate" in metrics else "return",
    )


def metric_of(row: Mapping[str, Result]) -> str:
    """Return the metric by which the methods of a task are compared."""
    return next(iter(row.values())).metric


def metrics_of(row: Mapping[str, Result]) -> list[str]:
    """Return the metrics of a task's final evaluations, which older results may lack."""
    return [name for name in results.METRICS if any(name in result.final for result in row.values())]


def random_mean(row: Mapping[str, Result], metric: str) -> float:
    """Return the mean of the random policy on a task, over all of its results."""
    return float(np.mean([result.random[metric] for result in row.values() if metric in result.random]))


def bounds(metric: str) -> Bounds:
    """Bounds of intervals of a metric."""
    return ANY if metric == "return" else SHARE
