"""Environments by name."""

import inspect
from pathlib import Path
from typing import Any

from qllm_envs import parts
from qllm_envs.core import Env

_FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Names that `make` accepts, sorted: the public modules of this package with a top-level `make`."""
    return parts.part_names(_FOLDER)


def defaults(name: str) -> dict[str, Any]:
    """Default values of the options of an environment. `ValueError` for a name that does not exist."""
    make_it = parts.find("qllm_envs", _FOLDER, "environment", name, ())
    given = inspect.signature(make_it).parameters.values()
    return {option.name: option.default for option in given if option.default is not option.empty}


def make(name: str, /, **options: Any) -> Env:
    """Return the environment `name`, made by `qllm_envs.<name>.make(**options)`.

    Raises `ValueError` for a name, option or value that is not allowed; the message lists those that are.
    """
    env = parts.find("qllm_envs", _FOLDER, "environment", name, options)(**options)
    return env._replace(spec=env.spec._replace(options=options))
