"""The paper's function for the adversary task, in the paper's signature (arxiv.org/abs/2504.12961).

It reads wrong slots. Our rewrite from its logic; no text of the release is used. Q_tot is multiplied by the number of
agents outside of the function, as in the release. The release takes an agent's part of the state for 8 numbers (goal 2,
landmarks 4, adversary 2), but it is 10 (and the other agent 2): what it reads as agent 1's goal are the x, y of agent 1
as seen from agent 0, and its adversary is agent 1's second landmark. Kept, for comparison with the paper's curves.
"""

import jax
import jax.numpy as jnp

IGM = True

PART = 8  # the release's; the environment's is 10


def QLLMNetwork(agents_q, global_state):  # noqa: N802
    """A softmax of the adversary's distance to the goal, at most 5, over the agent's own, at least 0.1."""
    batch = agents_q.shape[0]
    agent = global_state[:, : 2 * PART].reshape(batch, 2, PART)
    goal, adversary = agent[:, :, :2], agent[:, :, 6:8]
    # Clipped before the root, so that it has a slope everywhere.
    own = jnp.sqrt(jnp.maximum(jnp.sum(goal**2, axis=-1), 0.01))
    its = jnp.sqrt(jnp.clip(jnp.sum((goal - adversary) ** 2, axis=-1), 1e-12, 25.0))
    weights = jax.nn.softmax(its / own, axis=-1)
    return jnp.sum(weights * agents_q, axis=-1, keepdims=True)
