# A credit function (TFCAF) for mpe_tag, 3 agents, written by a language model.
# Model: Claude
# Date: 2026-11-27, round_3_candidate_1_try_0 of qllm_jax.generate.
# Prompts: sha256 fcdeaaaf7211d2ef97ec52092cb038e8fcdf79773c678c8c5c44073a540fb193.
# Chosen by the evaluator: It weights agents by a small gap to the prey now and over the next few steps, a line free of
#   obstacles, and closing in on or standing in the way of the prey, and shrinks the differences when all are far away.
#   Its touch term looks one step ahead, so the agents whose present action is about to be paid get the greater weight
#   and one that has just bounced off fast does not; rewarding only contact in the present state would credit a touch
#   that is already decided. All terms are bounded and of like size, and every agent keeps an even share.
# IGM on: Each touch adds the same amount to the shared reward and no agent has to do what looks worse to itself for
#   the team to gain, so non-negative weights rank the joint actions rightly and fit agents that act by their own
#   values alone.

import jax
import jax.numpy as jnp

IGM = True

TOUCH = 0.125        # centers nearer than this touch (agent 0.075 + prey 0.05)
OBSTACLE = 0.2       # radius of an obstacle
STEP = 0.1           # seconds of one step: the present actions are paid for the touches after it
LOOK_AHEAD = 0.3     # seconds (three steps) for which motion is extrapolated
AGENT_SPEED = 1.0    # top speed of an agent
PREY_SPEED = 1.3     # top speed of the prey
SLOW = 0.1           # relative speed below which motion hardly changes a gap within LOOK_AHEAD
GAP_UNIT = 0.3       # a gap that an agent covers in about three steps
SHARED = 0.25        # part of the weight that is spread evenly


def length(d):
    return jnp.sqrt(jnp.maximum(jnp.sum(d * d, axis=-1), 1e-12))


def closest(to_prey, rel_vel, span):
    # Least distance to the prey within span seconds if both keep their velocities: two that meet head-on touch on the
    # way, though the straight extrapolation takes them through each other.
    rel_speed_sq = jnp.maximum(jnp.sum(rel_vel * rel_vel, axis=-1), SLOW * SLOW)
    time = jnp.clip(-jnp.sum(to_prey * rel_vel, axis=-1) / rel_speed_sq, 0.0, span)
    return length(to_prey + time[:, None] * rel_vel)


def credit(state):
    """Only touches pay, so weight goes to the agents that will touch the prey after this step or can soonest do so: a
    small gap now and at the closest approach of the next few steps, a free line to the prey, closing in on it or
    standing in its way. Agents in like positions get like weights, the differences shrink as all are far away, and
    every agent keeps an even share."""
    agent_pos = state["agent_pos"]
    agent_vel = state["agent_vel"]
    prey_pos = state["prey_pos"]
    prey_vel = state["prey_vel"]
    obstacle_pos = state["obstacle_pos"]
    n = agent_pos.shape[0]

    # From each agent to the prey, and how fast the two draw apart along that line (negative: they draw together).
    to_prey = prey_pos[None, :] - agent_pos
    rel_vel = prey_vel[None, :] - agent_vel
    dist = length(to_prey)
    line_dir = to_prey / jnp.maximum(dist, TOUCH)[:, None]
    apart = jnp.sum(rel_vel * line_dir, axis=-1)
    parting = jnp.maximum(apart, 0.0)

    # The gap now, and the gap of the next steps: those that draw apart are closest now, and for them the gap grows by
    # what they part in that time.
    gap_now = jnp.maximum(dist - TOUCH, 0.0)
    gap_ahead = jnp.maximum(closest(to_prey, rel_vel, LOOK_AHEAD) - TOUCH, 0.0) + LOOK_AHEAD * parting

    # An obstacle across the line from agent to prey forces a detour; at touching distance there is none to make.
    to_obstacle = obstacle_pos[None, :, :] - agent_pos[:, None, :]
    line_sq = jnp.maximum(jnp.sum(to_prey * to_prey, axis=-1), TOUCH * TOUCH)
    along = jnp.sum(to_obstacle * to_prey[:, None, :], axis=-1) / line_sq[:, None]
    along = jnp.clip(along, 0.0, 1.0)
    off_line = length(to_obstacle - along[:, :, None] * to_prey[:, None, :])
    blocked = jnp.minimum(jnp.sum(jax.nn.sigmoid((OBSTACLE - off_line) / 0.04), axis=-1), 1.0)
    detour = OBSTACLE * blocked * jnp.minimum(gap_now / GAP_UNIT, 1.0)

    # The gap counts by its ratio: 0.1 against 0.4 matters, 2.1 against 2.4 hardly does.
    gap = 0.6 * gap_now + 0.4 * gap_ahead + detour
    reach = -1.2 * jnp.log1p(gap / GAP_UNIT)

    # Motion matters for agents near enough to use it.
    near = jnp.exp(-gap_now / 0.6)
    closing = -apart / (AGENT_SPEED + PREY_SPEED)
    in_way = -jnp.sum(line_dir * prey_vel[None, :], axis=-1) / PREY_SPEED
    motion = near * (0.5 * jnp.clip(closing, -1.0, 1.0) + 0.5 * jnp.clip(in_way, -1.0, 1.0))

    # The action chosen now is paid for touches after the step: an agent about to touch counts as well as one that stays
    # in touch, and one that has just bounced off fast does not.
    dist_next = closest(to_prey, rel_vel, STEP) + STEP * parting
    touching = jax.nn.sigmoid((TOUCH - dist_next) / 0.04)

    score = reach + motion + 0.8 * touching
    share = jax.nn.softmax(score)
    weights = SHARED / n + (1.0 - SHARED) * share
    bias = 0.0
    return weights, bias
