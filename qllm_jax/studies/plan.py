"""Study files: `configs/study/NAME.yaml`, their keys and their rules. Every mistake is one sentence.

title: Sum or mixing network?
seed: 1000                     # the root seed of all runs
set: [eval_episodes=32]        # overrides of all cells
tasks:
  spread_n3: {label: "spread, N=3", set: [env=mpe_spread, n_agents=3], seeds: 5, total_steps: 2000000}
methods:
  vdn: {label: VDN, set: [algo=matched_vdn]}
cells:                         # each entry is a product of tasks and methods
  - {tasks: [spread_n3], methods: [vdn], priority: 1}
figures:                       # of the report: docs/studies/STUDY_NAME.png, of all tasks and methods if none are given
  - {kind: curves, name: returns, tasks: [spread_n3], methods: [vdn], caption: "..."}
"""

from collections.abc import Sequence
from dataclasses import field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import AfterValidator, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from qllm_envs.parts import suggest
from qllm_jax import config as configs
from qllm_jax import files
from qllm_jax.config import KNOWN_KEYS, Count
from qllm_jax.errors import UserError
from qllm_jax.studies.rules import (
    Label,
    Name,
    Names,
    Override,
    RootSeed,
    check_name,
    check_pairs,
    check_some,
    plain_label,
    repeated,
)

FigureKind = Literal["curves", "bars", "auc_by_agents", "profile", "improvement", "critical_difference"]
GROUP = "study"  # the folder in configs/; no Hydra group, as a study is not a part of a configuration


@dataclass(frozen=True, config=KNOWN_KEYS)
class TaskEntry:
    """A task: its overrides, and how much each of its cells is trained."""

    seeds: Count
    total_steps: Count
    label: Label | None = None  # for figures; None: the name
    set: list[Override] = field(default_factory=list)
    threshold: float | None = None  # of scores, for the report's env steps to it
    best: float | None = None  # best known score, which is 1 in the report's averages over tasks


@dataclass(frozen=True, config=KNOWN_KEYS)
class MethodEntry:
    """A method: its overrides."""

    label: Label | None = None
    set: list[Override] = field(default_factory=list)


@dataclass(frozen=True, config=KNOWN_KEYS)
class CellsEntry:
    """The cells of each of `tasks` with each of `methods`. Priority 1 is trained first."""

    tasks: Names
    methods: Names
    priority: Count = 1
    set: list[Override] = field(default_factory=list)
    trained_by: Name | None = None  # another study, which has the same cells: their results are read, not trained


@dataclass(frozen=True, config=KNOWN_KEYS)
class FigureEntry:
    """A picture of the report. `from_dict` fills in the tasks and methods of one that names none."""

    kind: FigureKind
    name: Name
    tasks: Names = field(default_factory=list)
    methods: Names = field(default_factory=list)
    caption: str = ""


@dataclass(frozen=True, config=KNOWN_KEYS)
class GroupEntry:
    """Tasks of which the report gives averages. `from_dict` fills in the methods of one that names none."""

    tasks: Names
    methods: Names = field(default_factory=list)


@dataclass(frozen=True, config=KNOWN_KEYS)
class Plan:
    """The content of a study file."""

    title: str
    seed: RootSeed
    tasks: dict[Name, TaskEntry]
    methods: dict[Name, MethodEntry]
    cells: Annotated[list[CellsEntry], AfterValidator(check_some), AfterValidator(check_pairs)]
    set: list[Override] = field(default_factory=list)
    figures: list[FigureEntry] = field(default_factory=list)
    reference: str | None = None  # the method with which the report compares all others
    groups: dict[Label, GroupEntry] = field(default_factory=dict)  # by title


class Study(NamedTuple):
    """A study: its name, its file and the content of the file."""

    name: str
    path: Path
    plan: Plan

    @property
    def is_shipped(self) -> bool:
        """True for a study of `configs/study`."""
        return self.name in names()

    @property
    def argument(self) -> str:
        """The word by which commands know the study, without its folder."""
        return self.name if self.is_shipped else self.path.name


def names() -> list[str]:
    """Names of the studies in `configs/study`, sorted."""
    return configs.group_names(GROUP)


