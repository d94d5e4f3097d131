"""Rewards as they are learned from, and the lambda-returns that are made of them."""

import jax
import jax.numpy as jnp
import rlax
from jaxtyping import Array, Float

from qllm_jax.core import platforms, rewards
from qllm_jax.core.types import Episode, Hp
from qllm_jax.learners.base import Core


def standardize_rewards(core: Core, stats: rewards.RewardStats, batch: Episode) -> tuple[rewards.RewardStats, Episode]:
    """Return the moments after a batch, and the batch with standardized rewards.

    Without standardization the moments are as given, and rewards are multiplied by `core.reward_scale`.
    """
    stats, reward_t = standardize(core, stats, batch.reward_t, batch)
    return stats, batch if reward_t is batch.reward_t else batch._replace(reward_t=reward_t)


def standardize(
    core: Core, stats: rewards.RewardStats, reward_t: Float[Array, "time batch *agents"], batch: Episode
) -> tuple[rewards.RewardStats, Float[Array, "time batch *agents"]]:
    """`standardize_rewards` of the rewards of a batch, of the team or of single agents."""
    if not core.standardize:
        return stats, reward_t if core.reward_scale == 1.0 else reward_t * core.reward_scale
    counted_t = jnp.any(batch.mask_t > 0, 1) if core.env.spec.ends_early else None
    stats = rewards.update(stats, reward_t, counted_t)
    return stats, rewards.standardize(stats, reward_t)


def batch_returns(
    batch: Episode, value: Float[Array, "slots batch *agents"], hp: Hp
) -> Float[Array, "time batch *agents"]:
    """`lambda_returns` of a time-major batch, of the team or of each agent, who all get the team's reward."""
    of_episode = lambda_returns if value.ndim == 2 else agent_returns
    return jax.vmap(of_episode, (1, 1, None), 1)(batch, value, hp)


def agent_returns(
    episode: Episode,
    value: Float[Array, "slots agents"],
    hp: Hp,
    own_reward_t: Float[Array, "time agents"] | None = None,
) -> Float[Array, "time agents"]:
    """`lambda_returns` of each agent in one episode, from rewards of their own; None: all get the team's."""
    of_agent = lambda reward_t, value: lambda_returns(episode._replace(reward_t=reward_t), value, hp)
    if own_reward_t is None:
        return jax.vmap(of_agent, (None, 1), 1)(episode.reward_t, value)
    return jax.vmap(of_agent, (1, 1), 1)(own_reward_t, value)


def lambda_returns(episode: Episode, value: Float[Array, " slots"], hp: Hp) -> Float[Array, " time"]:
    """Peng's Q(lambda) of one episode; `td_lambda` 0 is r + gamma (1 - terminated) V(s'). `value` is over slots."""
    discount_t = hp.gamma * (1.0 - episode.terminated_t) * episode.mask_t
    inputs = (episode.reward_t * episode.mask_t, discount_t, value[1:], hp.td_lambda)
    return platforms.choose(*inputs, cpu=lambda *inputs: jnp.asarray(rlax.lambda_returns(*inputs)), gpu=_doubled)


def _doubled(
    reward_t: Float[Array, " time"], discount_t: Float[Array, " time"], value_t: Float[Array, " time"], lambda_: Array
) -> Float[Array, " time"]:
    """`rlax.lambda_returns` without a loop: after n rounds a return covers 2^n steps, and is linear in the next one."""
    # G_t = level_t + slope_t G_{t+1}; the last bootstraps from its own value.
    slope, is_last = discount_t * lambda_, jnp.arange(len(reward_t)) == len(reward_t) - 1
    level = reward_t + discount_t * (1.0 - lambda_) * value_t + jnp.where(is_last, slope * value_t, 0.0)
    slope, shift = jnp.where(is_last, 0.0, slope), 1
    while shift < len(reward_t):
        later = lambda x: jnp.concatenate([x[shift:], jnp.zeros(shift)])  # noqa: B023
        level, slope, shift = level + slope * later(level), slope * later(slope), 2 * shift
    return level
