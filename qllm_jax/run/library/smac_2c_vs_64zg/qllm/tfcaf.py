"""Credit for battles: whoever is alive, near to an enemy and ready to fire. Works for any numbers of units on both sides.

It reads only what every scenario has: shields and types are not among it.
"""

import jax
import jax.numpy as jnp

IGM = True

REACH = 6.0  # map units from center to center within which an attack is available
NEAR = 3.0  # map units beyond that at which an agent's share is divided by e, as it is at a full cooldown
NOWHERE = 100.0  # map units, longer than the map: how far a dead enemy is
NONE = -1e6  # in place of a dead agent's logit; where all are dead, shares are equal


def credit(state):
    """The next reward is for damage, which agents do that can reach an enemy and whose weapon is ready: they get more
    weight.

    A dead agent can do nothing and gets none. Every living one keeps half of an equal share, so that all of them go on
    learning.
    """
    alive = state["agent_alive"] > 0.5
    # Coordinate by coordinate: XLA:CPU does not vectorize a sum over an axis of two.
    dx = state["agent_pos"][:, 0][:, None] - state["enemy_pos"][:, 0][None]
    dy = state["agent_pos"][:, 1][:, None] - state["enemy_pos"][:, 1][None]
    square = jnp.where(state["enemy_alive"][None] > 0.5, dx**2 + dy**2, NOWHERE**2)  # (agents, enemies)
    # By index: the slope of jnp.min compares values that XLA may round anew, and is nan where none is the least.
    least = jnp.take_along_axis(square, jnp.argmin(square, axis=1)[:, None], axis=1)[:, 0]
    nearest = jnp.sqrt(jnp.maximum(least, 1e-12))
    # One attack hits one enemy, and which one within reach makes no difference to what is available.
    beyond = jnp.maximum(nearest - REACH, 0.0)
    soon = jax.nn.softmax(jnp.where(alive, -beyond / NEAR - state["agent_cooldown"], NONE))
    even = jax.nn.softmax(jnp.where(alive, 0.0, NONE))
    return 0.5 * even + 0.5 * soon, 0.0
