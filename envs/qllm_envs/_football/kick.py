"""Passes and shots by held direction (AI_GetPass, AI_GetShotDirection, GetBestPossibleTouch, GetShotVector)."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from qllm_envs._football.constants import (
    DRIBBLE,
    GOAL_HALF_WIDTH,
    HALF_LENGTH,
    HIGH_PASS,
    IDLE,
    IDLE_DRIBBLE_SWITCH,
    LONG_PASS,
    SHORT_PASS,
    SHOT,
    SPRINT,
    WALK,
)
from qllm_envs._football.state import Ball, angle_between, norm, share, table, turned, unit

# Steps from the step after the press to that of the touch, fitted: the ball leaves in the fifth step, or the fourth.
WINDUP = {SHORT_PASS: 3, LONG_PASS: 3, HIGH_PASS: 2, SHOT: 2}
RUNNING_HIGH = 3  # more of them for a high pass of a player who runs
KICK_TICK = 5  # of the step in which the foot meets the ball
FOLLOW = 0.4  # s after a kick in which the player neither has the ball nor can touch it
SHORT_EXPONENT, LONG_EXPONENT, HIGH_EXPONENT = 0.7, 0.65, 0.55  # of the strength of the press
SPEED_PER_POWER, SPEED_OFFSET = 36.0, 0.3  # m/s = 36 (power + 0.3) in humanoid.cpp; powers: AI_GetAutoPass
FOOT = 0.85  # m that the ball is played in front of the passer, fitted to speeds over 6 to 30 m
CAP, HIGH_CAP = 30.0, 42.0  # m/s, in GetBestPossibleTouch
STANDING_CAP = 0.84  # share of them for a passer who stands, fitted
SHOT_POWER, SHOT_SKILL, SHOT_STRENGTH = 45.0, 0.45, 0.55  # the last two: stats, means over profiles (playerdata.cpp)
VOLLEY = 0.3  # stat
SHOT_EASE = (1.18, 1.06)  # fitted to speeds of shots of players who stand and who walk
# A shot far from the way that its player runs goes astray towards that way, by `LAG` rad from `SIDE` rad on: fitted to
# the map of goals, where runners who turn by more than 38 degrees score none.
SIDE, LAG = 0.66, 0.6
IDEAL_ANGLE = 0.2 * jnp.pi  # between running and shooting


def windup_of(kick: Int[Array, " n"], speed: Float[Array, " n"]) -> Int[Array, " n"]:
    """Steps that each kind of kick takes from the command to the touch."""
    steps = jnp.array([0, WINDUP[SHORT_PASS], WINDUP[LONG_PASS], WINDUP[HIGH_PASS], WINDUP[SHOT]])[kick]
    return steps + RUNNING_HIGH * ((kick == HIGH_PASS) & (speed > DRIBBLE))


def pass_target(
    kick: Array, index: Array, pos: Float[Array, "n 2"], vel: Float[Array, "n 2"], aim: Array, strength: Array
) -> Float[Array, " 2"]:
    """Where a pass is played to, from the passer: the best teammate in the held direction, led as he runs.

    `pos` and `vel` are those of the passer's team, `index` is his among them.
    """
    me = pos[index] + unit(vel[index], jnp.zeros((2,))) * 0.2
    exponent = jnp.array([1.0, SHORT_EXPONENT, LONG_EXPONENT, HIGH_EXPONENT, 1.0])[kick]
    manual = me + aim * jnp.clip(jnp.clip(strength**exponent, 0.01, 1.0) * 60.0, 1.0, 100.0)
    duration = jnp.clip(0.3 + norm(pos - me[None]) * 0.05, 0.0, 1.0) ** 0.7 * 0.7
    spots = pos + vel * duration[:, None]
    distance = share(norm(spots - manual[None]), 0.0, 70.0) ** 0.8 * 0.8
    toward = unit(spots - me[None], aim)
    angle = jnp.abs(angle_between(jnp.broadcast_to(aim, toward.shape), toward)) / jnp.pi
    rating = jnp.where(jnp.arange(len(pos)) == index, jnp.inf, distance + angle)
    target = spots[jnp.argmin(rating)] - me
    ahead = jnp.where(kick == LONG_PASS, norm(target) * 0.2, 0.0)
    return target + jnp.stack([ahead, jnp.zeros(())])


def pass_ball(
    kick: Array, target: Float[Array, " 2"], ball: Ball, vel: Array, facing: Array, noise: Array
) -> tuple[Float[Array, " 3"], Float[Array, " 3"]]:
    """Velocity and spin of a pass to `target`, as seen from the passer. `noise` is an angle, its error."""
    length = jnp.maximum(norm(target) - FOOT, 0.0)
    far = share(length, 0.0, 60.0)
    high = kick == HIGH_PASS
    height = jnp.where(high, 0.45 - far * 0.15, 0.11)
    power = far**1.4 * jnp.where(high, 1.15, 1.8)
    speed = SPEED_PER_POWER * (power + SPEED_OFFSET)
    runs = STANDING_CAP + (1 - STANDING_CAP) * share(norm(vel), 0.0, WALK)
    speed = jnp.minimum(speed, jnp.where(high, HIGH_CAP, CAP) * runs + 0.5 * norm(ball.vel))
    flat = unit(target, facing)
    given = unit(jnp.concatenate([flat, height[None]]), jnp.array([1.0, 0.0, 0.0])) * speed
    bend = _bend(facing, given[:2]) * jnp.where(high, 0.2, 1.0)
    given = _curved(given, bend + noise)
    way = given / jnp.maximum(norm(given), 1e-6)
    forward = jnp.minimum(speed, 15.0) * jnp.where(high, -1.3, 3.5)
    return given, jnp.stack([-way[1] * forward, way[0] * forward, bend * -340.0])


def _bend(facing: Array, given: Array) -> Array:
    """Side spin from a kick across the body: a quarter of a radian at most."""
    angle = angle_between(facing, given) / jnp.pi
    folded = jnp.where(jnp.abs(angle) > 0.5, (1 - jnp.abs(angle)) * jnp.sign(angle), angle)
    return folded * 2.0 * 0.25


def _curved(given: Array, angle: Array) -> Array:
    amount = angle * (0.4 + 0.6 * share(norm(given), 0.0, 70.0))
    return jnp.concatenate([turned(given[:2], amount), given[2:]])


def shot_direction(pos: Array, vel: Array, aim: Array) -> Float[Array, " 2"]:
    """Direction of a shot: into the goal, on the side to which the held direction deviates from its middle."""
    me = pos + vel * 0.12
    middle = unit(jnp.array([HALF_LENGTH, 0.0]) - me, jnp.array([1.0, 0.0]))
    side = jnp.clip(angle_between(middle, aim) / jnp.pi / 0.5, -1.0, 1.0)
    side = jnp.abs(side) ** 0.7 * jnp.sign(side)
    return unit(jnp.stack([HALF_LENGTH + 0 * side, side * GOAL_HALF_WIDTH * 0.9]) - me, aim)


def shoot(
    aim: Float[Array, " 2"], strength: Array, ball: Ball, vel: Array, facing: Array, luck: Float[Array, " 7"]
) -> tuple[Float[Array, " 3"], Float[Array, " 3"]]:
    """Velocity and spin of a shot in the direction `aim`. `luck` is uniform in [0, 1)."""
    speed = norm(vel)
    way = jnp.where(speed > IDLE_DRIBBLE_SWITCH, unit(vel, facing), facing)
    side = angle_between(aim, way)
    lag = LAG * share(jnp.abs(side), SIDE - 0.05, SIDE + 0.05) * (speed > IDLE_DRIBBLE_SWITCH)
    aim = turned(aim, jnp.sign(side) * lag)
    off = lambda angle: jnp.abs(angle_between(way, turned(aim, angle)))
    straight = _s_curve(1 - jnp.minimum(off(-IDEAL_ANGLE), off(IDEAL_ANGLE)) / jnp.pi, 0.8) ** 0.8
    power = (0.7 + straight * 0.3) * (0.7 + share(speed, IDLE, SPRINT) ** 0.3 * 0.3)
    power = power * SHOT_POWER * (0.7 + jnp.clip(strength, 0.01, 1.0) ** (0.6 * 0.5) * 0.3)
    power = jnp.minimum(power, 32.0 + SHOT_STRENGTH * 13.0)
    moving = share(norm(vel - ball.vel[:2]), 0.0, 10.0)
    power = power * (1 + moving * 0.2)
    easy = (0.4 + straight * 0.6) * (0.7 + (1 - share(jnp.abs(speed - DRIBBLE), 0.0, 4.0)) * 0.3)
    easy = easy * (0.6 + (1 - moving * (0.5 - VOLLEY * 0.3)) * 0.4)
    easy = easy * (0.6 + _s_curve(1 - share(power, 30.0, 100.0), 1.0) * 0.4)
    hard = jnp.clip(1 - easy, 0.0, 1.0)
    best = _toward(aim, jnp.array(0.05)) * power
    worst_way = unit(way * hard * 0.8 + aim * (1 - hard * 0.8), aim)
    stray = (2 * luck[:3] - 1) * 0.5 * hard
    worst_way = jnp.concatenate([worst_way, jnp.zeros(1)]) + stray
    worst_way = worst_way / norm(worst_way)
    rise = worst_way[2] + _s_curve(hard**0.7, 0.7) * 0.7
    worst = _toward(worst_way[:2], rise) * power * (1 - hard**0.7 * 0.5)
    mixed = luck[3] ** (SHOT_SKILL * 0.7)
    ease = table(speed, (IDLE, WALK), SHOT_EASE)
    given = ease * (best * (1 - mixed) + worst * mixed)
    chance = 20.0 * (2 * luck[4:] - 1)
    bend = _bend(facing, given[:2])
    back = -20.0 * aim + chance[:2] * (0.3 + mixed * 0.7)
    return _curved(given, bend), jnp.stack([-back[1], back[0], bend * -420.0 + chance[2] * 0.7])


def _toward(flat: Array, height: Array) -> Array:
    direction = jnp.concatenate([flat, height[None]])
    return direction / norm(direction)


def _s_curve(value: Array, bias: float) -> Array:
    """The engine's `curve`: a share of an S in place of a straight line."""
    return (jnp.sin((value - 0.5) * jnp.pi) * 0.5 + 0.5) * bias + value * (1 - bias)
