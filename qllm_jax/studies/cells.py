"""Cells of a study: one task with one method. Its configuration and the texts of its functions identify a cell."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, fields, replace
from functools import cache
from typing import Any, NamedTuple

import qllm_envs
from qllm_envs import Env
from qllm_jax import config as configs
from qllm_jax.config import (
    MACHINE_KEYS,
    AlgoConfig,
    Config,
    Sweep,
    function_name,
    function_part,
    given_function,
    with_function,
)
from qllm_jax.errors import UserError
from qllm_jax.program import experiment
from qllm_jax.run import parts_used
from qllm_jax.studies import wanted
from qllm_jax.studies.plan import Study
from qllm_jax.tfcaf.verdict import sha256


class Cell(NamedTuple):
    """One task with one method: a row of runs, one for each seed."""

    task: str
    method: str
    priority: int
    overrides: tuple[str, ...]  # for `train`, which trains this cell alone by them
    config: Config
    hash: str  # `hash_of` the configuration
    trained_by: str | None = None  # another study, whose result it has; None: its own
    functions: tuple[str, ...] = ()  # SHA-256 of its credit function, its task function, and its parts from outside

    @property
    def identity(self) -> str:
        """`identity_of` the cell."""
        return identity_of(self.hash, self.functions)

    @property
    def name(self) -> str:
        """TASK/METHOD, which `only=` matches."""
        return f"{self.task}/{self.method}"

    @property
    def run_steps(self) -> int:
        """Environment steps of all runs."""
        return self.config.seeds * self.config.total_steps


def all_cells(study: Study) -> list[Cell]:
    """Compose and validate every cell, in order of priority. UserError says which one is refused, and why."""
    return sorted(unsorted_cells(study), key=lambda cell: cell.priority)


def unsorted_cells(study: Study) -> Iterator[Cell]:
    """The cells in the order of the file."""
    for task, method, priority, overrides, trained_by in wanted.cells(study):
        try:
            config = compose(overrides)
            functions = functions_of(config)
        except UserError as error:
            raise UserError(f"{study.path}: {task} with {method}: {error}") from error
        yield Cell(task, method, priority, overrides, config, hash_of(config), trained_by, functions)


@cache
def compose(overrides: tuple[str, ...]) -> Config:
    """`config.load`, which takes a tenth of a second, once for each list of overrides."""
    return configs.load(list(overrides))


def functions_of(config: Config) -> tuple[str, ...]:
    """SHA-256 of the functions that a configuration loads, and of its parts from outside.

    UserError for one that does not exist.
    """
    parts = parts_used.digests(parts_used.describe(config).meta)
    if not function_part(config.algo):
        return parts
    env = _make_env(json.dumps(config.env, sort_keys=True), config.n_agents)
    return (*(sha256(source.text) for source in experiment.credit_functions(config, env)), *parts)


@cache
def _make_env(options: str, n_agents: int | None) -> Env:
    """`experiment.make_env`, once for each environment."""
    return experiment.make_env(json.loads(options), n_agents)


def identity_of(config_hash: str, functions: Sequence[str]) -> str:
    """The key by which a cell is found again: an edited function or part is another cell, as a configuration is."""
    return ":".join((config_hash, *functions))


def content(config: Config) -> dict[str, Any]:
    """The configuration without MACHINE_KEYS, and without the keys of a sweep, of which a cell is one row."""
    return {key: value for key, value in asdict(config).items() if key not in (*MACHINE_KEYS, "sweep", "part")}


def hash_of(config: Config) -> str:
    """SHA-256 of the canonical JSON of `content`, without what has its default value in the code.

    So a key that is added later makes no result invalid, if its default is what was done before.
    """
    found = content(config)
    algo = without_defaults(found["algo"], field_defaults(AlgoConfig))
    env = without_defaults(found["env"], qllm_envs.defaults(found["env"]["name"]))
    text = json.dumps(
        without_defaults(found | {"algo": algo, "env": env}, field_defaults(Config)),
        sort_keys=True,
        separators=(",", ":"),
    )
    return sha256(text)


def field_defaults(record: type) -> dict[str, Any]:
    """The default values of a dataclass, of its fields that have one."""
    made = {each.name: each.default_factory() for each in fields(record) if each.default_factory is not MISSING}
    return made | {each.name: each.default for each in fields(record) if each.default is not MISSING}


def without_defaults(given: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The entries whose value is not the default one."""
    same = lambda key, value: key in defaults and type(value) is type(defaults[key]) and value == defaults[key]
    return {key: value for key, value in given.items() if not same(key, value)}


def merged(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells that one training trains: of one task and priority, with configurations that differ in the function alone.

    Functions of one name are trained apart, as a sweep tells its configurations apart by the names of their functions.
    """
    together: dict[Any, list[Cell]] = {}
    for cell in cells:
        function = given_function(cell.config.algo)
        key: Any = (cell.task, cell.priority, hash_of(with_function(cell.config, ""))) if function else cell.name
        names = [function_name(given_function(other.config.algo)) for other in together.get(key, ())]
        together.setdefault(cell.name if function_name(function) in names else key, []).append(cell)
    return list(together.values())


def config_of_all(cells: Sequence[Cell]) -> Config:
    """The configuration of the training of a list of `merged`."""
    first = cells[0].config
    if len(cells) == 1:
        return first
    return replace(first, sweep=Sweep(tfcaf=[given_function(cell.config.algo) for cell in cells]))


def configurations(config: Config) -> dict[str, str]:
    """Hash of each configuration of a training, by its label in the logs; {} for a sweep that no study makes."""
    lists = config.sweep.lists
    if not lists:
        return {"": hash_of(config)}
    if set(lists) != {"tfcaf"}:
        return {}
    return {f"tfcaf={function_name(each)}": hash_of(with_function(config, each)) for each in lists["tfcaf"]}
