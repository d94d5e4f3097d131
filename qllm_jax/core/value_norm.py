"""Running normalization of values, MAPPO's ValueNorm: moments that fade, with the bias of their start taken out."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

FADE = 0.99999  # of the moments, at each update
LEAST_VAR = 1e-2


class ValueStats(NamedTuple):
    """Faded moments of all returns so far."""

    mean: Float[Array, ""]
    square: Float[Array, ""]
    weight: Float[Array, ""]  # what the fading leaves of a constant 1


def initial() -> ValueStats:
    """No returns seen."""
    return ValueStats(jnp.zeros(()), jnp.zeros(()), jnp.zeros(()))


def update(stats: ValueStats, returns: Array, mask: Array) -> ValueStats:
    """Merge the returns where `mask` is 1; as given if one of them is not finite, or where there is none."""
    count = jnp.sum(mask)
    mean = lambda x: jnp.sum(mask * x) / jnp.maximum(count, 1.0)
    seen = ValueStats(mean(returns), mean(returns**2), jnp.ones(()))
    use = jnp.isfinite(seen.square) & (count > 0)
    merge = lambda old, new: jnp.where(use, FADE * old + (1.0 - FADE) * new, old)
    return ValueStats(*map(merge, stats, seen))


def moments(stats: ValueStats) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean and standard deviation; before the first update 0 and 1."""
    weight = jnp.maximum(stats.weight, 1e-5)
    mean = stats.mean / weight
    var = jnp.maximum(stats.square / weight - mean**2, LEAST_VAR)
    return mean, jnp.where(stats.weight > 0, jnp.sqrt(var), 1.0)


def normalize(stats: ValueStats, x: Array) -> Array:
    """(x - mean) / std."""
    mean, std = moments(stats)
    return (x - mean) / std


def denormalize(stats: ValueStats, x: Array) -> Array:
    """x std + mean."""
    mean, std = moments(stats)
    return x * std + mean
