# A credit function (TFCAF) for mpe_spread, 6 agents, written by a language model.
# Model: Claude
# Date: 2026-11-28, round_2_candidate_1_try_0 of qllm_jax.generate.
# Prompts: sha256 9d721b97d8d6e8b1ce9fc6e898d27b6d6be91cc0f57d9d48a01fb570942bcd6a.
# Chosen by the evaluator, who saw short trainings: It weighs an agent by the coverage that would be lost without it,
#   by its way to the landmark left for it in a soft one-to-one plan, and by collisions now or after the next glide,
#   each a bounded share with a floor beside an even share. The trainings show no difference between the candidates,
#   and judging everything after the glide, scaling the parts by their size or taking roots adds much to read for no
#   shown gain. It is the plainest and is right in all states.
# IGM on: Covering a landmark and keeping apart are good both by an agent's own value and for the team, and nothing in
#   the reward asks for what looks worse to an agent, so positive weights suffice.

import jax
import jax.numpy as jnp

IGM = True

STEP = 0.1       # a step moves an agent by this times its velocity
TOUCH = 0.3      # centers nearer than this are in collision
FAR = 2.0        # side of the starting square: more way to go than this counts no further


def distances(a, b):
    d = a[:, None, :] - b[None, :, :]
    return jnp.sqrt(jnp.maximum(jnp.sum(d * d, axis=-1), 1e-12))


def share(x, floor):
    y = jnp.maximum(x, 0.0) + floor
    return y / jnp.maximum(jnp.sum(y), floor)


def credit(state):
    """An agent matters by the coverage that would be lost without it, by the way it still has to go to the landmark
    that is left for it when each takes one, and by the collisions it is in or about to be in. Each gives a share that
    sums to 1, and an even share is mixed in because every agent is needed for one landmark."""
    pos = state["agent_pos"]
    vel = state["agent_vel"]
    land = state["landmark_pos"]
    n = pos.shape[0]

    dist = distances(pos, land)  # (agents, landmarks)

    # Coverage lost without the agent: positive only for the agent that is nearest to a landmark.
    second = jnp.sort(dist, axis=0)[min(1, n - 1)]
    lost = jnp.sum(jnp.clip(second[None, :] - dist, 0.0, 1.0), axis=1)
    lost_share = share(jnp.minimum(lost, FAR), 0.15)

    # Way to go: a soft one-to-one assignment (each landmark taken once, each agent used once).
    logits = -jnp.minimum(dist, 20.0) / TOUCH
    for _ in range(8):
        logits = logits - jax.nn.logsumexp(logits, axis=0, keepdims=True)
        logits = logits - jax.nn.logsumexp(logits, axis=1, keepdims=True)
    plan = jax.nn.softmax(logits, axis=1)
    way = jnp.sum(plan * jnp.minimum(dist, FAR), axis=1)
    way_share = share(way, TOUCH)

    # Collisions now, or soon if all glide on; the nearer of the two gaps counts.
    ahead = pos + STEP * vel
    gap = jnp.minimum(distances(pos, pos), distances(ahead, ahead))
    close = jax.nn.sigmoid((TOUCH + 0.1 - gap) / 0.05) * (1.0 - jnp.eye(n))
    crowd = jnp.minimum(jnp.sum(close, axis=1), 3.0)
    crowd_share = share(crowd, 0.5)

    weights = 0.35 / n * jnp.ones(n) + 0.25 * lost_share + 0.2 * way_share + 0.2 * crowd_share
    bias = 0.0
    return weights, bias
