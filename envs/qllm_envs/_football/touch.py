"""Touches of a player who keeps the ball: dribbling, trapping, and tackles (humanoid_utils.cpp of the engine).

The ball is never glued to a foot. A touch sends it to where the player will want it next, so that others can get in
between.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from qllm_envs._football.constants import IDLE, IDLE_DRIBBLE_SWITCH, SPRINT, TOUCH_OFFSET, WALK
from qllm_envs._football.state import Ball, norm, share, unit

BALL_CONTROL, DRIBBLING, REACTION = (
    0.45,
    0.4,
    0.5,
)  # stats, means over profiles (playerdata.cpp)
# Fitted to recorded runs with the ball: how far it is from a player who walks, dribbles or sprints, 0.5 to 1 m.
STRIDE = 0.38  # s of a stride that is left after its touch
OVERDRIVE = 1.0  # m/s by which the ball may be played ahead of the player's own speed
AHEAD, FRONT = 0.29, 0.28  # s of a run, and m, by which the ball is played ahead of the next stride's start
REST, SPRINT_REST = 0.1, 0.28  # s between two touches of one who stands, and what a sprint adds
LATE = 2.8  # how hard a ball is that an opponent touched a moment ago; the engine's 5 sends too many into the air
HANDS_SPEED = 10.0  # m/s above which a ball is harder to control
GRIP = 0.6  # share of its spin that a touch sets


def reach_point(pos: Array, vel: Array, facing: Array) -> Array:
    """Where the foot of each player is."""
    return pos + facing * (0.2 + 0.03 * norm(vel))[..., None]


def rest_after(speed: Array) -> Array:
    """Seconds between two touches of a player at a speed."""
    return REST + SPRINT_REST * share(speed, IDLE, SPRINT) ** 2


def difficulty(
    ball: Ball, pos: Array, vel: Array, facing: Array, since_opponent: Array, luck: Array
) -> tuple[Array, Array, Array]:
    """Distance and height of the bounce of a touched ball, and the share of its velocity that it keeps: 0 to 1 each."""
    relative = norm(ball.vel[:2] - vel)
    fast = share(relative, HANDS_SPEED, 50.0) ** 1.5 * 5.0
    far = share(norm(pos + facing * 0.2 - ball.pos[:2]), 0.7, 1.3) ** 2 * 2.0
    # A ball that an opponent touched a moment ago is hard to read.
    late = (1.0 - share(since_opponent, 0.0, 1.0 - REACTION * 0.5)) ** 0.6 * LATE
    skill = (1.0 - BALL_CONTROL * 0.5) * (0.5 + 0.5 * luck)
    distance = jnp.clip((fast + far * 4.0 + late) * skill, 0.0, 1.0)
    height = jnp.clip((fast * 2.0 + far + late) * skill, 0.0, 1.0)
    return distance, height, jnp.clip(jnp.clip(late * 0.1, 0.0, 0.9) * skill, 0.0, 1.0)


def control(
    ball: Ball, pos: Array, vel: Array, facing: Array, want: Array, trouble: tuple[Array, Array, Array]
) -> tuple[Float[Array, " 3"], Float[Array, " 3"]]:
    """Velocity and spin that a player gives the ball to keep it on his way, who wants the velocity `want`."""
    distance, height, kept = trouble
    speed, wanted = norm(vel), norm(want)
    way = jnp.where(wanted > IDLE_DRIBBLE_SWITCH, unit(want, facing), facing)
    pushed = jnp.clip(wanted, speed, speed + OVERDRIVE * (wanted > IDLE_DRIBBLE_SWITCH))
    pushed = jnp.where(wanted > IDLE_DRIBBLE_SWITCH, pushed, 0.0)
    front = FRONT + TOUCH_OFFSET * pushed + distance
    next_start = pos + 0.5 * (vel + way * pushed) * STRIDE
    planned = next_start + way * (pushed * AHEAD + front)
    to_planned = planned - ball.pos[:2]
    time = STRIDE + AHEAD + TOUCH_OFFSET
    power = (norm(to_planned) / (time * (0.38 + 0.02 * DRIBBLING) * 1.1)) ** 0.7
    fast = share(pushed, WALK, SPRINT - 0.8)
    power = power * (1 + (0.2 - 0.03 * BALL_CONTROL) * fast)
    lift = jnp.clip(0.1 + 1.5 * (power / 10.0) ** 1.6, 0.0, 1.5)
    direction = unit(to_planned, way)
    lift = lift + height * (ball.vel[2] + 4.0)
    aimed = jnp.concatenate([direction * power, lift[None]])
    given = aimed * (1 - kept) + ball.vel * kept
    return given, _roll(unit(way * 0.6 + direction * 0.4, way), norm(aimed))


def _roll(way: Array, speed: Array) -> Array:
    """Spin of a ball that is rolled with some backspin."""
    turn = 2 * jnp.pi * speed - 30.0 * share(speed, 0.0, 10.0) ** 0.7
    return jnp.stack([-way[1] * turn, way[0] * turn, jnp.zeros(())])


def tackle(ball: Ball, pos: Array, given: Array, luck: Array) -> Float[Array, " 3"]:
    """Velocity of a ball that an opponent gets a foot to: half controlled, half away from him."""
    away = unit(ball.pos[:2] - pos, jnp.array([1.0, 0.0]))
    return given * 0.5 + jnp.concatenate([away * 4.0, (0.5 + luck)[None]])
