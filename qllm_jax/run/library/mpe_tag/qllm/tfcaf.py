# A credit function (TFCAF) for mpe_tag, 3 agents, written by a language model.
# Model: Claude
# Date: 2026-11-21, round_3_candidate_1_try_0 of qllm_jax.generate.
# Prompts: sha256 062c107463b82fe21311eab95cba255f0ae8afcafa695b10367633e6f673cde3.
# Chosen by the evaluator: It measures the way to a touch from the gap after the coming step, which is where the next
#   reward is decided, and from the closest approach along the present velocities, so an agent about to touch and one
#   whose prey is slipping away are told apart. Its logarithmic score compares gaps by ratio and so still separates the
#   agents at the usual gaps of 0.5 to 1.5, where a saturating score levels off; it stays bounded over the whole range
#   and gives like shares when all are far away. The equal floor and a shadow that spares agents near a touch keep
#   every agent learning and ...
# IGM on: The reward only adds up over the agents that touch the prey and no touch is ever penalized, so an agent that
#   chases, closes off a side or touches better never makes the team worse, and since each acts by its own value alone,
#   no negative weight is needed.

import jax
import jax.numpy as jnp

IGM = True

TOUCH = 0.125        # center distance at which an agent touches the prey
BLOCK = 0.275        # obstacle radius plus agent radius
STEP = 0.1           # seconds in one step
HORIZON = 0.6        # seconds looked ahead along the present velocities (6 steps)
LEAVING = 0.1        # seconds of present moving apart that are added to the gap (1 step)
DETOUR = 0.3         # extra way when an obstacle lies fully on the line to the prey
GAP_SCALE = 0.3      # gaps well below this length count as nearly touching
POWER = 2.0          # share falls as 1 / (gap + GAP_SCALE) to this power
SHADOW = 0.8         # loss of an agent whose side of the prey is already covered
SPREAD = 0.75        # part of the weight given by the score, the rest is equal


def length(d):
    return jnp.sqrt(jnp.maximum(jnp.sum(d * d, axis=-1), 1e-12))


def credit(state):
    """Only touching the prey pays, so an agent matters by how soon it can touch: its gap to the prey after the coming
    step and at the closest approach along the present velocities, longer where the prey is leaving it behind or an
    obstacle bars the way, compared by ratio so that near and usual gaps are told apart equally well. A distant agent
    behind a nearer teammate on the same side of the prey adds less to the hunt than one who closes another side, and
    everyone keeps an equal share as a floor since the chase can turn to any of them."""
    pos = state["agent_pos"]
    vel = state["agent_vel"]
    obstacles = state["obstacle_pos"]
    n = pos.shape[0]

    rel = state["prey_pos"][None, :] - pos
    rel_vel = state["prey_vel"][None, :] - vel
    dist = length(rel)
    moving_apart = jnp.sum(rel * rel_vel, axis=-1)

    # The next reward is paid for the positions after the coming step.
    dist_next = length(rel + STEP * rel_vel)

    # Closest approach within the horizon; relative speeds below 0.5 count as 0.5 in the denominator.
    speed_sq = jnp.maximum(jnp.sum(rel_vel * rel_vel, axis=-1), 0.25)
    t_close = jnp.clip(-moving_apart / speed_sq, 0.0, HORIZON)
    dist_close = length(rel + rel_vel * t_close[:, None])

    # Speed at which prey and agent draw apart, at most 2.3; zero at rest and for an agent that closes in.
    receding = jnp.maximum(moving_apart / jnp.maximum(dist, TOUCH), 0.0)

    # Obstacles on the straight line from each agent to the prey. An obstacle that merely stands beside an
    # agent already at the prey bars nothing, so the detour is never longer than the gap itself.
    to_obstacle = obstacles[None, :, :] - pos[:, None, :]
    line = rel[:, None, :]
    line_sq = jnp.maximum(jnp.sum(line * line, axis=-1), TOUCH * TOUCH)
    along = jnp.clip(jnp.sum(to_obstacle * line, axis=-1) / line_sq, 0.0, 1.0)
    clearance = length(to_obstacle - along[:, :, None] * line)
    blocked = jnp.maximum(BLOCK - clearance, 0.0) / BLOCK
    gap_now = jnp.maximum(dist - TOUCH, 0.0)
    gap_next = jnp.maximum(dist_next - TOUCH, 0.0)
    gap_close = jnp.maximum(dist_close - TOUCH, 0.0)
    detour = jnp.minimum(DETOUR * jnp.sum(blocked, axis=-1), gap_now)

    # Way still to go until a touch: zero for an agent that touches and will go on touching, and longer for one
    # that the prey is leaving behind or bouncing off.
    gap = 0.5 * gap_next + 0.5 * gap_close + detour + LEAVING * receding
    far = gap / (gap + GAP_SCALE)

    # Shadow: teammates that are nearer to the prey and on the same side of it. An agent that is itself
    # close enough to touch soon is not shadowed, since each toucher is paid in full.
    direction = rel / jnp.maximum(dist, TOUCH)[:, None]
    same_side = jnp.maximum(jnp.matmul(direction, direction.T), 0.0)
    nearer = jax.nn.sigmoid((gap[:, None] - gap[None, :]) / 0.2)
    others = 1.0 - jnp.eye(n)
    covered = jnp.sum(same_side * nearer * others, axis=-1) / max(n - 1, 1)

    # The logarithm does not level off at usual gaps of 0.5 to 1.5, as far does, and stays within a few units
    # (about 7 at the widest gaps); two agents that are both far away get like shares again.
    score = -POWER * jnp.log1p(gap / GAP_SCALE) - SHADOW * covered * far
    weights = SPREAD * jax.nn.softmax(score) + (1.0 - SPREAD) / n
    bias = jnp.array(0.0, dtype=jnp.float32)
    return weights, bias
