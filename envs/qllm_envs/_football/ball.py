"""The flight of the ball: gravity, drag, bounce, grass, spin, posts (ball.cpp of the engine).

The engine keeps spin as a quaternion of a turn in a millisecond; turns are so small that a vector serves.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from qllm_envs._football.constants import BALL_RADIUS, GOAL_HALF_WIDTH, GOAL_HEIGHT, HALF_LENGTH, POST_RADIUS, TICK
from qllm_envs._football.state import Ball, norm, share, unit

# All from ball.cpp.
GRAVITY = 9.81
DRAG = 0.015
BOUNCE, LINEAR_BOUNCE = 0.62, 0.06
FRICTION, LINEAR_FRICTION = 0.04, 1.6
GRASS = 0.025  # height of the grass, m
SPIN_GRIP, BOUNCE_SPIN = jnp.pi, 4 * jnp.pi  # largest change of spin on the grass in a tick, and more of it in a bounce
ROLL_GRIP, BOUNCE_GRIP = 0.01, 0.5  # share of the velocity that spin sets in a tick, and in a bounce
MAGNUS, MAGNUS_SPEED, MAGNUS_PHASE, MAGNUS_POWER = 30.0, 70.0, 0.94, 2.6
MAGNUS_SPIN = 0.01  # the engine's unit of spin for this force, rad in 10 ms
POST_LIVELINESS, POST_NORMAL = 0.8, 1.1
CONTACT = BALL_RADIUS + POST_RADIUS

PREDICTED_STEP, N_PREDICTED = 0.05, 50  # the engine predicts 3 s in steps of 0.01 s


def step(ball: Ball, dt: float = TICK, posts: bool = True) -> Ball:
    """Return the ball after `dt` s. The engine's own step is `TICK`; a longer one is coarser."""
    ticks = dt / TICK
    pos, vel = ball.pos, ball.vel - jnp.array([0.0, 0.0, GRAVITY * dt])
    speed = norm(vel)
    vel = vel * jnp.maximum(1.0 - DRAG * speed * dt, 0.0)
    grass = jnp.clip(1.0 - (pos[2] - BALL_RADIUS) / GRASS, 0.0, 1.0) ** 0.7
    pos, vel, slam = _bounce(pos, vel)
    vel = _friction(vel, grass, dt)
    if posts:
        pos, vel = _woodwork(pos, vel)
    vel, spin = _roll(pos, vel, ball.spin, grass, slam, ticks)
    speed = norm(vel)
    strength = jnp.sin(share(speed, 0.0, MAGNUS_SPEED) * jnp.pi * MAGNUS_PHASE) ** MAGNUS_POWER
    swerve = jnp.cross(vel / speed * (strength * MAGNUS), -spin * MAGNUS_SPIN)
    vel = vel + swerve * dt
    return Ball(pos + vel * dt, vel, spin)


def _bounce(pos: Array, vel: Array) -> tuple[Array, Array, Array]:
    """Position and velocity after a bounce, and how hard the ball hit the ground, from 0 to 1."""
    below = pos[2] < BALL_RADIUS
    hit = below & (vel[2] < 0)
    slam = jnp.where(hit, share(-vel[2] - 0.5, 0.0, 12.0), 0.0)
    up = jnp.maximum(-vel[2] * BOUNCE - LINEAR_BOUNCE, 0.0)
    vel = vel.at[2].set(jnp.where(hit, up, vel[2]))
    return pos.at[2].max(BALL_RADIUS), vel, slam


def _friction(vel: Array, grass: Array, dt: float) -> Array:
    speed = norm(vel[:2])
    slower = speed - FRICTION * grass * speed**2 * dt - LINEAR_FRICTION * grass * dt
    return vel.at[:2].multiply(jnp.maximum(slower, 0.0) / speed)


