# Reward credit for duty by a rule: the agents on duty get the team's reward.
import jax.numpy as jnp


def credit(state, actions, reward, next_state):
    """The agents on duty get the team's reward, and the others nothing."""
    return jnp.where(state["on_duty"] > 0.5, reward, 0.0)
