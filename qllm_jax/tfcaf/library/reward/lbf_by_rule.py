# Reward credit for level-based foraging by a rule: what each agent ate, after lbforaging, which pays each agent so.
import jax.numpy as jnp


def credit(state, actions, reward, next_state):
    """Agents that load beside a food that is eaten share its level by their own levels. All other agents get nothing."""
    eaten = (state["food_level"] > 0.0) & (next_state["food_level"] <= 0.0)
    steps = jnp.abs(state["agent_pos"][:, None] - state["food_pos"][None]).sum(-1)
    took = (actions == 5)[:, None] & (jnp.abs(steps - 1.0) < 0.5) & eaten[None]
    part = state["agent_level"][:, None] * took
    ate = (state["food_level"][None] * part / jnp.maximum(part.sum(0, keepdims=True), 1.0)).sum(-1)
    even = jnp.ones(actions.shape[0]) / actions.shape[0]
    return reward * jnp.where(ate.sum() > 0.0, ate / jnp.maximum(ate.sum(), 1.0), even)