def load(name_or_path: str) -> Study:
    """Read a study by its name, or by the path of a .yaml file. UserError names the key and what is allowed."""
    if name_or_path.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        if not path.is_file():
            raise UserError(f"there is no study file {name_or_path!r}")
        shipped = configs.config_dir() / GROUP / f"{path.stem}.yaml"
        if path.stem in names() and path.resolve() != shipped.resolve():
            raise UserError(f"{name_or_path}: {path.stem!r} is a study of qllm_jax: give the file another name")
    elif name_or_path in names():
        path = configs.config_dir() / GROUP / f"{name_or_path}.yaml"
    else:
        choices = suggest(name_or_path, names())
        raise UserError(f"study {name_or_path!r} does not exist: {choices}, or give the path of a .yaml file")
    try:
        return Study(check_name(path.stem), path, from_dict(read(path)))
    except (PydanticCustomError, UserError) as error:
        raise UserError(f"{path}: {error}") from error


def read(path: Path) -> Any:
    """The content of a YAML file, with interpolations as they are. UserError if it is no YAML, or holds a key twice."""
    try:
        return OmegaConf.to_container(configs.parse(files.read_text(path)), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException, OSError) as error:
        raise UserError(" ".join(str(error).split())) from error
    except (ValueError, RecursionError) as error:
        raise UserError("it is not YAML, or nested too deep") from error


def from_dict(content: Any) -> Plan:
    """Validate the content of a study file. UserError names the key, its value and what is allowed."""
    if not isinstance(content, dict):
        raise UserError(f"must hold the keys {', '.join(each.name for each in fields(Plan))}")
    try:
        plan = TypeAdapter(Plan).validate_python(content)
    except ValidationError as error:
        raise UserError("; ".join(explain(detail) for detail in error.errors())) from error
    check_references(plan)
    for kind, entries in (("tasks", plan.tasks), ("methods", plan.methods)):
        if found := repeated([plain_label(entry.label or name) for name, entry in entries.items()]):
            raise UserError(f"two {kind} have the label {found[0]!r}: a report could not tell them apart")
    if found := repeated([figure.name for figure in plan.figures]):
        raise UserError(f"two figures have the name {found[0]!r}")
    whole = lambda figure: {"tasks": figure.tasks or list(plan.tasks), "methods": figure.methods or list(plan.methods)}
    groups = {title: replace(each, methods=each.methods or list(plan.methods)) for title, each in plan.groups.items()}
    return replace(plan, figures=[replace(figure, **whole(figure)) for figure in plan.figures], groups=groups)


def check_references(plan: Plan) -> None:
    """UserError for a task or a method that is used and does not exist."""
    used_by = [("cells", each.tasks, each.methods) for each in plan.cells]
    used_by += [("figures", each.tasks, each.methods) for each in plan.figures]
    used_by += [("groups", each.tasks, each.methods) for each in plan.groups.values()]
    for key, tasks, methods in used_by:
        for kind, used, known in (("task", tasks, plan.tasks), ("method", methods, plan.methods)):
            if unknown := [name for name in used if name not in known]:
                raise UserError(
                    f"{key} name the {kind} {unknown[0]!r}, which does not exist: {suggest(unknown[0], known)}"
                )
    if plan.reference is not None and plan.reference not in plan.methods:
        raise UserError(f"reference {plan.reference!r} is no method: {suggest(plan.reference, plan.methods)}")


def explain(detail: Any) -> str:
    """The sentence for one of the errors that pydantic found."""
    where = [part for part in detail["loc"] if part != "[key]"]
    if detail["type"] == "unexpected_keyword_argument":
        return f"unknown key {'.'.join(map(str, where))!r}: {suggest(where[-1], keys_beside(where))}"
    return configs.explain_validation({**detail, "loc": where})


def keys_beside(where: Sequence[str | int]) -> list[str]:
    """The keys that are allowed beside the one at `where`."""
    entries = {
        "tasks": TaskEntry,
        "methods": MethodEntry,
        "cells": CellsEntry,
        "figures": FigureEntry,
        "groups": GroupEntry,
    }
    return [each.name for each in fields(entries[str(where[0])] if len(where) > 1 else Plan)]
