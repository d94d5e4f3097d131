"""Credit for cooperative navigation: whoever covers a landmark or is in a collision. Works for any number of agents."""

import jax
import jax.numpy as jnp

IGM = True

CLOSE = 0.3  # distance at which two agents touch; also the scale on which landmarks are shared out


def distances(points, others):
    """Of each point to each other; the floor keeps the slope finite where two of them coincide.

    Coordinate by coordinate: XLA:CPU does not vectorize a sum over an axis of two.
    """
    dx = points[:, 0][:, None] - others[:, 0][None]
    dy = points[:, 1][:, None] - others[:, 1][None]
    return jnp.sqrt(jnp.maximum(dx**2 + dy**2, 1e-12))


def credit(state):
    """The reward moves with the agents nearest to each landmark and with those that collide: they get more weight.

    Every agent keeps half of an equal share, so that all of them go on learning.
    """
    agent, landmark = state["agent_pos"], state["landmark_pos"]
    n = agent.shape[0]
    to_landmark = distances(agent, landmark)  # (agents, landmarks)
    share = jax.nn.softmax(-to_landmark / CLOSE, axis=0)  # each landmark shares out 1
    apart = distances(agent, agent)  # (agents, agents)
    touching = jnp.sum(apart < CLOSE, axis=1) - 1.0  # without the agent itself
    need = jnp.sum(share, axis=1) + touching
    weights = (0.5 + 0.5 * need / jnp.mean(need)) / n  # the mean is at least landmarks / agents
    return weights, 0.0
