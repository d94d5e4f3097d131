IGM = True


def credit(state):
    """Agents that are on the target already have less to decide than those that still have to walk."""
    distance = jnp.abs(state["agent_pos"] - state["target_pos"])
    weights = jnp.where(distance > 0, 3.0, 1.0)
    return weights / jnp.sum(weights), 0.0
