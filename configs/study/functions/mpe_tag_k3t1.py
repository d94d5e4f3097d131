# A credit function (TFCAF) for mpe_tag, 3 agents, written by a language model.
# Model: Claude
# Date: 2026-11-27, round_1_candidate_1_try_0 of qllm_jax.generate.
# Prompts: sha256 fcdeaaaf7211d2ef97ec52092cb038e8fcdf79773c678c8c5c44073a540fb193.
# Chosen by the evaluator: It gives credit to agents that touch the prey or can soon reach it, using the closest
#   approach within five steps on the present courses, so an agent about to run into the prey is not missed as with a
#   fixed look-ahead or with the present distance alone. It counts an obstacle as blocking by the combined radius of
#   obstacle and agent and only where it lies between agent and prey, and its terms are of like size, fade with
#   distance and leave every agent an equal floor, so it stays sound at the first step and at the ends of the ranges.
# IGM on: Each touch adds the same amount to the common reward and nothing is lost when an agent acts without the
#   others, so an action that is better for an agent's own chance to touch or drive the prey is not worse for the team,
#   and non-negative weights rank the joint actions rightly.

import jax
import jax.numpy as jnp

IGM = True

TOUCH = 0.125        # centers nearer than this touch
CLEARANCE = 0.275    # radius of an obstacle plus radius of an agent
HORIZON = 0.5        # seconds looked ahead: five steps
DETOUR = 0.3         # extra way around an obstacle that blocks the path
FLOOR = 0.3          # part of the credit that is shared out equally


def length(d):
    return jnp.sqrt(jnp.maximum(jnp.sum(d * d, axis=-1), 1e-12))


def credit(state):
    """Reward comes only from agents that touch the prey, so credit goes to those that touch it or can soon reach it:
    small gap now and on the present courses, free path, closing in. Near agents that hold a side of the prey which
    their teammates leave open get some more, and every agent keeps a floor, so that far from the prey all are alike."""
    pos = state["agent_pos"]
    vel = state["agent_vel"]
    prey_pos = state["prey_pos"]
    prey_vel = state["prey_vel"]
    obstacles = state["obstacle_pos"]
    n = pos.shape[0]

    # Gap and direction from each agent to the prey.
    to_prey = prey_pos[None, :] - pos                                # (n, 2)
    dist = length(to_prey)                                           # (n,)
    unit = to_prey / jnp.maximum(dist, TOUCH)[:, None]               # (n, 2), length at most 1

    # Smallest gap within the horizon if agent and prey keep their velocities.
    rel_vel = prey_vel[None, :] - vel                                # (n, 2)
    speed_sq = jnp.maximum(jnp.sum(rel_vel * rel_vel, axis=-1), 0.25)
    t_near = jnp.clip(-jnp.sum(to_prey * rel_vel, axis=-1) / speed_sq, 0.0, HORIZON)
    gap_ahead = length(to_prey + t_near[:, None] * rel_vel)          # (n,), at most dist

    # Speed at which the gap shrinks, on the scale of the top speeds 1.0 + 1.3.
    closing = -jnp.sum(rel_vel * unit, axis=-1) / 2.3                # (n,), from -1 to 1

    # Does an obstacle lie between the agent and the prey?
    to_obs = obstacles[None, :, :] - pos[:, None, :]                 # (n, m, 2)
    len_sq = jnp.maximum(dist * dist, TOUCH * TOUCH)                 # (n,)
    along = jnp.sum(to_obs * to_prey[:, None, :], axis=-1) / len_sq[:, None]
    along = jnp.clip(along, 0.0, 1.0)                                # (n, m)
    miss = length(to_obs - along[:, :, None] * to_prey[:, None, :])  # (n, m)
    between = jnp.clip(8.0 * along * (1.0 - along), 0.0, 1.0)        # 0 at either end of the path
    blocked = jnp.sum(between * jax.nn.sigmoid((CLEARANCE - miss) / 0.04), axis=-1)
    blocked = jnp.clip(blocked, 0.0, 2.0)                            # (n,)

    # Way that is left to the prey: the gap now and the gap on the present courses, with the detour.
    way = 0.5 * dist + 0.5 * gap_ahead + DETOUR * blocked
    reach = jnp.exp(-jnp.maximum(way - TOUCH, 0.0) / 0.5)            # (n,), from 0 to 1
    near = jnp.exp(-dist / 1.0)                                      # (n,), from 0 to 1
    contact = jax.nn.sigmoid((TOUCH + 0.01 - dist) / 0.02)           # (n,), from 0 to 1

    # Side of the prey that near teammates leave open: 1 if they stand opposite, 0 if on the same side.
    cosine = jnp.sum(unit[:, None, :] * unit[None, :, :], axis=-1)   # (n, n)
    others = 1.0 - jnp.eye(n)
    opposite = others * near[None, :] * 0.5 * (1.0 - cosine)
    surround = jnp.sum(opposite, axis=-1) / max(n - 1, 1)            # (n,), from 0 to 1

    # Parts of like size; the score lies within a few units.
    score = 2.0 * reach + 0.8 * contact + 0.8 * near * closing + 0.6 * near * surround

    weights = (1.0 - FLOOR) * jax.nn.softmax(score) + FLOOR / n
    bias = jnp.zeros(())
    return weights, bias
