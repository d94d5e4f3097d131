"""Running of players: speed, turning and collisions.

The engine plays one of 293 recorded strides after the other. In place of these are limits on acceleration, braking and
turning, with a delay of nearly a step between what is wanted and what the legs do. The tables are fitted to speeds
measured on the engine: from rest, stopping at full speed, and turns by 45, 90 and 180 degrees.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from qllm_envs._football.constants import HALF_LENGTH, HALF_WIDTH, TICK
from qllm_envs._football.state import angle_between, norm, table, turned, unit

DELAY = 6  # ticks of a step in which legs still do what was wanted in the step before
# Speeds from rest at sprint, m/s after each step: 0.6 2.1 3.1 3.9 4.6 5.1 5.5 6.0 6.4 6.8 7.0 7.2 7.4 7.5 7.6 7.7 7.8.
SPEEDS = (0.0, 0.6, 1.4, 2.1, 3.1, 3.9, 4.6, 5.1, 6.0, 6.4, 6.8, 7.2, 7.5, 7.8)
ACCELERATION = (15.0, 16.0, 15.0, 11.0, 8.5, 7.5, 5.5, 4.6, 4.4, 4.0, 2.5, 2.0, 1.0, 0.5)
# Speeds of a player who stops at 7.8 m/s: 7.7 6.9 4.9 2.3 0.2 0.
BRAKING_SPEEDS = (0.0, 1.0, 2.3, 3.5, 4.9, 6.0, 6.9, 7.3, 7.7)
BRAKING = (16.0, 20.0, 23.0, 27.0, 26.0, 23.0, 17.0, 11.0, 6.5)
# Share of the wanted speed that a turn still to go leaves, by its angle: slowest at 6.3 m/s in a turn by 45 degrees, at
# 3.6 m/s by 90, at 1.2 m/s by 180.
TURNS = tuple(math.radians(degrees) for degrees in (0.0, 20.0, 45.0, 60.0, 90.0, 180.0))
LEFT_SPEED = (1.0, 0.95, 0.75, 0.38, 0.28, 0.0)
EASY = 2.5  # m/s up to which a player turns by up to 90 degrees without slowing down; fitted to turns by 180
SIDEWAYS = 14.0  # m/s^2 across the direction of running
TURNED_BY = tuple(
    math.radians(degrees) for degrees in (45.0, 90.0, 120.0)
)  # a sharp turn waits until the player has slowed down:
TURN_SHARE = (1.0, 0.75, 0.15)  # share of that acceleration by the angle still to go
SLOW = 2.0  # m/s below which it does not wait
SPIN_SPEED = 9.0  # rad/s of a player who stands
BODY = 0.7  # m between centers of two players in contact, from the engine's collisions of bodies
MARGIN = 3.0  # m that players can leave the pitch by


def run(
    vel: Float[Array, "p 2"], facing: Float[Array, "p 2"], want: Float[Array, "p 2"]
) -> tuple[Float[Array, "p 2"], Float[Array, "p 2"]]:
    """Velocity and direction after a tick, of players who want the velocity `want`."""
    speed, wanted = norm(vel), norm(want)
    angle = angle_between(facing, unit(want, facing))
    easy = EASY * jnp.minimum(2.0 - jnp.abs(angle) / (0.5 * jnp.pi), 1.0)
    target = jnp.maximum(wanted * table(jnp.abs(angle), TURNS, LEFT_SPEED), jnp.minimum(wanted, easy))
    faster = jnp.minimum(target, speed + TICK * table(speed, SPEEDS, ACCELERATION))
    slower = jnp.maximum(target, speed - TICK * table(speed, BRAKING_SPEEDS, BRAKING))
    speed = jnp.where(target > speed, faster, slower)
    sharp = jnp.where(speed > SLOW, table(jnp.abs(angle), TURNED_BY, TURN_SHARE), 1.0)
    most = jnp.minimum(SPIN_SPEED, SIDEWAYS * sharp / jnp.maximum(speed, 0.5)) * TICK
    facing = unit(turned(facing, jnp.clip(angle, -most, most)), facing)
    return facing * speed[:, None], facing


def kept_apart(pos: Float[Array, "p 2"]) -> Float[Array, "p 2"]:
    """Positions after players in contact have pushed each other away, and all are kept near the pitch."""
    x, y = pos[:, 0], pos[:, 1]  # apart, as an axis of 2 would be the innermost of all pairs
    apart_x, apart_y = x[:, None] - x[None], y[:, None] - y[None]
    distance = jnp.sqrt(jnp.maximum(jnp.square(apart_x) + jnp.square(apart_y), 1e-12))
    share = 0.5 * jnp.maximum(BODY - distance, 0.0) / distance
    pushed = jnp.stack([(apart_x * share).sum(1), (apart_y * share).sum(1)], -1)
    bound = jnp.broadcast_to(jnp.array([HALF_LENGTH, HALF_WIDTH]) + MARGIN, pos.shape)
    return jnp.clip(pos + pushed, -bound, bound)
