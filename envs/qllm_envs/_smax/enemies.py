"""Policies of the enemies of `smax`, computed from positions: SMAX's observations of all units are never built.

N allies, E enemies. SMAX's numbers of an enemy's targets run backwards: its first target is the last ally.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

OPPONENTS = ("attack_move", "heuristic")
N_MOVES = 5  # SMAX's actions that are no attack: up, right, down, left, stop
STAY = 4
HEADINGS = ((0.0, 1.0), (1.0, 0.0), (0.0, -1.0), (-1.0, 0.0))


class Memory(NamedTuple):
    """Memory of SMAX's heuristic for each enemy."""

    goal: Float[Array, "enemies 2"]  # its destination while it sees nobody
    target: Int[Array, " enemies"]  # the target that it keeps to, by SMAX's number; -1: none


class Watch(NamedTuple):
    """Allies as the enemies see them."""

    dx: Float[Array, "enemies allies"]  # ally - enemy
    dy: Float[Array, "enemies allies"]
    dist: Float[Array, "enemies allies"]
    sees: Bool[Array, "enemies allies"]
    reaches: Bool[Array, "enemies allies"]


def watch(world: Any, state: Any) -> Watch:
    n, pos, alive = world.num_allies, state.unit_positions, state.unit_alive
    types = state.unit_types[n:]
    dx, dy = (pos[None, :n, axis] - pos[n:, None, axis] for axis in (0, 1))
    dist = jnp.sqrt(dx * dx + dy * dy)
    there = alive[n:, None] & alive[None, :n]
    sees = there & (dist < world.unit_type_sight_ranges[types][:, None])
    return Watch(dx, dy, dist, sees, sees & (dist < world.unit_type_attack_ranges[types][:, None]))


def attack_move(world: Any, state: Any, actions: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return SMAX's decoded actions of all units, with those of the enemies replaced.

    An enemy attacks the nearest ally that it reaches. Else it walks straight towards the nearest that it sees, and if
    it sees none, to the start of the allies; in smacv2_*, where starts are random, to the middle of the map.
    """
    n = world.num_allies
    seen = watch(world, state)
    nearest = jnp.where(seen.sees, seen.dist, jnp.inf).argmin(1)  # (E,)
    attacks = jnp.take_along_axis(seen.reaches, nearest[:, None], 1)  # (E, 1)
    pos = state.unit_positions
    goal = jnp.where(seen.sees.any(1)[:, None], pos[nearest], jnp.array(world.attack_point, jnp.float32)[None])
    way = goal - pos[n:]
    # Nobody walks beyond the goal.
    stride = world.unit_type_velocities[state.unit_types[n:]] * world.time_per_step
    way = way / jnp.maximum(jnp.sqrt((way * way).sum(-1)), stride)[:, None]
    attack = jnp.where(attacks[:, 0], N_MOVES + n - 1 - nearest, 0)
    move = jnp.where(attacks, 0.0, way)
    return jnp.concatenate([actions[0][:n], move]), jnp.concatenate([actions[1][:n], attack])


def no_memory(n_enemies: int) -> Memory:
    return Memory(jnp.zeros((n_enemies, 2)), jnp.full(n_enemies, -1, jnp.int8))


def heuristic(world: Any, key: jax.Array, memory: Memory, state: Any) -> tuple[Int[Array, " enemies"], Memory]:
    """Actions of SMAX's own policy (jaxmarl/environments/smax/heuristic_enemy.py), with its random numbers.

    An enemy keeps to its target while it reaches it, else takes the nearest that it reaches. If it reaches none, it
    goes along an axis towards a random ally that it sees, or to the point opposite of its start. The key is consumed.
    """
    n = world.num_allies
    seen = jax.tree.map(lambda row: row[:, ::-1], watch(world, state))  # in the order of SMAX's numbers
    kept = jnp.take_along_axis(seen.reaches, jnp.maximum(memory.target, 0)[:, None].astype(jnp.int32), 1)[:, 0]
    kept &= memory.target >= 0
    nearest = jnp.where(seen.reaches, seen.dist, jnp.inf).argmin(1)
    target = jnp.where(kept, memory.target, nearest)
    attacks = seen.reaches.any(1)
    pos = state.unit_positions[n:]
    goal = jnp.where(state.step == 0, jnp.array([world.map_width, world.map_height])[None] - pos, memory.goal)
    way = jnp.where(seen.sees.any(1)[:, None], _to_random_ally(key, seen), goal - pos)  # (E, 2)
    along = jnp.stack([way[:, 0] * x + way[:, 1] * y for x, y in HEADINGS], -1)
    actions = jnp.where(attacks, N_MOVES + target, along.argmax(-1))
    return actions, Memory(goal, jnp.where(attacks, target, -1).astype(memory.target.dtype))


def _to_random_ally(key: jax.Array, seen: Watch) -> Float[Array, "enemies 2"]:
    """Way from each enemy to a random ally in its sight. SMAX draws with the first key of a split of the enemy's."""

    def draw(key: jax.Array, sees: Bool[Array, " allies"]) -> Int[Array, ""]:
        return jax.random.choice(jax.random.split(key)[0], sees.shape[0], p=sees / sees.sum())

    chosen = jax.vmap(draw)(jax.random.split(key, seen.dist.shape[0]), seen.sees)[:, None]
    return jnp.concatenate([jnp.take_along_axis(part, chosen, 1) for part in (seen.dx, seen.dy)], -1)


def targets(world: Any, memory: Memory | None, state: Any) -> Int[Array, " enemies"]:
    """Index of the ally that each enemy attacks, or -1: in the last step with SMAX's policy, else at this moment."""
    if memory is not None:
        return jnp.where(memory.target < 0, -1, world.num_allies - 1 - memory.target)
    seen = watch(world, state)
    return jnp.where(seen.reaches.any(1), jnp.where(seen.reaches, seen.dist, jnp.inf).argmin(1), -1)
