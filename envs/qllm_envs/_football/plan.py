"""Decisions of a step: what all players want, and kicks that begin (humancontroller.cpp, playercontroller.cpp)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from qllm_envs._football import ball as balls
from qllm_envs._football import buttons, control, defenders, keeper, kick, reach, teams, touch
from qllm_envs._football.constants import (
    DISTANCE_TO_SPEED,
    DRIBBLE,
    LEFT,
    RIGHT,
    SPRINT,
    STEP,
    TOUCH_OFFSET,
    WALK,
    Rules,
)
from qllm_envs._football.contacts import HEAD, KICK_NEAR, Plan
from qllm_envs._football.state import State, norm, share, table, unit

CONTROL_TIME = 0.25 + TOUCH_OFFSET  # s ahead at which a dribbler looks for the ball (AI_GetBallControlMovement)
HASTE = 1.1  # possession below which a player hurries to the ball (_MovementCommand)
AT_REST = 0.45  # m within which a player who holds no direction lets the ball lie
GAIN = 0.9  # m/s that a dribbler wants to gain in a step at most; fitted to speeds from rest with the ball
WITH_BALL = (0.0, 4.0, 5.0, 7.6)  # m/s, measured with nothing, dribble, no button and sprint held


def decided(
    rules: Rules, key: jax.Array, state: State, actions: Array, positions: Array, times: Array, has: Array, grown: Array
) -> tuple[State, Plan]:
    """Press the buttons, begin kicks, and say what all players want and what chance holds. The key is consumed."""
    n = rules.n_left
    luck = jax.random.uniform(key, (rules.n_players * 3 + 8,))
    amount = reach.possession(rules, state.time_to_ball)
    pads = buttons.press(state.buttons, actions, amount[:n], jnp.arange(n) == state.on_ball)
    pads = buttons.drop(pads, grown)
    aim, _ = buttons.wanted(pads, state.pos[:n], state.facing[:n])
    windup = _begun(rules, state, pads, positions)
    shots = jax.vmap(kick.shot_direction)(state.pos[:n], state.vel[:n], aim)
    aimed = jnp.where((windup > state.windup)[:, None], shots, state.aimed)
    state = state._replace(buttons=pads, windup=windup, aimed=aimed)
    danger = keeper.threat(positions, state.pos[n])
    own = _agents_want(rules, state, positions, times, has, amount)
    goes = (jnp.arange(rules.n_players) == state.on_ball) & reach.right_team(rules) & ~state.held_by_keeper
    if state.control is None:
        theirs = defenders.run_for(rules, state, positions)
    else:
        free = ~control.controlled(rules, state.control)
        own = jnp.where(free[:, None], teams.run_for(rules, state, positions, LEFT), own)
        theirs = teams.run_for(rules, state, positions, RIGHT)[1:]
        goes = goes | (
            (jnp.arange(rules.n_players) == state.on_ball) & jnp.append(free, jnp.zeros(rules.n_right, bool))
        )
    guard = keeper.run_for(rules, state, positions, state.time_to_ball, danger)
    want = jnp.concatenate([own, guard[None], theirs])
    way, speed = reach.intercept(positions, state.pos[state.on_ball], state.time_to_ball[state.on_ball])
    want = jnp.where(goes[:, None], unit(way, jnp.zeros((2,))) * speed, want)
    stray = jax.scipy.special.ndtri(jnp.clip(luck[0], 1e-4, 1 - 1e-4))
    of_players = luck[8:].reshape(rules.n_players, 3)
    return state, Plan(want, aim, buttons.power(pads), danger.coming, of_players, stray, luck[1:8])


def _begun(rules: Rules, state: State, pads: buttons.Buttons, positions: Array) -> Int[Array, " n"]:
    """Wind-ups of all agents, of which 1 ends now: a released kick begins when the ball will be there at its end."""
    n = rules.n_left
    steps = kick.windup_of(pads.kick, norm(state.vel[:n]))
    needs = STEP * steps
    spot = touch.reach_point(state.pos[:n] + state.vel[:n] * needs[:, None], state.vel[:n], state.facing[:n])
    there = balls.at_time(positions, needs)
    meets = (norm(there[:, :2] - spot) < KICK_NEAR) & (there[:, 2] < HEAD)
    starts = buttons.released(pads) & meets & (state.windup == 0) & (state.kicking[:n] <= 0)
    return jnp.where(starts, steps + 1, state.windup).astype(jnp.int32)


def _agents_want(
    rules: Rules, state: State, positions: Array, times: Array, has: Array, amount: Array
) -> Float[Array, "n 2"]:
    """Velocities of the agents: what they hold, but for the one at the ball, who is led to it (_MovementCommand)."""
    n = rules.n_left
    pos, facing, pads = state.pos[:n], state.facing[:n], state.buttons
    direction, speed = buttons.wanted(pads, pos, facing)
    manual = direction * speed[:, None]
    waits = pads.kick > 0  # a player who is to kick goes for the ball
    calm = ~waits & (amount[:n] >= HASTE)
    each = (pos, state.time_to_ball[:n], manual, calm)
    way, fast = jax.vmap(reach.meet, (None, None, 0, 0, 0, 0))(positions, times, *each)
    to_ball = unit(way, jnp.zeros((2,))) * fast[:, None]
    ahead = balls.at_time(positions, jnp.array(CONTROL_TIME))[None, :2] - pos
    follow = norm(ahead) * DISTANCE_TO_SPEED
    follow = jnp.where(
        speed > 0, jnp.minimum(jnp.clip(follow, 0.3 * speed, _with_ball(speed)), norm(state.vel[:n]) + GAIN), follow
    )
    follow = jnp.where((speed <= 0) & (norm(ahead) < AT_REST), 0.0, follow)
    close = share(norm(ahead), 0.2, 0.4)[:, None] ** 0.5
    dribble = unit(unit(ahead, facing) * close + facing * (1 - close), facing) * follow[:, None]
    led = jnp.where((has[:n] & (amount[:n] >= 1))[:, None], dribble, to_ball)
    at_ball = (jnp.arange(n) == state.on_ball) | (waits & (amount[:n] > 0.5))
    want = jnp.where(at_ball[:, None], led, manual)
    # The step of a kick slows its player down: more the farther he faces from where he wants to go.
    # Of two opposite directions the rounded product may be below -1, and a power of it not a number.
    turn = jnp.maximum((facing * direction).sum(-1) * 0.5 + 0.5, 0.0) ** 1.5 * 0.8 + 0.2
    damped = state.vel[:n] * (0.9 * turn)[:, None]
    return jnp.where((state.windup == 1)[:, None], damped, want)


def _with_ball(speed: Array) -> Array:
    """Top speed of a dribbler who wants `speed`: a little more than slow, a little less than a sprint."""
    return table(speed, (0.0, DRIBBLE, WALK, SPRINT), WITH_BALL)
