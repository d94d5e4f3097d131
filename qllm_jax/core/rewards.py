"""Running reward standardization, as epymarl's `standardise_rewards` does it."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class RewardStats(NamedTuple):
    """Running moments of all rewards sampled so far."""

    mean: Float[Array, ""]
    var: Float[Array, ""]
    weight: Float[Array, ""]  # how many


def initial() -> RewardStats:
    """No rewards seen; epymarl starts with a count of 1e-4."""
    return RewardStats(jnp.zeros(()), jnp.ones(()), jnp.full((), 1e-4, jnp.float32))


def update(
    stats: RewardStats, rewards: Float[Array, "time batch *agents"], counted_t: Bool[Array, " time"] | None = None
) -> RewardStats:
    """Merge a batch into the moments (Chan et al. 1979; unbiased batch variance, 0 of a single reward).

    Replayed rewards count again, as in epymarl and in the paper's release. `counted_t` marks the steps that count, None
    all of them: epymarl cuts a batch to its longest episode, and padding within that length counts as rewards of 0.
    Rewards of single agents count as one step does: where all agents have one reward, the moments are those of that.
    """
    if rewards.ndim == 3:
        steps = jnp.ones(len(rewards), bool) if counted_t is None else counted_t
        count, n_agents = jnp.sum(steps) * jnp.float32(rewards.shape[1]), rewards.shape[2]
        weight = steps[:, None, None].astype(rewards.dtype)
        mean = jnp.sum(rewards * weight) / (count * n_agents)
        var = jnp.sum(jnp.square(rewards - mean) * weight) / (jnp.maximum(count - 1, 1) * n_agents)
    elif counted_t is None:
        mean, var, count = jnp.mean(rewards), jnp.var(rewards, ddof=rewards.size > 1), jnp.float32(rewards.size)
    else:
        count = jnp.sum(counted_t) * jnp.float32(rewards.shape[1])
        mean = jnp.sum(rewards * counted_t[:, None]) / count
        var = jnp.sum(jnp.square(rewards - mean) * counted_t[:, None]) / jnp.maximum(count - 1, 1)
    total = stats.weight + count
    delta = mean - stats.mean
    squares = stats.var * stats.weight + var * count + delta**2 * stats.weight * count / total
    return RewardStats(stats.mean + delta * count / total, squares / total, total)


def standardize(stats: RewardStats, rewards: Float[Array, "time batch *agents"]) -> Float[Array, "time batch *agents"]:
    """(r - mean) / sqrt(var), with no epsilon."""
    return (rewards - stats.mean) / jnp.sqrt(stats.var)
