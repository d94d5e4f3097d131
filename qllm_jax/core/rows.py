"""Trees of arrays as rows of integers: a loop on a GPU writes a row in one kernel, where each array would take one."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from qllm_jax.errors import UserError


class Rows(NamedTuple):
    """A tree of arrays as one row of 32-bit integers, bit for bit."""

    size: int
    pack: Callable[[Any], Int[Array, " numbers"]]
    unpack: Callable[[Int[Array, "... numbers"]], Any]  # any leading axes


def rows_of(example: Any) -> Rows:
    """Return the row of trees like `example`. UserError if a leaf has more than 32 bits a number."""
    leaves, structure = jax.tree.flatten(example)
    for leaf in leaves:
        if leaf.dtype.itemsize > 4:
            raise UserError(f"states of an environment must hold numbers of at most 32 bits, got {leaf.dtype}")
    sizes = [math.prod(leaf.shape) for leaf in leaves]

    def pack(tree: Any) -> Int[Array, " numbers"]:
        return jnp.concatenate([_as_integers(leaf).reshape(-1) for leaf in jax.tree.leaves(tree)])

    def unpack(rows: Int[Array, "... numbers"]) -> Any:
        parts = jnp.split(rows, np.cumsum(sizes)[:-1], -1)
        shaped = [part.reshape(*rows.shape[:-1], *leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
        return jax.tree.unflatten(structure, list(map(_from_integers, shaped, (leaf.dtype for leaf in leaves))))

    return Rows(sum(sizes), pack, unpack)


def _as_integers(x: jax.Array) -> jax.Array:
    bits = jax.lax.bitcast_convert_type(x, _integer_like(x.dtype)) if _has_bits(x.dtype) else x
    return bits.astype(jnp.int32)


def _from_integers(x: jax.Array, dtype: Any) -> jax.Array:
    return jax.lax.bitcast_convert_type(x.astype(_integer_like(dtype)), dtype) if _has_bits(dtype) else x.astype(dtype)


def _has_bits(dtype: Any) -> bool:
    """True where the bits are kept; False: a smaller integer or a flag, whose value is."""
    return dtype.itemsize == 4 or jnp.issubdtype(dtype, jnp.floating)


def _integer_like(dtype: Any) -> Any:
    """The integer of as many bits."""
    return jnp.dtype(f"int{8 * dtype.itemsize}")
