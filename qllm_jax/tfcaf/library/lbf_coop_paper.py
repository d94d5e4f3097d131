"""The paper's function for foraging with coop (8x8), in the paper's signature (arxiv.org/abs/2504.12961).

Our rewrite from its logic; no text of the release is used. The release is written for 2 agents and 2 foods; here sizes
come from shapes. Q_tot is multiplied by the number of agents outside of the function, as in the release. The state:
(row, column, level) of each agent, then of each food, -1, -1, 0 once it is eaten, then the last action of each agent.
"""

import jax
import jax.numpy as jnp

IGM = True


def QLLMNetwork(agents_q, global_state):  # noqa: N802
    """A softmax of level times the levels of those foods beside the agent that the agents beside them can lift."""
    batch, n = agents_q.shape
    foods = (global_state.shape[1] - 4 * n) // 3
    agent = global_state[:, : 3 * n].reshape(batch, n, 3)
    food = global_state[:, 3 * n : 3 * (n + foods)].reshape(batch, foods, 3)
    steps = jnp.sum(jnp.abs(agent[:, :, None, :2] - food[:, None, :, :2]), axis=-1)  # (batch, agents, foods)
    left = (food[:, :, 0] >= 0) & (food[:, :, 1] >= 0)  # (batch, foods)
    beside = (steps == 1) & left[:, None]
    strength = jnp.sum(beside * agent[:, :, 2:], axis=1)  # (batch, foods)
    liftable = (jnp.sum(beside, axis=1) >= 2) & (strength >= food[:, :, 2])
    reach = jnp.sum(beside * (food[:, :, 2] * liftable)[:, None], axis=-1)  # (batch, agents)
    weights = jax.nn.softmax(agent[:, :, 2] * reach, axis=-1)
    return jnp.sum(weights * agents_q, axis=-1, keepdims=True)
