"""Training-free credit assignment functions (TFCAF): the contract, the gates and the library."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qllm_jax.tfcaf.verdict import TfcafError, Verdict

if TYPE_CHECKING:
    from qllm_jax.tfcaf.contract import CreditFunction
    from qllm_jax.tfcaf.loading.loader import from_source, load
    from qllm_jax.tfcaf.loading.source import find, names

__all__ = ["CreditFunction", "TfcafError", "Verdict", "find", "from_source", "load", "names"]

_LAZY = {
    "CreditFunction": "contract",
    "find": "loading.source",
    "from_source": "loading.loader",
    "load": "loading.loader",
    "names": "loading.source",
}


def __getattr__(name: str) -> Any:
    # The process of a candidate imports jax only if its text passes, so the package must not import it.
    if name in _LAZY:
        return getattr(import_module(f"qllm_jax.tfcaf.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
