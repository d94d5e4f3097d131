"""Credit for level-based foraging: whoever is near to a food that is left. Works for any number of agents and foods."""

import jax
import jax.numpy as jnp

IGM = True

REACH = 2.0  # steps further away at which an agent's share of a food is divided by e


def credit(state):
    """The next reward comes from agents that are close to a food and strong enough to lift it: they get more weight.

    A food counts by its level, since that is what it pays. Every agent keeps half of an equal share, so that all of
    them go on learning; when no food is left, all shares are equal.
    """
    agent, food = state["agent_pos"], state["food_pos"]
    food_level = state["food_level"]  # 0 for a food that is gone
    n = agent.shape[0]
    steps = jnp.sum(jnp.abs(agent[:, None] - food[None]), axis=-1)  # (agents, foods)
    strength = jnp.log(jnp.maximum(state["agent_level"], 1.0))
    share = jax.nn.softmax(strength[:, None] - steps / REACH, axis=0)  # each food shares out 1
    left = jnp.sum(food_level)
    need = jnp.sum(share * food_level[None], axis=1) / jnp.maximum(left, 1.0)  # sums to 1 as long as a food is left
    weights = 0.5 / n + 0.5 * jnp.where(left > 0, need, 1.0 / n)
    return weights, 0.0
