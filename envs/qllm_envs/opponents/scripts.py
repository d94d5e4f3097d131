"""Scripted policies of the opponents, and of the teams that they are trained and measured against.

Offsets into observations are those of mpe2 1.1.1: `mpe_tag.prey_obs`, `mpe_adversary.adversary_obs` and the two `view`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from qllm_envs._mpe import physics

Policy = Callable[[jax.Array, Float[Array, " obs"]], Int[Array, ""]]  # of one player; the key is consumed
TeamPolicy = Callable[[jax.Array, Float[Array, "n obs"]], Int[Array, " n"]]  # of all players of a side

N_OBSTACLES = 2
GLIDE = 0.3  # seconds: how far ahead the prey looks at its own speed
STRIDE = 0.35  # length that a push adds to that
MARGIN = 0.3  # distance from an obstacle's center that the prey keeps
ARENA = 0.9  # mpe2 charges the prey for being farther out than this on either axis
DEAD_ZONE = 0.1  # half of what one push moves a body without further pushes


def still(key: jax.Array, obs: Float[Array, " obs"]) -> Int[Array, ""]:
    del key, obs
    return jnp.int32(0)


def random(key: jax.Array, obs: Float[Array, " obs"]) -> Int[Array, ""]:
    del obs
    return jax.random.randint(key, (), 0, len(physics.ACTION_NAMES))


def flee(key: jax.Array, obs: Float[Array, " 8+2n"]) -> Int[Array, ""]:
    """Move the prey to where the nearest predator is farthest, but not out of the arena nor into an obstacle."""
    del key
    vel, pos, others = obs[:2], obs[2:4], obs[4:].reshape(-1, 2)
    obstacles, predators = others[:N_OBSTACLES], others[N_OBSTACLES:]
    ways = physics.thrust(jnp.arange(len(physics.ACTION_NAMES)), STRIDE)
    ahead = GLIDE * vel[None] + ways  # (A, 2) from here, after each action
    nearest = jnp.sqrt(physics.square_distance(ahead, predators).min(1))
    outside = jax.nn.relu(jnp.abs(pos[None] + ahead) - ARENA).sum(1)
    blocked = jax.nn.relu(MARGIN - jnp.sqrt(physics.square_distance(ahead, obstacles).min(1)))
    return jnp.argmax(nearest - 3.0 * outside - blocked).astype(jnp.int32)


def follow(key: jax.Array, obs: Float[Array, " 4n"]) -> Int[Array, ""]:
    """Move the adversary to the landmark nearest to any good agent, which it takes for the goal."""
    del key
    landmarks, agents = jnp.split(obs.reshape(-1, 2), 2)
    guess = jnp.argmin(physics.square_distance(landmarks, agents).min(1))
    return towards(landmarks[guess])


def towards(delta: Float[Array, " 2"]) -> Int[Array, ""]:
    """Push along the longer side of the way `delta`; none once it is short, as pushes show late."""
    axis = jnp.argmax(jnp.abs(delta))
    push = 1 + 2 * axis + (delta[axis] > 0)
    return jnp.where(jnp.abs(delta).max() < DEAD_ZONE, 0, push).astype(jnp.int32)


def team(policy: Policy) -> TeamPolicy:
    """Return the policy of a team in which each player acts by `policy` alone."""
    return lambda key, obs: jax.vmap(policy)(jax.random.split(key, len(obs)), obs)


def chase(key: jax.Array, obs: Float[Array, "n 10+2n"]) -> Int[Array, " n"]:
    """Move predators straight at the prey, whose position stands before its velocity at the end of an observation."""
    del key
    return jax.vmap(towards)(obs[:, -4:-2])


def rush(key: jax.Array, obs: Float[Array, "n 2+4n"]) -> Int[Array, " n"]:
    """Move all good agents to the goal, which gives it away."""
    del key
    return jax.vmap(towards)(obs[:, :2])


def split(key: jax.Array, obs: Float[Array, "n 2+4n"]) -> Int[Array, " n"]:
    """Move good agent i to landmark i, so that nothing tells the goal from the other landmarks."""
    del key
    landmarks = obs[:, 2 : 2 + 2 * len(obs)].reshape(len(obs), len(obs), 2)
    return jax.vmap(lambda own, i: towards(own[i]))(landmarks, jnp.arange(len(obs)))


OPPONENTS: dict[str, dict[str, Policy]] = {
    "prey": {"heuristic": flee, "random": random, "still": still},
    "adversary": {"heuristic": follow, "random": random, "still": still},
}
TEAMS: dict[str, dict[str, TeamPolicy]] = {
    "prey": {"random": team(random), "chase": chase},
    "adversary": {"random": team(random), "split": split, "rush": rush},
}
