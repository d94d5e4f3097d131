"""The run axis as the host sees it: which configuration and seed each run is, in the order of the axis R.

Run r has configuration r // seeds and seed r % seeds; configurations come in the order of the grid, the last key's
values fastest.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

from qllm_jax.config import Config, Sweep, swept
from qllm_jax.values import function_name


class Run(NamedTuple):
    """One run of the axis."""

    values: dict[str, Any]  # what the sweep gives it, credit functions by name; {} without a sweep
    seed: int

    @property
    def label(self) -> str:
        """Its configuration in words, as `lr=0.001 gamma=0.99`; "" without a sweep."""
        return " ".join(f"{key}={value}" for key, value in self.values.items())

    @property
    def head(self) -> dict[str, Any]:
        """What a record says of it."""
        return ({"configuration": self.label} if self.values else {}) | {"seed": self.seed}


def configurations(config: Config) -> list[dict[str, Any]]:
    """The values of each configuration of the grid; one without values where nothing is swept."""
    lists = swept(config.sweep)
    if "tfcaf" in lists:
        lists["tfcaf"] = [function_name(function) for function in lists["tfcaf"]]
    return [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]


def runs(config: Config) -> list[Run]:
    """The runs that a configuration stands for: all, or those of its part."""
    every = [Run(values, seed) for values in configurations(config) for seed in range(config.seeds)]
    return every[slice(*config.part)] if config.part else every


def alone(config: Config, run: Run) -> Config:
    """The configuration that trains one of the runs' values without a sweep."""
    if not run.values:
        return config
    numbers = dict(run.values)
    mixer = {**config.algo.mixer, "function": numbers.pop("tfcaf")} if "tfcaf" in numbers else config.algo.mixer
    return replace(config, sweep=Sweep(), part=None, algo=replace(config.algo, mixer=mixer, **numbers))


def rows(of: Sequence[Run]) -> dict[str, list[int]]:
    """The places of each configuration's runs, by its label and in the order of the axis."""
    found: dict[str, list[int]] = {}
    for i, run in enumerate(of):
        found.setdefault(run.label, []).append(i)
    return found


def size(config: Config) -> str:
    """How many runs, in words."""
    n, seeds = len(configurations(config)), f"{config.seeds} seeds"
    if config.part:
        return f"runs {config.part[0]} to {config.part[1] - 1} of {n} x {seeds}"
    return f"{n} configurations x {seeds}" if swept(config.sweep) else seeds
