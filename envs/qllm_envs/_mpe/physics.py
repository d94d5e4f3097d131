"""Physics of the particle world (Lowe et al. 2017, arxiv.org/abs/1706.02275) on whole arrays, as in mpe2 1.1.1.

Axis letters: N agents, M other entities. Lengths are in units of half the starting square, times in seconds.
Numbers are those of `World` in mpe2/_mpe_utils/core.py. Masses are 1, so force and acceleration are one thing.

x and y are kept apart in all that is pairwise: a last axis of length 2 made the contact force of 25 agents 3.4 times
slower on a CPU (3.9 against 1.2 microseconds).
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

DT = 0.1
DAMPING = 0.25  # part of the velocity that is lost in a step
CONTACT_FORCE = 100.0
CONTACT_MARGIN = 1e-3  # length over which a contact sets in
START = 1.0  # agents start within this distance of the origin on either axis
ACTION_NAMES = ("none", "left", "right", "down", "up")  # the order of PettingZoo and JaxMARL


def scattered(key: jax.Array, *shape: int, bound: float = START) -> Float[Array, "..."]:
    """Draw positions within `bound` of the origin on either axis. The key is consumed."""
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)


def thrust(actions: Int[Array, " n"], acceleration: float | Float[Array, "n 1"]) -> Float[Array, "n 2"]:
    """Force of the agents' own engines. A number that is no action gives none."""
    x = (actions == 2).astype(jnp.float32) - (actions == 1).astype(jnp.float32)
    y = (actions == 4).astype(jnp.float32) - (actions == 3).astype(jnp.float32)
    return acceleration * jnp.stack([x, y], -1)


def contact_force(
    pos: Float[Array, "n 2"], other_pos: Float[Array, "m 2"], min_dist: float | Float[Array, "n m"]
) -> Float[Array, "n 2"]:
    """Sum of the forces that push each agent out of the `other_pos` nearer than `min_dist` (the sum of both radii).

    `other_pos` may be `pos`: an agent does not push itself. Agents at exactly one position have no direction to part
    in and do not push each other (mpe2 gives NaN). Values and gradients are finite everywhere.
    """
    dx, dy = _deltas(pos, other_pos)  # (N, M)
    square = dx * dx + dy * dy
    # Without the inner `where` the gradient of sqrt at 0 is infinite; 1 stands for any length, as the deltas are 0.
    dist = jnp.sqrt(jnp.where(square > 0, square, 1.0))
    overlap = CONTACT_MARGIN * jax.nn.softplus((min_dist - dist) / CONTACT_MARGIN)
    scale = CONTACT_FORCE * overlap / dist
    return jnp.stack([(dx * scale).sum(1), (dy * scale).sum(1)], -1)


def integrate(
    pos: Float[Array, "n 2"],
    vel: Float[Array, "n 2"],
    force: Float[Array, "n 2"],
    max_speed: float | Float[Array, "n 1"] | None = None,
) -> tuple[Float[Array, "n 2"], Float[Array, "n 2"]]:
    """Return positions and velocities a step later. Positions move by the old velocity: a force shows one step late."""
    pos = pos + vel * DT
    vel = vel * (1 - DAMPING) + force * DT
    if max_speed is None:
        return pos, vel
    square = (vel * vel).sum(-1, keepdims=True)  # (N, 1)
    speed = jnp.sqrt(jnp.where(square > 0, square, 1.0))
    vel = jnp.where(square > max_speed * max_speed, vel * (max_speed / speed), vel)
    return pos, jnp.clip(vel, -max_speed, max_speed)  # rounding alone could exceed it along an axis


def reach(acceleration: float, horizon: int, max_speed: float | None = None) -> float:
    """Largest distance from the origin on either axis after `horizon` steps, rounded up to a tenth.

    With `max_speed` it bounds every agent; without it, an agent that nobody pushes.
    """
    if max_speed is not None:
        return math.ceil(10 * (START + DT * max_speed * horizon)) / 10
    return math.ceil(10 * unpushed_reach(acceleration, horizon)) / 10


def unpushed_reach(acceleration: float, horizon: int) -> float:
    """`reach` of an agent that nobody pushes, not rounded."""
    # Step by step a full thrust takes the speed closer to its limit, at which friction takes what the thrust gives.
    limit = acceleration * DT / DAMPING
    lag = (1 - (1 - DAMPING) ** horizon) / DAMPING
    return START + DT * limit * (horizon - lag)


MOST_PUSHERS = 4  # at once; more than that many never lie on one agent, whatever agents do (a test tries)


def pushed(n_others: int, min_dist: float) -> tuple[float, float]:
    """Most that `n_others` add to the distance and to the speed of an agent on an axis by pushing it.

    Each gives the force of a full overlap for two steps, as positions show a force one step late, and friction ends
    the slide.
    """
    step = min(n_others, MOST_PUSHERS) * CONTACT_FORCE * min_dist * DT
    speed = step + (1 - DAMPING) * step
    return DT * (step + speed / DAMPING), speed


def ring(center: Float[Array, " 2"], n: int, radius: float) -> Float[Array, "n 2"]:
    """Return n points around a center, for states in which all agents are in one place."""
    angle = 2 * jnp.pi * jnp.arange(n) / n
    return center[None] + radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1)


def touching(
    pos: Float[Array, "n 2"], other_pos: Float[Array, "m 2"], min_dist: float | Float[Array, "n m"]
) -> Bool[Array, "n m"]:
    """True where centers are nearer than `min_dist`. With `other_pos` = `pos` the diagonal is True."""
    return square_distance(pos, other_pos) < min_dist * min_dist


def square_distance(pos: Float[Array, "n 2"], other_pos: Float[Array, "m 2"]) -> Float[Array, "n m"]:
    dx, dy = _deltas(pos, other_pos)
    return dx * dx + dy * dy


def relative(pos: Float[Array, "n 2"], other_pos: Float[Array, "m 2"]) -> Float[Array, "n 2m"]:
    """Positions of the others from each agent (other - own), x and y side by side as in an observation."""
    return other_pos.reshape(1, -1) - _own(pos, 2 * other_pos.shape[0])


def relative_others(pos: Float[Array, "n 2"]) -> Float[Array, "n 2(n-1)"]:
    """Return `relative` of all other agents in index order; no columns for a single agent."""
    n = pos.shape[0]
    flat = pos.reshape(1, 2 * n)
    # Column k of row i is agent k before i and agent k + 1 from there on: two slices and a choice, no diagonal to drop.
    before = jnp.arange(2 * (n - 1))[None] < 2 * jnp.arange(n)[:, None]  # (N, 2(N-1))
    return jnp.where(before, flat[:, :-2], flat[:, 2:]) - _own(pos, 2 * (n - 1))


def _own(pos: Float[Array, "n 2"], width: int) -> Float[Array, "n width"]:
    """Each agent's x, y, x, y ... over `width` columns. Flat: a last axis of length 2 cannot be vectorized."""
    return jnp.where(jnp.arange(width)[None] % 2 == 0, pos[:, :1], pos[:, 1:])


def _deltas(pos: Float[Array, "n 2"], other_pos: Float[Array, "m 2"]) -> tuple[Array, Array]:
    return pos[:, None, 0] - other_pos[None, :, 0], pos[:, None, 1] - other_pos[None, :, 1]
