"""Environments by name: `qllm_envs/<name>.py` with a top-level `make` function is the environment `<name>`."""

import ast
import difflib
import importlib
import inspect
from pathlib import Path
from typing import Any

from qllm_envs.core import Env


def names() -> tuple[str, ...]:
    """Names that `make` accepts, sorted. Read from the files, so that no list has to be kept in step."""
    return _environments_in(Path(__file__).parent)


def make(name: str, /, **options: Any) -> Env:
    """The environment `name`, made by `qllm_envs.<name>.make(**options)`.

    `ValueError` says which name, option or value is wrong, and what is allowed.
    """
    if name not in names():
        raise ValueError(f"environment {name!r} does not exist{_did_you_mean(name)}; choose from {', '.join(names())}")
    factory = importlib.import_module(f"qllm_envs.{name}").make
    allowed = tuple(inspect.signature(factory).parameters)
    unknown = [option for option in options if option not in allowed]
    if unknown:
        raise ValueError(f"{name} has no option {', '.join(map(repr, unknown))}; choose from {', '.join(allowed)}")
    return factory(**options)


def _environments_in(folder: Path) -> tuple[str, ...]:
    # Files are parsed and not imported: a list of names must not pay for, or fail on, what one environment imports.
    files = [file for file in folder.glob("*.py") if not file.stem.startswith("_") and file.stem != "registry"]
    return tuple(sorted(file.stem for file in files if _defines_make(file.read_text(encoding="utf-8"))))


def _defines_make(source: str) -> bool:
    return any(isinstance(node, ast.FunctionDef) and node.name == "make" for node in ast.parse(source).body)


def _did_you_mean(name: object) -> str:
    close = difflib.get_close_matches(str(name), names(), n=1)
    return f", did you mean {close[0]!r}?" if close else ""
