# A credit function (TFCAF) for football_lite, written by a language model.
# Model: Claude
# Date: 2026-11-27, round_1_candidate_2_try_0 of qllm_jax.generate.
# Prompts: sha256 798a0e1ef631620b239d1c982abe5c1df04125b3718733b08b300fecbee8976c.
# Chosen by the evaluator: It separates the two ways in which an agent brings about a goal: playing the ball now, also
#   when a free ball will only reach the agent within the next second, and standing where the attack can go on, near
#   the goal, within a pass and clear of the defender. Each has a fixed part of the credit, so no term drowns the
#   other, and an agent out of play such as the goalkeeper keeps a small weight in every state.
# IGM on: All agents share one reward and none gains from another's loss, so nothing calls for a negative weight.

import jax
import jax.numpy as jnp

IGM = True


def length(d):
    return jnp.sqrt(jnp.maximum(jnp.sum(d * d, axis=-1), 1e-12))


def credit(state):
    """Half of the credit goes to the agent that plays the ball now or will be first at it, whose action moves the ball. A
    third goes to those who can take the attack on: near the goal, within a pass, and clear of the opponents' field
    players. The rest is shared evenly, so that agents out of play, such as the goalkeeper, still learn a little."""
    pos = state["agent_pos"]
    vel = state["agent_vel"]
    ball = state["ball_pos"][:2]
    ball_vel = state["ball_vel"][:2]
    has = state["agent_has_ball"] * 1.0
    n = pos.shape[0]

    # Who plays the ball: the owner; if nobody owns it, who is nearest to some point of its way in the next second.
    near = length(pos - ball[None, :])
    for step in range(1, 5):
        t = 0.25 * step
        near = jnp.minimum(near, length(pos + t * vel - ball[None, :] - 0.8 * t * ball_vel[None, :]) + 1.0 * t)
    closest = jnp.min(near)
    # Players run about 5 m in a second; a meter matters at the ball, several where all are far from it.
    handler = jax.nn.softmax(3.0 * has - (near - closest) / (1.5 + 0.2 * jnp.minimum(closest, 20.0)))

    # Who can take the attack on. A shot can be stopped the more easily the farther the way, so the goal's distance counts
    # in the order of 15 m; a pass of up to about 30 m arrives; an opponent nearer than about 5 m can get in between.
    to_goal = jnp.exp(-jnp.minimum(state["agent_goal_distance"], 100.0) / 15.0)
    in_reach = jnp.exp(-jnp.minimum(state["agent_ball_distance"], 150.0) / 30.0)
    between = length(pos[:, None, :] - state["opponent_pos"][None, :, :])  # (n, m)
    is_field = jnp.where(state["opponent_role"] > 0.5, 1.0, 0.0)
    pressed = jnp.sum(is_field[None, :] * jnp.exp(-between / 5.0), axis=1)
    worth = to_goal * in_reach / (1.0 + pressed)  # 0 to 1
    support = (worth + 0.01) / jnp.maximum(jnp.sum(worth + 0.01), 0.02)

    weights = 0.5 * handler + 0.33 * support + 0.17 / n
    return weights, 0.0 * closest
