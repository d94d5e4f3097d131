"""Running reward standardization, as epymarl's `standardise_rewards` does it."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class RewardStats(NamedTuple):
    """Running moments of all rewards sampled so far."""

    mean: Float[Array, ""]
    var: Float[Array, ""]
    weight: Float[Array, ""]  # how many


def initial() -> RewardStats:
    """No rewards seen; epymarl starts with a count of 1e-4."""
    return RewardStats(jnp.zeros(()), jnp.ones(()), jnp.full((), 1e-4, jnp.float32))


def update(stats: RewardStats, rewards: Float[Array, "time batch"]) -> RewardStats:
    """Merge a batch into the moments (Chan et al. 1979; unbiased batch variance).

    Padding counts as rewards of 0 and replayed rewards count again, as in epymarl and in the paper's release.
    """
    mean, var, count = jnp.mean(rewards), jnp.var(rewards, ddof=1), float(rewards.size)
    total = stats.weight + count
    delta = mean - stats.mean
    squares = stats.var * stats.weight + var * count + delta**2 * stats.weight * count / total
    return RewardStats(stats.mean + delta * count / total, squares / total, total)


def standardize(stats: RewardStats, rewards: Float[Array, "time batch"]) -> Float[Array, "time batch"]:
    """(r - mean) / sqrt(var), with no epsilon."""
    return (rewards - stats.mean) / jnp.sqrt(stats.var)
