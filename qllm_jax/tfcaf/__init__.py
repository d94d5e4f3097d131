"""Training-free credit assignment functions (TFCAF): the contract, the gates and the library."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qllm_jax.tfcaf.verdict import TfcafError, Verdict

if TYPE_CHECKING:
    from qllm_jax.tfcaf.contract import CreditFunction
    from qllm_jax.tfcaf.loader import from_source, load, names

__all__ = ["CreditFunction", "TfcafError", "Verdict", "from_source", "load", "names"]

_LAZY = {"CreditFunction": "contract", "from_source": "loader", "load": "loader", "names": "loader"}


def __getattr__(name: str) -> Any:
    # The process that reads a candidate imports jax only if its text passes: the package must not do it for it.
    if name in _LAZY:
        return getattr(import_module(f"qllm_jax.tfcaf.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
