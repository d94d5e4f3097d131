"""The state of a football match, and helpers for vectors.

Axis letters: P players (the left team first, its goalkeeper is player 0), N the left team, A agents: all of the left
team, or some of it (`Control`).
"""

import itertools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

RUNNING, GOAL, LOST, OUT, CONCEDED = range(5)  # of `State.ended`


class Ball(NamedTuple):
    pos: Float[Array, " 3"]  # m
    vel: Float[Array, " 3"]  # m/s
    spin: Float[Array, " 3"]  # rad/s about the axes x, y and z


class Buttons(NamedTuple):
    """The pad of each player of the left team; no observation shows it. Players without an agent press nothing."""

    held: Int[Array, " n"]  # index of DIRECTIONS, 0 for none
    sprint: Bool[Array, " n"]
    dribble: Bool[Array, " n"]
    kick: Int[Array, " n"]  # the buffered kick: 0 none, SHORT_PASS, LONG_PASS, HIGH_PASS or SHOT
    gauge: Float[Array, " n"]  # s that its button was held
    age: Float[Array, " n"]  # s since its button was released


class Control(NamedTuple):
    """The players of a team of which only some are controlled."""

    player: Int[Array, " a"]  # the player of each agent
    order: Int[Array, " a"]  # agents; the first of them is handed the next player


class State(NamedTuple):
    ball: Ball
    pos: Float[Array, "p 2"]  # m
    vel: Float[Array, "p 2"]  # m/s
    facing: Float[Array, "p 2"]  # of length 1
    command: Float[Array, "p 2"]  # velocity that each player wanted in the step before; legs answer late
    buttons: Buttons
    windup: Int[Array, " n"]  # steps until the foot of a kick that has begun meets the ball; 0 if none has
    aimed: Float[Array, "n 2"]  # direction of a shot that has begun, which stays as its player runs on
    rest: Float[Array, " p"]  # s until the player can touch the ball again
    kicking: Float[Array, " p"]  # s for which a player that has kicked does not count as in possession
    time_to_ball: Float[Array, " p"]  # s, as of the start of the step
    designated: Int[Array, " 2"]  # the player of each team that is to go for the ball
    on_ball: Int[Array, ""]  # the player of both teams that is to go for the ball
    last_touch_team: Int[Array, ""]  # -1 before the first touch
    last_touch: Int[Array, " 2"]  # the player of each team that touched the ball last
    since_touch: Float[Array, " 2"]  # s since then
    dive: Float[Array, ""]  # s since the right goalkeeper saw a ball coming at his goal, 0 if none is
    held_by_keeper: Bool[Array, ""]  # the right goalkeeper has the ball in his hands
    fading: Float[Array, " 2"]  # possession of each team, 0.5 to 1.5, smoothed over seconds
    ball_mean: Float[Array, " 2"]  # position of the ball, smoothed over seconds
    owner: Int[Array, ""]  # the player that owns the ball, -1 for nobody
    owner_team: Int[Array, ""]  # -1 nobody, 0 left, 1 right
    last_owner_team: Int[Array, ""]  # the team that owned the ball last, -1 before anybody did
    checkpoints: Int[Array, " a"]  # collected by each agent, 0 to 10
    ended: Int[Array, ""]  # RUNNING, GOAL, LOST, OUT or CONCEDED
    t: Int[Array, ""]  # steps taken
    control: Control | None = None  # None: agent i is player i


def norm(vector: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
    """Length of vectors; its gradient is finite at 0."""
    return jnp.sqrt(jnp.maximum(jnp.square(vector).sum(-1), 1e-12))


def unit(vector: Float[Array, "*batch d"], default: Array) -> Float[Array, "*batch d"]:
    """Direction of vectors; `default` where they are shorter than a micrometer."""
    length = norm(vector)[..., None]
    return jnp.where(length > 2e-6, vector / length, jnp.broadcast_to(default, vector.shape))


def turned(vector: Float[Array, "*batch 2"], angle: Float[Array, "*batch"]) -> Float[Array, "*batch 2"]:
    """Vectors turned to the left."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    x, y = vector[..., 0], vector[..., 1]
    return jnp.stack([x * cos - y * sin, x * sin + y * cos], -1)


def angle_between(a: Float[Array, "*batch 2"], b: Float[Array, "*batch 2"]) -> Float[Array, "*batch"]:
    """Angle from a to b, from -pi to pi."""
    cross = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return jnp.arctan2(cross, (a * b).sum(-1))


def share(value: Array, low: float | np.ndarray, high: float | np.ndarray) -> Array:
    """Position of a value between two bounds, from 0 to 1 (the engine's NormalizedClamp)."""
    return jnp.clip((value - low) / (high - low), 0.0, 1.0)


def table(value: Float[Array, "*batch"], at: tuple[float, ...], values: tuple[float, ...]) -> Float[Array, "*batch"]:
    """Linear interpolation in a table, constant beyond its ends: `jnp.interp` as a sum over its pieces.

    A search for the piece would be a loop of its own, which takes longer than all pieces of tables as short as these.
    """
    total: Array = jnp.full_like(value, values[0])
    for (low, high), (first, last) in zip(itertools.pairwise(at), itertools.pairwise(values), strict=True):
        total = total + (last - first) * share(value, low, high)
    return total
