"""Training-free credit assignment functions (TFCAF): the contract, its static check and the library."""

from qllm_jax.tfcaf.contract import CreditFunction, TfcafError
from qllm_jax.tfcaf.loader import from_source, load, names

__all__ = ["CreditFunction", "TfcafError", "from_source", "load", "names"]
