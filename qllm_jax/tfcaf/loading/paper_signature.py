"""Signature of the paper: QLLMNetwork(agents_q (B, N), global_state (B, S)) -> (B, 1), as a credit function.

Listing in appendix A of QLLM (arxiv.org/abs/2504.12961). A function that keeps to Eq. 3 is affine in q, so that its
value and gradient at q = 0 are its bias and weights, exactly. Training runs it on batches of one only.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qllm_jax.tfcaf.contract import Credit
from qllm_jax.tfcaf.jaxprs import primitives
from qllm_jax.tfcaf.loading.trace_errors import line_in
from qllm_jax.tfcaf.verdict import Location, TfcafError

Network = Callable[[jax.Array, jax.Array], jax.Array]

BATCHES = (1, 2, 7)
MORE_BATCHES = (3, 4, 5, 6, 8, 16, 32, 64)  # sizes that code written for one size may ask for
Q_SCALE = 10.0  # of the Q-values that are tried, in the range that Q-values reach
TOLERANCE = 1e-4  # of the sum of absolute terms; sums of 25 float32 terms agree to about 1e-6 of it


class Probe(NamedTuple):
    """Values of one function on the same rows in several ways, and the size that differences are measured against."""

    batched: np.ndarray  # (B,)
    pair: np.ndarray  # (2,) the first two rows, without the others
    alone: np.ndarray  # (B,)
    affine: np.ndarray  # (B,)
    slopes: np.ndarray  # (B, N) of `alone`, where the Q-values are
    size: np.ndarray  # (B,)


def adapt(network: Network, n_agents: int) -> Callable[[Float[Array, " state"]], Credit]:
    """Return `network` as a function of one flat state (S,): its weights (N,) and bias ()."""

    def credit(state: jax.Array) -> Credit:
        bias, weights = jax.value_and_grad(lambda q: _one(network, q, state))(jnp.zeros(n_agents, jnp.float32))
        return weights, bias

    return credit


def any_states(state_dim: int) -> np.ndarray:
    """Return flat states (7, S) where no environment gives any: zeros, of both signs, and positive."""
    draw = np.random.default_rng(0)
    rows = [np.zeros((1, state_dim)), draw.normal(size=(3, state_dim)), draw.random((3, state_dim))]
    return np.concatenate(rows).astype(np.float32)


def verify_shapes(network: Network, n_agents: int, state_dim: int, end: Location) -> None:
    """Verify what tracing alone shows: shapes, and that no loop runs over the batch. `TfcafError`, at `end`, if not."""
    for batch in BATCHES:
        _verify_shape(network, batch, n_agents, state_dim, end)
    small, large = (len(_operations(network, batch, n_agents, state_dim)) for batch in (2, 7))
    if large > 2 * small:
        problem = f"the program grows with the batch: {small} operations for 2 rows, {large} for 7"
        raise TfcafError("BUDGET", end, problem, "no Python loop over the batch: work on all rows at once")


def verify_values(network: Network, n_agents: int, states: Float[np.ndarray, "batch state"], end: Location) -> None:
    """Verify that rows are independent, and that it is affine in q. `TfcafError`, at `end`, if not.

    Runs `network` on `states`, of which there must be at least three.
    """
    q = (Q_SCALE * np.random.default_rng(0).normal(size=(len(states), n_agents))).astype(np.float32)
    with jax.default_matmul_precision("highest"):  # GPUs multiply with 10 bits otherwise
        probe = jax.tree.map(np.asarray, jax.jit(partial(_probe, network))(q, states))
    _verify_rows(probe, end)
    _verify_sizes(network, q, states, probe, end)


def _verify_rows(probe: Probe, end: Location) -> None:
    # A function may be made for the states of its task alone: rows where it is not finite say nothing here.
    rows = np.isfinite(probe.alone)
    if not rows.any():
        hint = "bound what you divide by, and what you take roots, logs and exponentials of"
        raise TfcafError("NONFINITE", end, "not finite on any state that was tried", hint)
    if _differ(probe.batched, probe.alone, probe.size, rows):
        if not _differ(probe.pair, probe.batched[:2], probe.size[:2], rows[:2]):
            raise TfcafError("BSPECIAL", end, "a batch of one gives other values than a larger one", _SAME)
        hint = "take means, sums and softmax over the agents' axis, not over the batch"
        raise TfcafError("BATCHLEAK", end, "a row depends on the other rows of its batch", hint)
    if not np.isfinite(probe.slopes[rows]).all() or not np.isfinite(probe.affine[rows]).all():
        hint = "use the Q-values in a weighted sum only: no root, power or norm of them"
        raise TfcafError("NANGRAD", end, "the gradient with respect to agents_q is inf or nan", hint)
    if not probe.slopes[rows].any():
        hint = "return a weighted sum of agents_q"
        raise TfcafError("ZEROGRAD", end, "the gradient with respect to agents_q is 0", hint)
    if _differ(probe.affine, probe.alone, probe.size, rows):
        hint = "compute weights and bias from the state alone: Q_tot = sum of weights * agents_q, plus bias"
        raise TfcafError("NONLIN", end, "not a weighted sum of the agents' Q-values plus a bias (Eq. 3)", hint)


_SAME = "compute each row in the same way, whatever the size of the batch"


def _one(network: Network, q: Float[Array, " agents"], state: Float[Array, " state"]) -> Float[Array, ""]:
    return network(q[None], state[None])[0, 0]


def _shapes(batch: int, n_agents: int, state_dim: int) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
    q = jax.ShapeDtypeStruct((batch, n_agents), jnp.float32)
    return q, jax.ShapeDtypeStruct((batch, state_dim), jnp.float32)


def _verify_shape(network: Network, batch: int, n_agents: int, state_dim: int, end: Location) -> None:
    try:
        out = jax.eval_shape(network, *_shapes(batch, n_agents, state_dim))
    except (TypeError, ValueError, IndexError) as error:
        works = [size for size in (*BATCHES, *MORE_BATCHES) if _traces(network, size, n_agents, state_dim)]
        if not works:
            raise
        problem = f"runs for a batch of {', '.join(map(str, works))} and not of {batch}"
        location = end._replace(line=line_in(end.file, error))
        raise TfcafError("SHAPE", location, problem, "take the batch size from agents_q.shape[0]") from error
    shape, dtype = getattr(out, "shape", None), getattr(out, "dtype", None)
    if shape != (batch, 1):
        found = type(out).__name__ if shape is None else f"shape {shape}"
        hint = "return shape (batch, 1), as jnp.sum(weights * agents_q, axis=-1, keepdims=True) gives"
        raise TfcafError("SHAPE", end, f"returns {found} for a batch of {batch}, not {(batch, 1)}", hint)
    if dtype != jnp.float32:
        raise TfcafError("DTYPE", end, f"returns {dtype}, not float32", "do not round or compare what you return")


def _traces(network: Network, batch: int, n_agents: int, state_dim: int) -> bool:
    try:
        jax.eval_shape(network, *_shapes(batch, n_agents, state_dim))
    except Exception:  # whatever a candidate raises: the first error has already been kept
        return False
    return True


def _verify_sizes(network: Network, q: np.ndarray, states: np.ndarray, probe: Probe, end: Location) -> None:
    """Verify that a batch of any size gives the values of its rows, wherever its operations differ."""
    usual = _operations(network, len(q), q.shape[1], states.shape[1])
    for batch in (*MORE_BATCHES, BATCHES[-1]):
        if _operations(network, batch, q.shape[1], states.shape[1]) == usual:
            continue
        pick = np.arange(batch) % len(q)
        values = np.asarray(jax.jit(network)(q[pick], states[pick]))[:, 0]
        if _differ(values, probe.alone[pick], probe.size[pick], np.isfinite(probe.alone)[pick]):
            raise TfcafError("BSPECIAL", end, f"a batch of {batch} gives other values than its rows alone", _SAME)


def _operations(network: Network, batch: int, n_agents: int, state_dim: int) -> list[str]:
    return primitives(jax.make_jaxpr(network)(*_shapes(batch, n_agents, state_dim)))


def _probe(network: Network, q: Float[Array, "batch agents"], state: Float[Array, "batch state"]) -> Probe:
    weights, bias = jax.vmap(adapt(network, q.shape[-1]))(state)  # (B, N), (B,)
    terms = weights * q  # (B, N)
    alone, slopes = jax.vmap(jax.value_and_grad(lambda q, state: _one(network, q, state)))(q, state)
    size = jnp.abs(bias) + jnp.abs(terms).sum(-1) + 1e-6  # no smaller than rounding of any sum of the terms
    pair = network(q[:2], state[:2])[:, 0]
    values = (network(q, state)[:, 0], pair, alone, terms.sum(-1) + bias, slopes, size)
    return Probe(*values)  # pyright: ignore[reportArgumentType]


def _differ(a: np.ndarray, b: np.ndarray, size: np.ndarray, rows: np.ndarray) -> bool:
    close = np.abs(a - b) <= TOLERANCE * size  # False where a or b is nan
    return not close[rows].all()
