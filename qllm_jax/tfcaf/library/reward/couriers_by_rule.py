# Reward credit for couriers by a rule: each agent gets the pay for what it delivers, and the cost of its own crashes.
import jax.numpy as jnp

DELIVERED = 2


def credit(state, actions, reward, next_state):
    """The agent in the destination of a parcel that is delivered gets its pay. Agents that crash share all other reward,
    which is what their crashes cost."""
    status, status_tp1 = jnp.round(state["parcel_state"]), jnp.round(next_state["parcel_state"])
    delivered = (status != DELIVERED) & (status_tp1 == DELIVERED)
    at = jnp.abs(next_state["agent_pos"][:, None] - state["destination"][None]).sum(-1) < 0.5
    pay = (at & delivered[None]).sum(-1) / delivered.shape[0]
    crashed = next_state["crashed"] > 0.5
    return pay + (reward - pay.sum()) * crashed / jnp.maximum(crashed.sum(), 1)
