"""The paper's function for foraging without coop, in the paper's signature (arxiv.org/abs/2504.12961).

Our rewrite from its logic; no text of the release is used. The release has one copy for 10x10 with 3 agents and one for
15x15 with 4; here sizes come from shapes, for as many agents and three foods. Q_tot is multiplied by the number of
agents outside of the function, as in the release. The state: (row, column, level) of each agent, then of each food,
-1, -1, 0 once it is eaten, then the last action of each agent.
"""

import jax.numpy as jnp

IGM = True

LOAD = 5.0


def QLLMNetwork(agents_q, global_state):  # noqa: N802
    """All credit to those that loaded and still stand beside a food, by level times food level; else equal credit."""
    batch, n = agents_q.shape
    foods = (global_state.shape[1] - 4 * n) // 3
    agent = global_state[:, : 3 * n].reshape(batch, n, 3)
    food = global_state[:, 3 * n : 3 * (n + foods)].reshape(batch, foods, 3)
    loaded = global_state[:, 3 * (n + foods) :] == LOAD  # (batch, agents)
    steps = jnp.sum(jnp.abs(agent[:, :, None, :2] - food[:, None, :, :2]), axis=-1)  # (batch, agents, foods)
    left = (food[:, :, 0] >= 0) & (food[:, :, 1] >= 0)  # (batch, foods)
    beside = (steps == 1) & left[:, None]
    share = agent[:, :, 2] * jnp.sum(beside * food[:, None, :, 2], axis=-1) * loaded
    total = jnp.sum(share, axis=-1, keepdims=True)
    weights = jnp.where(total > 0, share / jnp.where(total > 0, total, 1.0), 1.0 / n)
    return jnp.sum(weights * agents_q, axis=-1, keepdims=True)
