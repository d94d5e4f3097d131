"""The credit function (TFCAF) of QLLM (arxiv.org/abs/2504.12961, Eq. 3): Q_tot = scale * (w(s) @ q + b(s)).

Axis letters: N agents, S flat global state, B batch (of the paper's signature only).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qllm_jax.tfcaf.static.vocabulary import Signature
from qllm_jax.tfcaf.verdict import Location, TfcafError

Fields = dict[str, jax.Array]  # one sample's named fields, shapes as in `Spec.fields`
Credit = tuple[Float[Array, " agents"], Float[Array, ""]]  # weights, bias


class CreditFunction(NamedTuple):
    """A credit function that was checked and loaded; it has no parameters and draws no random numbers."""

    name: str
    credit: Callable[[Fields, Float[Array, " state"]], Credit]  # one sample; pure, can be jitted and vmapped
    igm: bool  # the gate of paper v1 (arxiv.org/abs/2504.12961v1): True = no weight may be negative
    signature: Signature
    source: str  # the file's text, stored with each run
    sha256: str  # of `source` in UTF-8
    program: str  # digest of the traced program that `credit` evaluates


def as_credit(outcome: Any, n_agents: int, location: Location) -> Credit:
    """Return the outcome of a credit function as float32 weights (N,) and bias (). `TfcafError` if it is not."""
    if not (isinstance(outcome, tuple) and len(outcome) == 2):
        raise TfcafError("SHAPE", location, f"`credit` returns {_kind(outcome)}", "return the pair (weights, bias)")
    weights, bias = outcome
    if not isinstance(weights, jax.Array):
        hint = "make one array of them with jnp.stack or jnp.array"
        raise TfcafError("SHAPE", location, f"the weights are {_kind(weights)}", hint)
    if weights.shape != (n_agents,):
        hint = "return one weight an agent: sum, index or reshape the other axes away"
        raise TfcafError("SHAPE", location, f"the weights are of shape {weights.shape}, not {(n_agents,)}", hint)
    if not jnp.issubdtype(weights.dtype, jnp.floating):
        hint = "make them floats with .astype(jnp.float32)"
        raise TfcafError("DTYPE", location, f"the weights are {weights.dtype}", hint)
    return weights.astype(jnp.float32), _as_bias(bias, location)


def _as_bias(bias: Any, location: Location) -> Float[Array, ""]:
    if not isinstance(bias, (int, float, jax.Array)) or jnp.shape(bias) != ():
        raise TfcafError("SHAPE", location, f"the bias is {_kind(bias)}", "return one number, 0.0 for none")
    if jnp.iscomplexobj(bias):
        raise TfcafError("DTYPE", location, "the bias is complex", "return a real number")
    return jnp.asarray(bias, jnp.float32)


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, jax.Array):
        return f"an array of shape {value.shape}"
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, (tuple, list)) else "")
