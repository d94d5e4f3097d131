IGM = True


def credit(state):
    """Agents that are on the target already have less to decide than those that still have to walk."""
    distance = jnp.abs(state["agent_pos"] - state["target_pos"])
    weights = jnp.where(distance > 0, 1.5, 0.5)
    return weights, 0.0
