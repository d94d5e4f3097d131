"""Pads of the agents: sticky buttons, and a buffer that keeps a kick until the ball is there (humancontroller.cpp)."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from qllm_envs._football.constants import (
    DIRECTIONS,
    DRIBBLE,
    HALF_LENGTH,
    HALF_WIDTH,
    HIGH_PASS,
    IDLE,
    KICK_OF_ACTION,
    N_DIRECTIONS,
    SHORT_PASS,
    SHOT,
    SPRINT,
    STEP,
    WALK,
)
from qllm_envs._football.state import Buttons

# All from humancontroller.cpp.
FORGOTTEN = 2.0  # s after which a buffered kick is dropped
LOST_BALL = 0.7  # s by which the time to the ball has grown when a buffered kick is dropped
REACH = 0.15  # a kick is buffered by a player who is at least nearly as soon at the ball as his opponents
PRESS = 0.06  # s, subtracted from the time that a button was held
FULL = 1.0  # s


def none(n: int) -> Buttons:
    """Return pads on which nothing is pressed."""
    zero = jnp.zeros((n,))
    return Buttons(zero.astype(jnp.int32), zero > 0, zero > 0, zero.astype(jnp.int32), zero, zero)


def press(
    now: Buttons, actions: Int[Array, " n"], possession: Float[Array, " n"], on_ball: Bool[Array, " n"]
) -> Buttons:
    """Return the pads after the actions of a step."""
    is_direction = (actions >= 1) & (actions <= N_DIRECTIONS)
    held = jnp.where(is_direction, actions, jnp.where(actions == 14, 0, now.held))
    sprint = (now.sprint | (actions == 13)) & (actions != 15)
    dribble = (now.dribble | (actions == 17)) & (actions != 18)
    pressed = jnp.asarray(KICK_OF_ACTION)[actions]
    may = on_ball | (possession - 1.0 + REACH >= 0)
    starts = (now.kick == 0) & (pressed > 0) & may
    holds = (now.kick > 0) & (pressed == now.kick)
    # A short pass takes back a shot or a high pass that has not been played yet.
    canceled = (pressed == SHORT_PASS) & ((now.kick == SHOT) | (now.kick == HIGH_PASS))
    kick = jnp.where(starts, pressed, jnp.where(canceled, 0, now.kick))
    gauge = jnp.where(starts, STEP, jnp.where(holds, jnp.minimum(now.gauge + STEP, FULL), now.gauge))
    age = jnp.where(starts | holds, 0.0, now.age + STEP)
    return Buttons(held, sprint, dribble, kick, gauge, age)


def drop(now: Buttons, grown: Float[Array, " n"]) -> Buttons:
    """Forget kicks that have waited too long, or whose ball has gone: `grown` is how much farther it is, in s."""
    gone = (now.age > FORGOTTEN) | (grown > LOST_BALL)
    return now._replace(kick=jnp.where(gone, 0, now.kick))


def released(now: Buttons) -> Bool[Array, " n"]:
    """True for agents whose buffered kick is to be played as soon as the ball is there."""
    return (now.kick > 0) & ((now.age > 0) | (now.gauge > 0.5))


def power(now: Buttons) -> Float[Array, " n"]:
    """Strength of the press, from 0 to 1."""
    return jnp.clip((now.gauge - PRESS) / (FULL - PRESS), 0.0, 1.0)


def wanted(
    now: Buttons, pos: Float[Array, "n 2"], facing: Float[Array, "n 2"]
) -> tuple[Float[Array, "n 2"], Float[Array, " n"]]:
    """Direction and speed that each agent holds; the direction faced, at no speed, if none is held.

    Outside of the pitch a direction that leads away from it is not taken.
    """
    direction = jnp.asarray(DIRECTIONS)[now.held]
    bound = jnp.array([[HALF_LENGTH, HALF_WIDTH]])
    direction = jnp.where(pos > bound, jnp.minimum(direction, 0.0), direction)
    direction = jnp.where(pos < -bound, jnp.maximum(direction, 0.0), direction)
    length = jnp.abs(direction).max(-1)
    speed = jnp.where(now.sprint, SPRINT, jnp.where(now.dribble, DRIBBLE, WALK))
    going = length > 0.1
    straight = direction / jnp.maximum(jnp.sqrt(jnp.square(direction).sum(-1, keepdims=True)), 1e-6)
    return jnp.where(going[:, None], straight, facing), jnp.where(going, speed, IDLE)
