"""The paper's signature, QLLMNetwork(agents_q (B, N), global_state (B, S)) -> (B, 1), as a credit function.

Listing in appendix A of QLLM (arxiv.org/abs/2504.12961). A function that keeps to Eq. 3 is affine in q, so that its
value and gradient at q = 0 are its bias and weights, exactly.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qllm_jax.tfcaf.contract import Credit, Place, TfcafError

Network = Callable[[jax.Array, jax.Array], jax.Array]

BATCHES = (1, 2, 7)
Q_SCALE = 10.0  # of the Q-values that are tried, in the range that Q-values reach
TOLERANCE = 1e-4  # of the sum of absolute terms; sums of 25 float32 terms agree to about 1e-6 of it


class Probe(NamedTuple):
    """One function on the same rows in three ways, and the size that differences are measured against. All (B,)."""

    batched: jax.Array
    alone: jax.Array
    affine: jax.Array
    size: jax.Array


def adapt(network: Network, n_agents: int) -> Callable[[Float[Array, " state"]], Credit]:
    """`network` for one flat state: its weights (N,) and bias ()."""

    def credit(state: jax.Array) -> Credit:
        bias, weights = jax.value_and_grad(lambda q: _one(network, q, state))(jnp.zeros(n_agents, jnp.float32))
        return weights, bias

    return credit


def verify(network: Network, n_agents: int, state_dim: int, end: Place) -> None:
    """Raises `TfcafError`, pointing at `end`, unless shapes are right, rows are independent and it is affine in q.

    Runs `network` on seven rows.
    """
    for batch in BATCHES:
        _verify_shape(network, batch, n_agents, state_dim, end)
    with jax.default_matmul_precision("highest"):  # GPUs multiply with 10 bits otherwise
        probe = jax.tree.map(np.asarray, jax.jit(partial(_probe, network))(*_rows(n_agents, state_dim)))
    # A function may be made for the states of its task alone: rows where it is not finite say nothing here.
    finite = np.isfinite(probe.alone)
    if not finite.any():
        hint = "bound what you divide by, and what you take roots, logs and exponentials of"
        raise TfcafError("NONFINITE", end, "not finite, neither on a state of zeros nor on random ones", hint)
    if _differ(probe.batched, probe.alone, probe.size, finite):
        hint = "take means, sums and softmax over the agents' axis, not over the batch"
        raise TfcafError("BATCHLEAK", end, "a row depends on the other rows of its batch", hint)
    if _differ(probe.affine, probe.alone, probe.size, finite):
        hint = "compute weights and bias from the state alone: Q_tot = sum of weights * agents_q, plus bias"
        raise TfcafError("NONLIN", end, "not a weighted sum of the agents' Q-values plus a bias (Eq. 3)", hint)


def _rows(n_agents: int, state_dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Random Q-values (B, N), and states (B, S) that are zero, of both signs, and positive."""
    draw = np.random.default_rng(0)
    state = np.concatenate([np.zeros((1, state_dim)), draw.normal(size=(3, state_dim)), draw.random((3, state_dim))])
    q = Q_SCALE * draw.normal(size=(len(state), n_agents))
    return q.astype(np.float32), state.astype(np.float32)


def _one(network: Network, q: Float[Array, " agents"], state: Float[Array, " state"]) -> Float[Array, ""]:
    return network(q[None], state[None])[0, 0]


def _verify_shape(network: Network, batch: int, n_agents: int, state_dim: int, end: Place) -> None:
    q = jax.ShapeDtypeStruct((batch, n_agents), jnp.float32)
    out = jax.eval_shape(network, q, jax.ShapeDtypeStruct((batch, state_dim), jnp.float32))
    shape, dtype = getattr(out, "shape", None), getattr(out, "dtype", None)
    if shape != (batch, 1):
        found = type(out).__name__ if shape is None else f"shape {shape}"
        hint = "return shape (batch, 1), as jnp.sum(weights * agents_q, axis=-1, keepdims=True) gives"
        raise TfcafError("SHAPE", end, f"returns {found} for a batch of {batch}, not {(batch, 1)}", hint)
    if dtype != jnp.float32:
        raise TfcafError("DTYPE", end, f"returns {dtype}, not float32", "do not round or compare what you return")


def _probe(network: Network, q: Float[Array, "batch agents"], state: Float[Array, "batch state"]) -> Probe:
    weights, bias = jax.vmap(adapt(network, q.shape[-1]))(state)  # (B, N), (B,)
    terms = weights * q  # (B, N)
    alone = jax.vmap(lambda q, state: _one(network, q, state))(q, state)
    size = jnp.abs(bias) + jnp.abs(terms).sum(-1) + 1e-6  # no smaller than rounding of any sum of the terms
    return Probe(network(q, state)[:, 0], alone, terms.sum(-1) + bias, size)


def _differ(a: np.ndarray, b: np.ndarray, size: np.ndarray, rows: np.ndarray) -> bool:
    close = np.abs(a - b) <= TOLERANCE * size  # False where a or b is nan
    return not close[rows].all()
