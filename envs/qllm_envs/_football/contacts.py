"""Touches of the ball within a step: kicks that are due, dribbling, tackles and saves (humanoid.cpp of the engine)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from qllm_envs._football import ball as balls
from qllm_envs._football import keeper, kick, reach, touch
from qllm_envs._football.constants import DRIBBLE, LEFT, RIGHT, SHOT, SPRINT, WALK, Rules
from qllm_envs._football.state import RUNNING, Ball, State, norm, share

NEAR = 0.49  # m from a foot at which it meets the ball; fitted to the distance of the ball at a sprint
KICK_NEAR = 1.2  # m at which a kick that was begun still meets the ball
# Tackles, fitted to how often and how soon idle teams and the fixed policies of the parity program lose the ball.
TACKLE_NEAR = 0.46  # m from a defender's foot at which it meets the ball
TACKLE_CHANCE = 0.6  # that the defender has the ball after it; else he only knocks it away
TACKLE_MISS = 0.68  # chance that a player at full speed gets past a try
STANDING_MISS = 0.35  # that one who stands does
TACKLE_SPEED = 1.5  # m/s, below which a defender stands his ground and does not try
TACKLE_REST = 1.1  # s to the next try
PASS_GRIP, SHOT_GRIP = 0.9, 0.7  # shares of its spin that a kick sets (humanoid.cpp)
HEAD = 1.3  # m above which nobody but the goalkeeper reaches a ball
HANDS = 1.1  # m, height of a ball in the goalkeeper's hands
PASS_NOISE = 0.03  # rad, standard deviation of the direction of a pass; fitted


class Plan(NamedTuple):
    """Decisions of one step, and the chance in it."""

    want: Float[Array, "p 2"]
    aim: Float[Array, "n 2"]
    strength: Float[Array, " n"]
    threat: Bool[Array, ""]
    luck: Float[Array, "p 3"]  # uniform in [0, 1)
    stray: Float[Array, ""]  # standard normal, of the pass of this step, if there is one
    shot_luck: Float[Array, " 7"]  # uniform in [0, 1), of its shot


class Struck(NamedTuple):
    """A kick that is due in a step."""

    due: Bool[Array, ""]
    player: Int[Array, ""]
    vel: Float[Array, " 3"]  # of the ball after it
    spin: Float[Array, " 3"]
    grip: Float[Array, ""]  # share of the spin that the foot sets


def struck(rules: Rules, plan: Plan, state: State) -> Struck:
    """The kick that is due in this step, if there is one."""
    n = rules.n_left
    due = state.windup == 1
    i = jnp.argmax(due)
    kind, vel, facing = state.buttons.kick[i], state.vel[i], state.facing[i]
    target = kick.pass_target(kind, i, state.pos[:n], state.vel[:n], plan.aim[i], plan.strength[i])
    passed, pass_spin = kick.pass_ball(kind, target, state.ball, vel, facing, PASS_NOISE * plan.stray)
    shot, shot_spin = kick.shoot(state.aimed[i], plan.strength[i], state.ball, vel, facing, plan.shot_luck)
    shoots = kind == SHOT
    return Struck(
        due[i] & (kind > 0),
        i,
        jnp.where(shoots, shot, passed),
        jnp.where(shoots, shot_spin, pass_spin),
        jnp.where(shoots, SHOT_GRIP, PASS_GRIP),
    )


def kicked(rules: Rules, due: Struck, state: State, now: Bool[Array, ""]) -> State:
    """Play the kick that is due, if the ball is there."""
    i, p = due.player, jnp.arange(rules.n_players)
    foot = touch.reach_point(state.pos[i], state.vel[i], state.facing[i])
    near = (norm(state.ball.pos[:2] - foot) < KICK_NEAR) & (state.ball.pos[2] < HEAD)
    plays = now & due.due & near & (state.ended == RUNNING) & ~state.held_by_keeper
    ball = balls.struck(state.ball, due.vel, due.spin, due.grip)
    state = _touched(state, plays, ball, i, LEFT)
    mine = plays & (p == i)
    pads = state.buttons
    return state._replace(
        rest=jnp.where(mine, kick.FOLLOW, state.rest),
        kicking=jnp.where(mine, kick.FOLLOW, state.kicking),
        buttons=pads._replace(kick=jnp.where(mine[: rules.n_left], 0, pads.kick)),
    )


def controlled(rules: Rules, plan: Plan, state: State) -> State:
    """Let the nearest of the players who go for the ball touch it: to keep it, or to win it."""
    p, n = rules.n_players, rules.n_left
    index, right = jnp.arange(p), reach.right_team(rules)
    foot = touch.reach_point(state.pos, state.vel, state.facing)
    distance = norm(state.ball.pos[None, :2] - foot)
    tries = right & (state.owner_team == LEFT)
    near = (distance < jnp.where(tries, TACKLE_NEAR, NEAR)) & (~tries | (norm(state.vel) > TACKLE_SPEED))
    goes = (index == state.designated[LEFT]) | (index == state.designated[RIGHT])
    winding = jnp.concatenate([state.windup > 0, jnp.zeros((p - n,), bool)])
    ready = (state.rest <= 0) & ~winding & (state.kicking <= 0) & goes & near
    ready = ready & (state.ball.pos[2] < HEAD) & (index != n)
    i = jnp.argmin(jnp.where(ready, distance, jnp.inf))
    is_right = right[i]
    happens = ready[i] & (state.ended == RUNNING) & ~state.held_by_keeper
    want = jnp.where(is_right, plan.want[i], _held_velocity(plan, state, i, n))
    opponent = jnp.where(is_right, state.since_touch[LEFT], state.since_touch[RIGHT])
    mine = (state.ball, state.pos[i], state.vel[i], state.facing[i])
    trouble = touch.difficulty(*mine, opponent, plan.luck[i, 1])
    given, spin = touch.control(*mine, want, trouble)
    tackles = tries[i]
    loose = tackles & (plan.luck[i, 0] > TACKLE_CHANCE)
    given = jnp.where(loose, touch.tackle(state.ball, state.pos[i], given, plan.luck[i, 2]), given)
    ball = balls.struck(state.ball, given, spin, touch.GRIP)
    rest = jnp.where(tackles, TACKLE_REST, touch.rest_after(norm(state.vel[i])))
    runs = share(norm(state.vel[jnp.maximum(state.last_touch[LEFT], 0)]), 0.0, SPRINT)
    missed = tackles & (plan.luck[0, 2] < STANDING_MISS + (TACKLE_MISS - STANDING_MISS) * runs)
    state = _touched(state, happens & ~missed, ball, i, is_right.astype(jnp.int32))
    return state._replace(rest=jnp.where(happens & (index == i), rest, state.rest))


def saved(rules: Rules, plan: Plan, state: State) -> State:
    """Let the goalkeeper catch or parry a ball that his hands reach."""
    n = rules.n_left
    vel = state.vel[n]
    can = (state.rest[n] <= 0) & (state.ended == RUNNING) & ~state.held_by_keeper
    reached = can & keeper.reaches(rules, state.ball, state.pos, state.dive, plan.luck[n, 1])
    holds = reached & keeper.holds(state.ball, vel, state.since_touch[LEFT])
    away = keeper.parried(state.ball, vel, plan.luck[n, 0])
    hands = jnp.concatenate([state.pos[n] + state.facing[n] * 0.3, jnp.array([HANDS])])
    ball = Ball(
        jnp.where(holds, hands, state.ball.pos),
        jnp.where(holds, 0.0, away),
        state.ball.spin * jnp.where(holds, 0.0, 0.8),
    )
    state = _touched(state, reached, ball, jnp.int32(n), RIGHT)
    rest = jnp.where(reached & (jnp.arange(rules.n_players) == n), 0.4, state.rest)
    return state._replace(held_by_keeper=state.held_by_keeper | holds, rest=rest)


def _held_velocity(plan: Plan, state: State, i: Array, n: int) -> Array:
    """Velocity that agent i holds."""
    j = jnp.minimum(i, n - 1)
    pads = state.buttons
    still = pads.held[j] == 0
    speed = jnp.where(pads.sprint[j], SPRINT, jnp.where(pads.dribble[j], DRIBBLE, WALK))
    return plan.aim[j] * jnp.where(still, 0.0, speed)


def _touched(state: State, happens: Array, ball: Ball, player: Array, team: int | Array) -> State:
    """The state after `player` touched the ball, if that happens."""
    keep = lambda new, old: jnp.where(happens, new, old)
    mine = jnp.arange(2) == team
    return state._replace(
        ball=jax.tree.map(keep, ball, state.ball),
        last_touch_team=keep(jnp.int32(team), state.last_touch_team),
        last_touch=keep(jnp.where(mine, player, state.last_touch), state.last_touch).astype(jnp.int32),
        since_touch=keep(jnp.where(mine, 0.0, state.since_touch), state.since_touch),
    )
