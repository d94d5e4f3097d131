"""Trees of arrays as rows of integers: a loop on a GPU writes a row in one kernel, where each array would take one."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int


class Rows(NamedTuple):
    """A tree of arrays as one row of 32-bit integers, bit for bit."""

    size: int
    pack: Callable[[Any], Int[Array, " numbers"]]
    unpack: Callable[[Int[Array, "... numbers"]], Any]  # any leading axes


def rows_of(example: Any) -> Rows:
    """Return the row of trees like `example`, whose leaves are numbers of 32 bits, smaller integers or flags."""
    leaves, structure = jax.tree.flatten(example)
    sizes = [math.prod(leaf.shape) for leaf in leaves]

    def pack(tree: Any) -> Int[Array, " numbers"]:
        return jnp.concatenate([_as_integers(leaf).reshape(-1) for leaf in jax.tree.leaves(tree)])

    def unpack(rows: Int[Array, "... numbers"]) -> Any:
        parts = jnp.split(rows, np.cumsum(sizes)[:-1], -1)
        shaped = [part.reshape(*rows.shape[:-1], *leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
        return jax.tree.unflatten(structure, list(map(_from_integers, shaped, (leaf.dtype for leaf in leaves))))

    return Rows(sum(sizes), pack, unpack)


def _as_integers(x: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(x, jnp.int32) if x.dtype.itemsize == 4 else x.astype(jnp.int32)


def _from_integers(x: jax.Array, dtype: Any) -> jax.Array:
    return jax.lax.bitcast_convert_type(x, dtype) if dtype.itemsize == 4 else x.astype(dtype)
