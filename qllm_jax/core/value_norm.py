"""Running normalization of values, MAPPO's ValueNorm: moments that fade, with the bias of their start taken out."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

FADE = 0.99999  # of the moments, at each update
LEAST_VAR = 1e-2


class ValueStats(NamedTuple):
    """Faded moments of all returns so far.

    The variance is kept, not the mean of squares: their difference from a squared mean has few digits in float32 where
    the mean is large.
    """

    mean: Float[Array, ""]
    var: Float[Array, ""]
    weight: Float[Array, ""]  # what the fading leaves of a constant 1


def initial() -> ValueStats:
    """No returns seen."""
    return ValueStats(jnp.zeros(()), jnp.zeros(()), jnp.zeros(()))


def update(stats: ValueStats, returns: Array, mask: Array) -> ValueStats:
    """Merge the returns where `mask` is 1; as given if one of them is not finite, or where there is none."""
    count = jnp.sum(mask)
    mean_of = lambda x: jnp.sum(mask * x) / jnp.maximum(count, 1.0)
    mean = mean_of(returns)
    var = mean_of((returns - mean) ** 2)
    weight = FADE * stats.weight + (1.0 - FADE)
    share = (1.0 - FADE) / weight  # of these returns in the moments; 1 at the first update
    shift = mean - stats.mean
    merged = ValueStats(
        stats.mean + share * shift, (1.0 - share) * (stats.var + share * shift**2) + share * var, weight
    )
    use = jnp.isfinite(var) & (count > 0)
    return jax.tree.map(lambda new, old: jnp.where(use, new, old), merged, stats)


def moments(stats: ValueStats) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean and standard deviation; before the first update 0 and 1."""
    return stats.mean, jnp.where(stats.weight > 0, jnp.sqrt(jnp.maximum(stats.var, LEAST_VAR)), 1.0)


def normalize(stats: ValueStats, x: Array) -> Array:
    """(x - mean) / std."""
    mean, std = moments(stats)
    return (x - mean) / std


def denormalize(stats: ValueStats, x: Array) -> Array:
    """x std + mean."""
    mean, std = moments(stats)
    return x * std + mean
