"""Environments by name."""

import inspect
from pathlib import Path
from typing import Any

from qllm_envs import check, football_engine, outside, parts
from qllm_envs.core import Env, Spec

KIND = parts.Kind("qllm_envs", Path(__file__).parent, "environment", entry_points="qllm_jax.environments")


def names() -> tuple[str, ...]:
    """Names that `make` accepts, sorted: the public modules of this package, and what other packages register.

    A reference to any other, `module:function` or `path/file.py:function`, is accepted too.
    """
    return parts.names(KIND)


def defaults(name: str) -> dict[str, Any]:
    """Default values of the options of an environment. `ValueError` for a name that does not exist."""
    given = inspect.signature(parts.find(KIND, name, None)).parameters.values()
    return {option.name: option.default for option in given if option.default is not option.empty}


def options_of(spec: Spec) -> dict[str, Any]:
    """All options of the environment of a spec, those that were not given too."""
    try:
        return {**defaults(spec.made_by or spec.name), **spec.options}
    except ValueError:  # it is known to the caller alone
        return dict(spec.options)


def make(name: str, /, **options: Any) -> Env:
    """Return the environment `name`, made by `qllm_envs.<name>.make(**options)` or by a function from outside.

    Raises `ValueError` for a name, option or value that is not allowed; the message lists those that are. One from
    outside is traced, and `EnvContractError`, a `ValueError`, says what its shapes and types break of the contract.
    """
    env = untested(name, **options)
    if parts.reference(KIND, name):
        check.check_shapes(env)
    return env


def untested(name: str, /, **options: Any) -> Env:
    """Return the environment `name` as `make` does, without a look at its shapes."""
    if name == football_engine.NAME:
        raise ValueError(football_engine.REFUSAL)
    make = parts.find(KIND, name, options)
    try:
        env = make(**options)
    except ValueError:
        raise
    except Exception as error:
        if not parts.reference(KIND, name):
            raise
        raise ValueError(f"environment {name!r} cannot be made: {outside.reason(error)}") from error
    if not isinstance(env, Env):
        raise ValueError(f"environment {name!r} must return a qllm_envs.Env, got a {type(env).__name__}")
    return env._replace(spec=env.spec._replace(options=options, made_by=name))


def source_digest(name: str) -> str:
    """A digest of the files of an environment from outside; "" for those of this package."""
    found = parts.reference(KIND, name)
    return outside.digest(found) if found else ""
