"""Replay of whole episodes: a ring whose cursor is shared by all runs, sampled without replacement."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from qllm_jax.core.types import Episode

Storage = Any  # an Episode whose leaves have a leading axis C, the capacity in episodes


def empty(episode: Episode, capacity: int) -> Storage:
    """Storage for `capacity` episodes shaped like `episode` (arrays or ShapeDtypeStructs)."""
    return jax.tree.map(lambda x: jnp.zeros((capacity, *x.shape), x.dtype), episode)


def write(storage: Storage, episodes: Episode, stored: Int[Array, ""]) -> Storage:
    """Append E episodes (leaves (E, ...)) to the `stored` ones written so far, over the oldest when full."""
    rows = (stored + jnp.arange(len(episodes.mask_t))) % len(storage.mask_t)
    return jax.tree.map(lambda old, new: old.at[rows].set(new, unique_indices=True), storage, episodes)


def sample(storage: Storage, key: jax.Array, stored: Int[Array, ""], batch: int) -> Episode:
    """`batch` different episodes, uniformly, time-major: leaves (T or T+1, B, ...). The key is consumed.

    At least `batch` episodes must have been written.
    """
    return take(storage, sample_rows(storage, key, stored, batch))


def sample_rows(
    storage: Storage,
    key: jax.Array,
    stored: Int[Array, ""],
    batch: int,
    preferred: Bool[Array, " capacity"] | None = None,
) -> Int[Array, " batch"]:
    """Rows of `batch` different episodes, uniformly. The key is consumed.

    With `preferred`, of those rows alone, some of them repeated where they are fewer; of all rows where there is none.
    """
    capacity = len(storage.mask_t)
    score = jax.random.uniform(key, (capacity,))
    score = jnp.where(jnp.arange(capacity) < stored, score, -1.0)
    if preferred is None:
        return jax.lax.top_k(score, batch)[1]  # the largest of independent uniforms: a uniform subset
    rows = jax.lax.top_k(score + preferred, batch)[1]  # those of `preferred` come first
    found = jnp.minimum(jnp.sum(preferred), batch)
    return rows[jnp.arange(batch) % jnp.where(found > 0, found, batch)]


def take(storage: Storage, rows: Int[Array, " batch"]) -> Episode:
    """The episodes of these rows, time-major."""
    return jax.tree.map(lambda x: jnp.moveaxis(x[rows], 1, 0), storage)


def latest(storage: Storage, stored: Int[Array, ""], n: int) -> Episode:
    """The `n` newest episodes, oldest first, time-major. At least `n` must have been written."""
    return take(storage, (stored - n + jnp.arange(n)) % len(storage.mask_t))
