"""Cooperative multi-agent environments in pure JAX, one file each, with one contract: `qllm_envs.core`.

Names are imported when they are first used (PEP 562): a command of this package prints its help without jax.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qllm_envs.check import EnvContractError, check_env
    from qllm_envs.core import Bar, Entries, Env, EnvState, Field, Line, Scene, Shape, Spec, StateBlock, Step, View
    from qllm_envs.registry import defaults, make, names, options_of, source_digest

__all__ = [
    "Bar",
    "Entries",
    "Env",
    "EnvContractError",
    "EnvState",
    "Field",
    "Line",
    "Scene",
    "Shape",
    "Spec",
    "StateBlock",
    "Step",
    "View",
    "check_env",
    "defaults",
    "make",
    "names",
    "options_of",
    "source_digest",
]

_IN_REGISTRY = ("defaults", "make", "names", "options_of", "source_digest")
_HOMES = {"check_env": "check", "EnvContractError": "check", **dict.fromkeys(_IN_REGISTRY, "registry")}  # others: core


def __getattr__(name: str) -> Any:
    """A public name, from the module that holds it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'core')}"), name)
