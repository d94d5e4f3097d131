# A credit function (TFCAF) for mpe_spread, 6 agents, written by a language model.
# Model: Claude
# Date: 2026-11-21, round_3_candidate_2_try_0 of qllm_jax.generate.
# Prompts: sha256 f022bd7e99136d58dc6fbe210826a626bf557501a47ef7db3b4d2f7f11c73a41.
# Chosen by the evaluator: It weighs an agent by the coverage that only it provides and that its motion can really give
#   away (each landmark's margin levels off at 0.6, three steps at full speed, so far-off teammates do not inflate it),
#   by the coverage left to win at its softly assigned landmark, and by present and coming collisions, in the reward's
#   own proportion of 2/n. Positions and velocities are cut off well beyond what thrust reaches, so it stays finite in
#   the unbounded state, and the mild softmax over an even floor lets no agent drown the others. The alternatives
#   either let margins that ...
# IGM on: All agents share one reward that rises when an agent approaches an uncovered landmark or avoids a collision,
#   and in a given state a move that is good for the team need not look bad to the agent that makes it, so positive
#   weights that keep each agent's own best action the team's best fit this task.

import jax
import jax.numpy as jnp

IGM = True

STEP = 0.1          # seconds in a step
LOOK_STEPS = 2.0    # how far an agent's glide is looked ahead, in steps
TOUCH = 0.3         # centers nearer than this collide
TOUCH_SOFT = 0.08   # how softly the edge of a collision is seen
FAR = 3.0           # distances level off towards this length
HOLD_REACH = 0.6    # coverage of one landmark that an agent can give away by a few steps of motion
TEMPERATURE = 0.25  # length that blurs the assignment of agents to landmarks
SIDE = 2.0          # side of the square in which the landmarks lie
POS_LIMIT = 20.0    # positions are cut off here, well beyond what is reached by thrust
VEL_LIMIT = 3.0     # velocities are cut off here, beyond what own thrust gives
STRENGTH = 1.3      # no logit is larger than this, up or down
FLOOR = 0.4         # part of all weight that is shared out evenly


def length(d):
    return jnp.sqrt(jnp.maximum(jnp.sum(d * d, axis=-1), 1e-12))


def touching(pos):
    """Soft number of other agents that each agent collides with."""
    n = pos.shape[0]
    sep = length(pos[:, None, :] - pos[None, :, :])
    near = jax.nn.sigmoid((TOUCH - sep) / TOUCH_SOFT)
    return jnp.sum(near * (1.0 - jnp.eye(n)), axis=1)


def credit(state):
    """An agent matters by the coverage that only it provides and that its own motion can give away, by the coverage
    it can still win at the landmark that falls to it in a one-to-one assignment, and by the collisions it is in or
    about to be in. Each part is bounded by what an agent can do, kept in the reward's own proportions, measured
    against the usual spacing of landmarks and turned into weights by a mild softmax over an even floor."""
    pos = jnp.clip(state["agent_pos"], -POS_LIMIT, POS_LIMIT)
    vel = jnp.clip(state["agent_vel"], -VEL_LIMIT, VEL_LIMIT)
    land = state["landmark_pos"]
    n = pos.shape[0]

    # where the agents are about to be
    soon = pos + STEP * vel
    ahead = pos + LOOK_STEPS * STEP * vel

    # distance of agent i (row) to landmark l (column), levelling off far away
    dist = length(ahead[:, None, :] - land[None, :, :])
    dist = FAR * jnp.tanh(dist / FAR)

    # coverage that only agent i provides: its margin over the next best agent at each landmark. Moving by some length
    # costs at most that length per landmark, so each margin levels off at a few steps of motion before the sum
    ordered = jnp.sort(dist, axis=0)
    first = ordered[0]
    second = ordered[min(1, n - 1)]
    best_other = jnp.where(dist <= first[None, :], second[None, :], first[None, :])
    margin = jnp.maximum(best_other - dist, 0.0)
    hold = jnp.sum(HOLD_REACH * jnp.tanh(margin / HOLD_REACH), axis=1)
    hold = hold / (1.0 + 0.5 * hold)

    # soft one-to-one assignment: every landmark to one agent, every agent to one landmark
    logp = -dist / TEMPERATURE
    for k in range(10):
        logp = logp - jax.nn.logsumexp(logp, axis=1, keepdims=True)
        logp = logp - jax.nn.logsumexp(logp, axis=0, keepdims=True)
    assigned = jnp.exp(logp)

    # coverage still to be won at the assigned landmark, less if the way there is long
    gain = jnp.sum(assigned * first[None, :] / (1.0 + 0.5 * dist), axis=1)

    # collisions now and in the next two steps; many at once count a little less each
    hits = (touching(pos) + touching(soon) + touching(ahead)) / 3.0
    hits = hits / (1.0 + 0.25 * hits)

    # a unit of distance costs the team 0.5 * n, a colliding pair costs it 1
    stake = hold + gain + (2.0 / n) * hits

    # fixed scale: the usual spacing of n landmarks in their square
    spacing = SIDE / n**0.5
    centered = stake - jnp.mean(stake)
    soft = jax.nn.softmax(STRENGTH * jnp.tanh(centered / spacing))

    weights = FLOOR / n + (1.0 - FLOOR) * soft
    bias = jnp.zeros(())
    return weights, bias
