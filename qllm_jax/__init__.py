"""QLLM in JAX: value decomposition whose mixing function is written by language models.

    import qllm_jax as qj
    run = qj.train(env="mpe_spread", n_agents=3, seeds=5, total_steps=200_000)

The public interface is in `qllm_jax.api`, which is imported when one of its names is first used (PEP 562).
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qllm_jax.api import Hidden, Policy, Run, UserError, Verdict, load, make_env, report, train, verify

__version__ = "0.1.0"
__all__ = ["Hidden", "Policy", "Run", "UserError", "Verdict", "load", "make_env", "report", "train", "verify"]


def __getattr__(name: str) -> Any:
    """A public name, from `qllm_jax.api`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("qllm_jax.api"), name)


class _Package(ModuleType):
    """This package, in which `train`, `verify` and `report` stay functions once the commands so named are imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
