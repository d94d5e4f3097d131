"""The paper's function for predator and prey, in the paper's signature (arxiv.org/abs/2504.12961).

Our rewrite from its logic; no text of the release is used. The release is written for 3 predators; here their number
comes from shapes. Q_tot is multiplied by the number of agents outside of the function, as in the release. One agent's
part of the state: velocity 2, position 2, two obstacles 4, other predators 2(N-1), prey 2, all relative to it, and the
prey's velocity 2.
"""

import jax
import jax.numpy as jnp

IGM = True


def QLLMNetwork(agents_q, global_state):  # noqa: N802
    """A softmax of closeness to the prey times how far the agent's velocity points at it, 0 if it points away."""
    batch, n = agents_q.shape
    agent = global_state.reshape(batch, n, 2 * n + 10)
    velocity = jnp.clip(agent[:, :, :2], -3.0, 3.0)
    prey = jnp.clip(agent[:, :, 2 * n + 6 : 2 * n + 8], -5.0, 5.0)
    # The 1e-5 under the roots and below the line are the release's, and keep all of it finite.
    distance = jnp.sqrt(jnp.sum(prey**2, axis=-1) + 1e-5)
    speed = jnp.sqrt(jnp.sum(velocity**2, axis=-1) + 1e-5)
    cosine = jnp.clip(jnp.sum(velocity * prey, axis=-1) / (speed * distance + 1e-5), -1.0, 1.0)
    weights = jax.nn.softmax(jax.nn.relu(cosine) / (1.0 + distance), axis=-1)
    return jnp.sum(weights * agents_q, axis=-1, keepdims=True)
