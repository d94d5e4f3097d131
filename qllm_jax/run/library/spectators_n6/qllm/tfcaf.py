# A credit function (TFCAF) for spectators, written by a language model.
# Model: Claude
# Date: 2026-11-27, round_3_candidate_3_try_0 of qllm_jax.generate.
# Prompts: sha256 b01e621ab913396c4fbc9382e3c6809fce8d3a18126bf49d524d659376695948.
# Chosen by the evaluator: It adds lost coverage, open distance and collisions in the reward's own scale (a colliding
#   pair counted as 2/m of distance), bounds the sum once, and makes each mover's weight directly proportional to a
#   base plus that stake. So large and small stakes stay apart, yet movers stay within a ratio of four in any state and
#   spectators keep only a trace. The alternatives squash each part separately and so lose the scale of the reward, or
#   pass the stake through a softmax or an extra catch-up factor, which is harder to follow and no better founded in
#   the task.
# IGM on: Movers share one reward, see what they need and can split up over the landmarks by each taking its own best
#   action, and spectators do nothing, so nothing in the task requires that what is good for the team look worse to an
#   agent, and negative weights would only turn agents against the team's reward.

import jax
import jax.numpy as jnp

IGM = True

STEP = 0.1             # a step moves a mover by this times its velocity
HORIZON = 0.2          # collisions are looked for so far ahead (two steps), in seconds
SLOW = 0.2             # relative speeds below this hardly change a gap within the horizon
CONTACT = 0.3          # centers nearer than this are in collision
MARGIN = 0.1           # softness of the edge of a collision
REACH = 0.4            # softness of who is to go to which landmark
ROUNDS = 8             # balancing rounds of the soft assignment
FAR = 3.0              # distances beyond this are alike (diagonal of the square: 2.83)
BASE = 1.0             # stake that every mover has in any state, as a distance
CEILING = 3.0          # what is at stake for one mover saturates here, as a distance
SPECTATOR_PART = 0.03  # part of all weight that is spread evenly over all agents


def lengths(d):
    return jnp.sqrt(jnp.maximum(jnp.sum(d * d, axis=-1), 1e-12))


def credit(state):
    """Only movers bring the reward about, so they share nearly all weight in proportion to a base plus what is at stake
    with each, all in the reward's own scale: the coverage that would be lost without it, the open distance that it is
    the one to close, and the collisions it is in or about to be in. The base and a ceiling keep the movers' weights
    within a ratio of four, since any mover can still change the reward to come, and spectators, whose actions do
    nothing, keep only a trace so that their noise stays out of the team's value."""
    moves = state["moves"]
    pos = state["mover_pos"]
    vel = state["mover_vel"]
    land = state["landmark_pos"]
    n = moves.shape[0]
    m = pos.shape[0]
    same = jnp.eye(m)

    # distance of each mover (row) to each landmark (column) after the coming step, if the movers glide on
    ahead = pos + STEP * vel
    dist = jnp.minimum(lengths(ahead[:, None, :] - land[None, :, :]), FAR)
    nearest = jnp.min(dist, axis=0)

    # what the coverage would lose without mover i
    others = jnp.where(same[:, :, None] > 0.5, FAR, dist[None, :, :])
    without = jnp.min(others, axis=1)
    hold = jnp.sum(jnp.maximum(without - nearest[None, :], 0.0), axis=1)

    # soft assignment of movers to landmarks, one to one: rows and columns are balanced in turn, so that a mover
    # that is needed where it is does not take the share of another, open landmark; the last balancing is over the
    # movers, so the open distance of each landmark is shared out in full
    plan = -dist / REACH
    for _ in range(ROUNDS):
        plan = jax.nn.log_softmax(plan, axis=1)
        plan = jax.nn.log_softmax(plan, axis=0)
    need = jnp.sum(jnp.exp(plan) * nearest[None, :], axis=1)

    # smallest gap of each pair between now and the horizon, with a soft edge of the collision
    apart = pos[:, None, :] - pos[None, :, :]
    drift = vel[:, None, :] - vel[None, :, :]
    closing = -jnp.sum(apart * drift, axis=-1)
    speed_sq = jnp.maximum(jnp.sum(drift * drift, axis=-1), SLOW * SLOW)
    when = jnp.clip(closing / speed_sq, 0.0, HORIZON)
    gap = lengths(apart + when[:, :, None] * drift)
    hit = jax.nn.sigmoid((CONTACT - gap) / MARGIN) * (1.0 - same)
    crowd = jnp.sum(hit, axis=1)

    # one scale for all parts: a unit of distance costs the team 0.5 * m, a colliding pair costs it 1, so that a
    # pair in collision is worth a distance of 2 / m; the sum is bounded once, softly
    raw = hold + need + (2.0 / m) * crowd
    stake = raw / (1.0 + raw / CEILING)

    # row i of the movers is agent i; spectators come after them and have no stake
    share = jnp.concatenate([BASE + stake, jnp.zeros((n - m,))])
    share = jnp.where(moves > 0.5, share, 0.0)
    share = share / jnp.maximum(jnp.sum(share), BASE)
    weights = (1.0 - SPECTATOR_PART) * share + SPECTATOR_PART / n

    bias = 0.0
    return weights, bias
