"""The paper's function for cooperative navigation, in the paper's signature (arxiv.org/abs/2504.12961).

Our rewrite from a description of its logic; no text of the release is used. The release is written for N = 6 only; here
sizes come from shapes. Q_tot is multiplied by the number of agents outside of the function, as in the release.
One agent's part of the state: velocity 2, position 2, landmarks 2N, other agents 2(N-1), both relative to it, and
silent communication 2(N-1).
"""

import jax
import jax.numpy as jnp

IGM = True


def length(vectors):
    """Their norm; the floor keeps the slope finite at 0."""
    return jnp.sqrt(jnp.maximum(jnp.sum(vectors**2, axis=-1), 1e-12))


def QLLMNetwork(agents_q, global_state):  # noqa: N802
    """An agent near to a landmark counts more, up to a logit of 10; each other agent within 0.3 of it costs 1."""
    batch, n = agents_q.shape
    agent = global_state.reshape(batch, n, 6 * n)
    landmark = agent[:, :, 4 : 4 + 2 * n].reshape(batch, n, n, 2)
    other = agent[:, :, 4 + 2 * n : 2 + 4 * n].reshape(batch, n, n - 1, 2)
    nearest = jnp.min(length(landmark), axis=-1)  # (batch, agents)
    crowd = jnp.sum(length(other) < 0.3, axis=-1)  # (batch, agents)
    weights = jax.nn.softmax(1.0 / jnp.maximum(nearest, 0.1) - crowd, axis=-1)
    return jnp.sum(weights * agents_q, axis=-1, keepdims=True)
