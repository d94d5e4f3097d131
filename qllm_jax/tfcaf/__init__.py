"""Training-free credit assignment functions (TFCAF): the contract, the gates and the library."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qllm_jax.tfcaf.verdict import TfcafError, Verdict

if TYPE_CHECKING:
    from qllm_jax.tfcaf.contract import CreditFunction, RewardFunction, TaskFunction
    from qllm_jax.tfcaf.loading.loader import from_source, load, reward_from_source, task_from_source
    from qllm_jax.tfcaf.loading.source import find, names

__all__ = [
    "CreditFunction", "RewardFunction", "TaskFunction", "TfcafError", "Verdict", "find", "from_source", "load", "names",
    "reward_from_source", "task_from_source",
]  # fmt: skip

_LAZY = {
    "CreditFunction": "contract",
    "RewardFunction": "contract",
    "TaskFunction": "contract",
    "find": "loading.source",
    "from_source": "loading.loader",
    "load": "loading.loader",
    "names": "loading.source",
    "reward_from_source": "loading.loader",
    "task_from_source": "loading.loader",
}


def __getattr__(name: str) -> Any:
    # The process of a candidate imports jax only if its text passes, so the package must not import it.
    if name in _LAZY:
        return getattr(import_module(f"qllm_jax.tfcaf.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
