"""The GRU cell of the agents (torch's formula, two biases) with a hand-written backward pass.

Measured on XLA:CPU (benchmarks/recurrent_core.py): a scan over this cell is faster than projecting the inputs of all
steps in one matmul before the scan, because reading (T, rows, 3H) back costs more than the larger matmul saves; and
the weight gradients are cheapest inside the reverse scan, contracted over rows without a transposed copy.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

MAX_KERNEL_HIDDEN = 128  # units of the kernels of gru_unroll.py: weights of more are too large for a multiprocessor


class GruParams(NamedTuple):
    """Gate order is reset, update, new, as in torch."""

    in_kernel: Float[Array, "inputs gates"]
    hidden_kernel: Float[Array, "hidden gates"]
    in_bias: Float[Array, " gates"]
    hidden_bias: Float[Array, " gates"]


@jax.custom_vjp
def gru_cell(params: GruParams, hidden: Float[Array, "rows hidden"], x: Float[Array, "rows inputs"]) -> jax.Array:
    """One step for any number of rows, (rows, H). Call it with all rows at once: under vmap over rows the backward
    pass would build one weight gradient a row.
    """
    return _forward(params, hidden, x)[0]


def _forward(params: GruParams, hidden: jax.Array, x: jax.Array):
    reset_x, update_x, new_x = jnp.split(x @ params.in_kernel + params.in_bias[None], 3, -1)
    reset_h, update_h, new_h = jnp.split(hidden @ params.hidden_kernel + params.hidden_bias[None], 3, -1)
    reset = jax.nn.sigmoid(reset_x + reset_h)
    update = jax.nn.sigmoid(update_x + update_h)
    new = jnp.tanh(new_x + reset * new_h)
    return (1.0 - update) * new + update * hidden, (params, hidden, x, reset, update, new, new_h)


def _backward(residuals, d_out: jax.Array):
    params, hidden, x, reset, update, new, new_h = residuals
    d_new = d_out * (1.0 - update) * (1.0 - new**2)
    d_update = d_out * (hidden - new) * update * (1.0 - update)
    d_reset = d_new * new_h * reset * (1.0 - reset)
    d_x = jnp.concatenate([d_reset, d_update, d_new], -1)  # (rows, 3H), of the input's projection
    d_h = jnp.concatenate([d_reset, d_update, d_new * reset], -1)  # of the hidden state's
    grads = GruParams(x.T @ d_x, hidden.T @ d_h, jnp.sum(d_x, 0), jnp.sum(d_h, 0))
    return grads, d_out * update + d_h @ params.hidden_kernel.T, d_x @ params.in_kernel.T


gru_cell.defvjp(_forward, _backward)