def _roll(pos: Array, vel: Array, spin: Array, grass: Array, slam: Array, ticks: float) -> tuple[Array, Array]:
    """Ground contact pulls spin to that of a rolling ball, and the velocity to that of the spin."""
    on_ground = pos[2] < BALL_RADIUS + GRASS
    rolling = jnp.array([-vel[1], vel[0], 0.0]) / BALL_RADIUS
    change = rolling - spin
    most = SPIN_GRIP * grass * ticks + jnp.where(slam > 0, BOUNCE_SPIN, 0.0)
    pulled = spin + change * jnp.minimum(1.0, most / norm(change))
    grip = jnp.clip(ROLL_GRIP * grass * ticks + BOUNCE_GRIP * slam, 0.0, 1.0)
    of_spin = jnp.array([spin[1], -spin[0]]) * BALL_RADIUS
    mixed = jnp.concatenate([vel[:2] * (1 - grip) + of_spin * grip, vel[2:]])
    return jnp.where(on_ground, mixed, vel), jnp.where(on_ground, pulled, spin)


def _woodwork(pos: Array, vel: Array) -> tuple[Array, Array]:
    """Reflect the ball from posts and bars."""
    end, side = jnp.where(pos[0] < 0, -1.0, 1.0), jnp.where(pos[1] < 0, -1.0, 1.0)
    post = jnp.stack([end * HALF_LENGTH, side * GOAL_HALF_WIDTH])
    low = pos[2] < GOAL_HEIGHT + CONTACT
    flat, moved = _reflected(pos[:2], vel[:2], post, jnp.stack([-end, 0.0 * end]), low)
    pos, vel = jnp.concatenate([flat, pos[2:]]), jnp.concatenate([moved, vel[2:]])
    bar = jnp.stack([end * HALF_LENGTH, GOAL_HEIGHT + 0.0 * end])
    wide = jnp.abs(pos[1]) < GOAL_HALF_WIDTH + CONTACT
    upright, moved = _reflected(pos[::2], vel[::2], bar, jnp.array([0.0, -1.0]), wide)
    return (
        jnp.stack([upright[0], pos[1], upright[1]]),
        jnp.stack([moved[0], vel[1], moved[1]]),
    )


def _reflected(pos: Array, vel: Array, wood: Array, default: Array, near: Bool[Array, ""]) -> tuple[Array, Array]:
    """Position and velocity in the plane across a piece of wood, after contact with it if there is any."""
    normal = unit(pos - wood, default)
    touches = near & (norm(pos - wood) < CONTACT)
    away = unit(unit(vel, normal) + normal * POST_NORMAL, normal) * norm(vel) * POST_LIVELINESS
    return jnp.where(touches, wood + normal * CONTACT, pos), jnp.where(touches, away, vel)


def predict(ball: Ball) -> tuple[Float[Array, "k 3"], Float[Array, " k"]]:
    """Positions of an untouched ball and their times from now on, in s, in coarse steps."""

    def later(ball: Ball, _: None) -> tuple[Ball, Array]:
        return step(ball, PREDICTED_STEP, posts=False), ball.pos

    _, positions = jax.lax.scan(later, ball, None, length=N_PREDICTED)
    return positions, PREDICTED_STEP * jnp.arange(N_PREDICTED)


def at_time(positions: Float[Array, "k 3"], time: Float[Array, "*batch"]) -> Float[Array, "*batch 3"]:
    """Predicted positions at times in between."""
    index = jnp.clip(time / PREDICTED_STEP, 0.0, N_PREDICTED - 1.001)
    low = index.astype(jnp.int32)
    part = (index - low)[..., None]
    return positions[low] * (1 - part) + positions[low + 1] * part


def struck(ball: Ball, vel: Float[Array, " 3"], spin: Float[Array, " 3"], grip: Array | float) -> Ball:
    """The ball after a touch that gives it a velocity, and takes its spin to `spin` by the share `grip`."""
    return Ball(ball.pos.at[2].max(BALL_RADIUS), vel, ball.spin * (1 - grip) + spin * grip)
