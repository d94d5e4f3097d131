"""Goals, the ball out of play, ends of episodes and rewards (match.cpp; gfootball's wrappers)."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from qllm_envs._football.constants import (
    BALL_RADIUS,
    GOAL_HALF_WIDTH,
    GOAL_HEIGHT,
    HALF_LENGTH,
    HALF_WIDTH,
    LINE,
    SEEN_SCALE,
)
from qllm_envs._football.state import CONCEDED, GOAL, LOST, OUT, RUNNING, Ball, State

# gfootball/env/wrappers.py: CheckpointRewardWrapper.
N_CHECKPOINTS, CHECKPOINT_REWARD = 10, 0.1
FIRST_CHECKPOINT, CHECKPOINT_STEP = 0.99, 0.8 / (N_CHECKPOINTS - 1)  # distances to the goal, in units of observations
END_LINE, SIDE_LINE = HALF_LENGTH + LINE + BALL_RADIUS, HALF_WIDTH + LINE + BALL_RADIUS


def whistle(ball: Ball, ended: Int[Array, ""]) -> Int[Array, ""]:
    """Return `State.ended` after a tick: a goal, or the ball over a line with all of it."""
    x, y, z = ball.pos
    over = jnp.abs(x) > END_LINE
    in_goal = over & (jnp.abs(y) < GOAL_HALF_WIDTH) & (z < GOAL_HEIGHT)
    out = over | (jnp.abs(y) > SIDE_LINE)
    now = jnp.where(in_goal, jnp.where(x > 0, GOAL, CONCEDED), jnp.where(out, OUT, RUNNING))
    return jnp.where(ended == RUNNING, now, ended).astype(jnp.int32)


def judged(state: State) -> State:
    """The state with the end that a change of possession makes. Nobody's ball in between does not matter."""
    before, now = state.last_owner_team, state.owner_team
    lost = (before >= 0) & (now >= 0) & (before != now) & (state.ended == RUNNING)
    return state._replace(
        ended=jnp.where(lost, LOST, state.ended).astype(jnp.int32),
        last_owner_team=jnp.where(now >= 0, now, before),
    )


def rewarded(state: State) -> tuple[State, Float[Array, ""]]:
    """The state with the checkpoints collected in this step, and the reward summed over agents.

    A goal pays each agent 1 and all checkpoints that it has not collected. Else the agent that owns the ball collects
    those that the ball has passed.
    """
    seen = state.ball.pos[:2] * jnp.asarray(SEEN_SCALE)
    distance = jnp.sqrt(jnp.square(seen - jnp.array([1.0, 0.0])).sum())
    passed = jnp.floor((FIRST_CHECKPOINT - distance) / CHECKPOINT_STEP).astype(jnp.int32) + 1
    player = jnp.arange(len(state.checkpoints)) if state.control is None else state.control.player
    owns = (player == state.owner) & (state.owner_team == 0)
    collected = jnp.where(owns, jnp.clip(passed, 0, N_CHECKPOINTS), 0)
    goal = state.ended == GOAL
    after = jnp.where(goal, N_CHECKPOINTS, jnp.maximum(state.checkpoints, collected))
    gained = (after - state.checkpoints).sum() * CHECKPOINT_REWARD
    score = len(state.checkpoints) * (goal.astype(jnp.float32) - (state.ended == CONCEDED))
    return state._replace(checkpoints=after), gained + score
