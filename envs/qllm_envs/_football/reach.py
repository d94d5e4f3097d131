"""Time that players need to the ball, and possession (AIfunctions.cpp, player.cpp and team.cpp of the engine)."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from qllm_envs._football import control
from qllm_envs._football.ball import PREDICTED_STEP, at_time
from qllm_envs._football.constants import DISTANCE_TO_SPEED, LEFT, RIGHT, SPRINT, TOUCH_OFFSET, Rules
from qllm_envs._football.state import Ball, State, norm, share

# All from the engine's AIfunctions.cpp and player.cpp, but for MAX_SPEED, a mean over its eleven profiles of players.
CHANGE = 0.7  # s after which a player has left his old velocity and has the new one
LEG = 0.28  # m, reach without a step
USABLE = 0.94  # share of the top speed that is counted with
TOO_HIGH = 1.5  # m
FAR_SPEED = 0.75  # share of the top speed over a distance that is not looked at closely
MAX_SPEED = (7.8, 7.6)  # m/s: measured on the left team; the right one plays at difficulty 0.6, which weighs its stats
POSSESSION_RADIUS, POSSESSION_SPEED, POSSESSION_HEIGHT = 1.0, 6.0, 0.5
SWITCH_TEAM, SWITCH_BALL = 0.8, 0.85  # how much sooner another player has to be there to be designated


def max_speed(rules: Rules) -> Float[Array, " p"]:
    """(P,) top speeds."""
    return jnp.array([MAX_SPEED[LEFT]] * rules.n_left + [MAX_SPEED[RIGHT]] * rules.n_right)


def right_team(rules: Rules) -> Bool[Array, " p"]:
    return jnp.arange(rules.n_players) >= rules.n_left


def time_to_ball(
    state: State, positions: Float[Array, "k 3"], times: Float[Array, " k"], speed: Float[Array, " p"]
) -> Float[Array, " p"]:
    """Seconds until each player can be where the ball then is.

    A player drifts on with his velocity, which fades in `CHANGE` s, and reaches a circle that grows with his new one.
    """
    early = jnp.minimum(times, CHANGE)
    drift = early - early**2 / (2 * CHANGE)  # (K,)
    grown = early**2 / (2 * CHANGE) + jnp.maximum(times - CHANGE, 0.0)
    center = state.pos[:, None] + state.vel[:, None] * drift[None, :, None]
    margin = LEG + USABLE * speed[:, None] * grown[None] - norm(positions[None, :, :2] - center)  # (P, K)
    reached = (margin >= 0) & (positions[None, :, 2] < TOO_HIGH)
    first = jnp.argmax(reached, 1)
    here = jnp.take_along_axis(margin, first[:, None], 1)[:, 0]
    before = jnp.take_along_axis(margin, jnp.maximum(first - 1, 0)[:, None], 1)[:, 0]
    part = jnp.where((first > 0) & (before < 0), -before / jnp.maximum(here - before, 1e-6), 1.0)
    exact = times[first] - PREDICTED_STEP * (1 - part)
    # Next to the ball the distance itself is taken for a time, so that players can be compared.
    soon = share(norm(state.pos + state.vel * TOUCH_OFFSET - positions[:1, :2]), 0.0, 0.6) * TOUCH_OFFSET
    far = jnp.maximum(times[-1], norm(positions[-1:, :2] - state.pos) / (speed * FAR_SPEED))
    time = jnp.where(first == 0, soon, exact)
    return jnp.where(reached.any(1), jnp.maximum(time, 0.0), far)


def has_ball(ball: Ball, pos: Array, vel: Array, facing: Array, kicking: Array) -> Bool[Array, " p"]:
    """True for players with the ball at their feet: near, low and about as fast as they are."""
    center = pos + vel * 0.05 + facing * 0.1
    near = norm(ball.pos[None, :2] - center) < POSSESSION_RADIUS
    slow = norm(ball.vel[None] - jnp.concatenate([vel, jnp.zeros_like(vel[:, :1])], 1)) < POSSESSION_SPEED
    return near & slow & (ball.pos[2] < POSSESSION_HEIGHT) & (kicking <= 0)


def designate(
    rules: Rules, state: State, time: Float[Array, " p"], has: Bool[Array, " p"]
) -> tuple[Int[Array, " 2"], Int[Array, ""]]:
    """The player of each team that is to go for the ball, and the one of both teams. Each is kept unless slower."""
    chosen = []
    for team, (start, stop) in enumerate(((0, rules.n_left), (rules.n_left, rules.n_players))):
        best, now = start + jnp.argmin(time[start:stop]), state.designated[team]
        rating = (time[best] + 0.5) / (time[now] + 0.5)
        rating = rating * jnp.where(has[best], 0.5, 1.0) * jnp.where(has[now], 2.0, 1.0)
        if state.control is not None and team == LEFT:
            rating = control.weighed(rules, state.control, rating, time, best, now)
        chosen.append(jnp.where(rating < SWITCH_TEAM, best, now))
    best_team = (time[rules.n_left :].min() < time[: rules.n_left].min()).astype(jnp.int32)
    designated = jnp.stack(chosen).astype(jnp.int32)
    best, now = designated[best_team], state.on_ball
    rating = (time[best] + 0.01) / (time[now] + 0.01)
    same_team = (now >= rules.n_left) == (best >= rules.n_left)
    return designated, jnp.where(same_team | (rating < SWITCH_BALL), best, now).astype(jnp.int32)


def possession(rules: Rules, time: Float[Array, " p"]) -> Float[Array, " p"]:
    """Ratio of the first opponent's time to the ball to each player's: above 1 if sooner (playercontroller.cpp)."""
    left, right = time[: rules.n_left].min(), time[rules.n_left :].min()
    opponent = jnp.where(right_team(rules), left, right)
    return (opponent + 0.2) / (time + 0.2)


def fade(rules: Rules, fading: Float[Array, " 2"], time: Float[Array, " p"], held: Array) -> Float[Array, " 2"]:
    """Possession of each team after one step: smoothed with a time constant of 2 s (team.cpp)."""
    left, right = time[: rules.n_left].min() + 1.5, time[rules.n_left :].min() + 1.5
    now = jnp.clip(jnp.stack([right / left, left / right]), 0.5, 1.5)
    faded = fading + (now - fading) * (1 - 0.995**10)
    return jnp.where(held, jnp.array([0.5, 1.5]), faded)


def intercept(positions: Float[Array, "k 3"], pos: Array, time: Array, top: float = SPRINT) -> tuple[Array, Array]:
    """Direction and speed of the straightest way to the ball for a player who needs `time` s to it."""
    target = at_time(positions, jnp.maximum(time, 0.04))[:2]
    distance = norm(target - pos)
    return target - pos, jnp.minimum(top, jnp.maximum(distance * DISTANCE_TO_SPEED, distance / jnp.maximum(time, 0.1)))


def meet(
    positions: Float[Array, "k 3"], times: Float[Array, " k"], pos: Array, time: Array, manual: Array, calm: Array
) -> tuple[Array, Array]:
    """Way and speed to the ball of an agent who needs `time` s to it (AI_GetToBallMovement).

    One who is `calm` meets it where that is most like the velocity `manual` that the agent wants, so one who stands
    waits for the ball; any other as soon as possible.
    """
    x, y = positions[:, 0] - pos[0], positions[:, 1] - pos[1]  # apart, as an axis of 2 would be the innermost
    distance = jnp.sqrt(jnp.maximum(jnp.square(x) + jnp.square(y), 1e-12))
    soonest = jnp.maximum(time, 0.04)
    late = times - soonest
    pace = jnp.where(distance > 2e-6, jnp.minimum(distance * DISTANCE_TO_SPEED, SPRINT) / distance, 0.0)
    off = jnp.square(x * pace - manual[0]) + jnp.square(y * pace - manual[1])
    unlike = jnp.sqrt(jnp.maximum(off, 1e-12)) + 0.02 * jnp.abs(late)
    # Not much later than possible, not when it has passed by, and not while it is high.
    along_x, along_y = jnp.diff(positions[:, 0]), jnp.diff(positions[:, 1])
    passed = jnp.concatenate([x[:-1] * along_x + y[:-1] * along_y > 0, jnp.ones((1,), bool)])
    fits = (late >= 0) & (times < soonest / 0.35) & (positions[:, 2] < 1.0) & ~passed
    best = jnp.argmin(jnp.where(fits, unlike, jnp.inf))
    when = jnp.where(calm & fits.any(), times[best], soonest)
    way, speed = intercept(positions, pos, soonest)
    target = at_time(positions, when)[:2] - pos
    length = norm(target)
    slow = jnp.minimum(length * DISTANCE_TO_SPEED, 1.2 * length / jnp.maximum(when - 0.1, 0.1))
    waits = calm & (when > soonest + 0.05)
    return jnp.where(waits, target, way), jnp.where(waits, slow, speed)
