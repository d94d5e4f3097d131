"""The run axis R on the host: the configuration and the seed of each run, in order.

Run r has configuration r // seeds and seed r % seeds. Configurations are in the order of the grid, with the values of
the last key fastest.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

from qllm_jax import stats
from qllm_jax.config import Config, Sweep, function_name, with_function


class Run(NamedTuple):
    """One run: one configuration with one seed."""

    values: dict[str, Any]  # what the sweep gives it, credit functions by name; {} without a sweep
    seed: int

    @property
    def label(self) -> str:
        """The configuration as text, like `lr=0.001 gamma=0.99`; "" without a sweep."""
        return " ".join(f"{key}={value}" for key, value in self.values.items())

    @property
    def record_fields(self) -> dict[str, Any]:
        """The fields that identify this run in a record of metrics.jsonl."""
        return ({"configuration": self.label} if self.values else {}) | {"seed": self.seed}


def configurations(config: Config) -> list[dict[str, Any]]:
    """The values of each configuration of the grid; [{}] without a sweep."""
    lists = config.sweep.lists
    if "tfcaf" in lists:
        lists["tfcaf"] = [function_name(function) for function in lists["tfcaf"]]
    return [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]


def runs(config: Config) -> list[Run]:
    """All runs of a configuration file, or those of its `part`."""
    every = [Run(values, seed) for values in configurations(config) for seed in range(config.seeds)]
    return every[slice(*config.part)] if config.part else every


def config_of(run: Run, config: Config) -> Config:
    """The configuration without a sweep that trains the values of one run of `config`."""
    if not run.values:
        return config
    numbers = dict(run.values)
    if "tfcaf" in numbers:
        config = with_function(config, numbers.pop("tfcaf"))
    return replace(config, sweep=Sweep(), part=None, algo=replace(config.algo, **numbers))


def indices_by_label(runs: Sequence[Run]) -> dict[str, list[int]]:
    """Indices of each configuration's runs, by its label and in the order of the axis."""
    indices: dict[str, list[int]] = {}
    for i, run in enumerate(runs):
        indices.setdefault(run.label, []).append(i)
    return indices


def describe(config: Config) -> str:
    """The number of runs as text, like `3 configurations x 5 seeds`."""
    n, seeds = len(configurations(config)), stats.count(config.seeds, "seed")
    if config.part:
        return f"runs {config.part[0]} to {config.part[1] - 1} of {n} x {seeds}"
    return f"{n} configurations x {seeds}" if config.sweep.lists else seeds
