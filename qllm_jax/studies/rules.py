"""Rules of a study file's values, as types of pydantic: names, labels, overrides, the root seed."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from qllm_jax.config import TRIAL_SEED

_ELSEWHERE = "belongs to the command line: it is no part of a cell"
RESERVED = {  # keys of a configuration that a study does not set by overrides, and the reason
    "seed": "is a key of the study",
    "seeds": "is a key of the task",
    "total_steps": "is a key of the task",
    "sweep": "would make several configurations of one cell: give each a method of its own",
    "resume": "is not for studies, which continue what they find",
    "part": "is for the folders of groups",
    **dict.fromkeys(("run_dir", "devices", "unroll", "memory_gib", "group", "wandb"), _ELSEWHERE),
    "hosts": "is not for studies: start one process of the study on each machine",
    "hydra": "is not for studies",
}


def check_name(name: str) -> str:
    """A name that can be a part of a path."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", name):
        raise PydanticCustomError("name", "must be made of letters, digits and _ . -, 100 at most (it names files)")
    return name


def check_label(label: str) -> str:
    """A label that can be a column of a table."""
    if not label.strip() or "|" in label or label.splitlines() != [label]:
        raise PydanticCustomError("label", "must be one line, not empty and without | (it is written into tables)")
    return label


def plain_label(label: str) -> str:
    """A label without its commas, which marl-eval cannot read."""
    return label.replace(",", "")


def check_override(override: str) -> str:
    """An override `key=value` of a key that belongs to cells."""
    key, equals, _ = override.partition("=")
    if not equals:
        raise PydanticCustomError("override", "must be of the form key=value, for example env=mpe_spread")
    top = key.lstrip("+~").split(".")[0].split("/")[0]
    if top in RESERVED:
        raise PydanticCustomError("reserved", "must not set {key}, which {why}", {"key": top, "why": RESERVED[top]})
    return override


def check_root_seed(seed: int) -> int:
    """A root seed with which nothing was chosen."""
    if seed == 0:
        reason = "must not be 0: that is the default of train, with which people choose what they then report"
        raise PydanticCustomError("chosen", reason)
    if seed == TRIAL_SEED:
        reason = "must not be {seed}, which is reserved for the trainings by which generate selects functions"
        raise PydanticCustomError("chosen", reason, {"seed": seed})
    return seed


def check_some(values: list[Any]) -> list[Any]:
    """A list that is not empty."""
    if not values:
        raise PydanticCustomError("empty", "must hold at least one value")
    return values


def check_distinct(values: list[str]) -> list[str]:
    """A list of different values."""
    if found := repeated(values):
        raise PydanticCustomError("repeated", "must not hold {value} twice", {"value": found[0]})
    return values


def repeated(values: Sequence[Any]) -> list[Any]:
    """Each value that occurs earlier in the list, too."""
    return [value for i, value in enumerate(values) if value in values[:i]]


def check_pairs(entries: list[Any]) -> list[Any]:
    """Entries of `cells` of which no two have the same pair of task and method."""
    pairs = [(task, method) for entry in entries for task in entry.tasks for method in entry.methods]
    if found := repeated(pairs):
        names = {"task": found[0][0], "method": found[0][1]}
        raise PydanticCustomError("pair", "must not hold task {task} with method {method} twice", names)
    return entries


Name = Annotated[str, AfterValidator(check_name)]
Label = Annotated[str, AfterValidator(check_label)]
Names = Annotated[list[str], AfterValidator(check_some), AfterValidator(check_distinct)]
Override = Annotated[str, AfterValidator(check_override)]
RootSeed = Annotated[int, Field(strict=True, ge=0, le=TRIAL_SEED), AfterValidator(check_root_seed)]
