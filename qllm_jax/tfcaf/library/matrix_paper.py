"""The paper's function for the climbing game, in the paper's signature (arxiv.org/abs/2504.12961v1).

Our rewrite from a description of its logic; no text of the release is used. It knows the payoffs of climbing by heart,
two agents with three actions. Q_tot is multiplied by the number of agents outside of the function, as in the release.
The state holds the last action of each agent, -1 before the first step.
"""

import jax
import jax.numpy as jnp

IGM = True

CLIMBING = ((11.0, -30.0, 0.0), (-30.0, 7.0, 0.0), (0.0, 6.0, 5.0))


def QLLMNetwork(agents_q, global_state):  # noqa: N802
    """By what an agent's last action was better than its mean one, beside what the other one did; else equally."""
    payoff = jnp.array(CLIMBING)
    one_hot = 1.0 * (global_state[:, :, None] == jnp.arange(3.0)[None, None])  # (batch, agents, actions)
    first, second = one_hot[:, 0], one_hot[:, 1]
    beside_second, beside_first = second @ payoff.T, first @ payoff  # (batch, actions of the first, of the second)
    paid = jnp.sum(first * beside_second, axis=-1)
    advantage = jnp.stack([paid - jnp.mean(beside_second, axis=-1), paid - jnp.mean(beside_first, axis=-1)], axis=-1)
    known = jnp.min(global_state, axis=-1, keepdims=True) >= 0
    weights = jnp.where(known, jax.nn.softmax(advantage, axis=-1), 0.5)
    return jnp.sum(weights * agents_q, axis=-1, keepdims=True)
