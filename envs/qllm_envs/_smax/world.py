"""SMAX's world (Rutherford et al. 2024, arxiv.org/abs/2311.10090) with splash, our own enemies, and less to compute.

`World` is SMAX 0.2.0 of jaxmarl, subclassed: its reset and its world ticks are SMAX's. n units, N allies, E enemies.
"""

from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from qllm_envs._jaxmarl.package import SMAX, SmaxScenario
from qllm_envs._smax import enemies, units
from qllm_envs._smax.enemies import N_MOVES
from qllm_envs._smax.scenarios import COLOSSUS, MAP_SIZE, TWO_COLOSSI, Scenario, block
from qllm_envs._smax.units import Table

# The colossus's beam: a rectangle around its target, across the shot (smaclite/env/units/smaclite_units/colossus.json).
BEAM_HALF_WIDTH, BEAM_HALF_DEPTH = 1.4, 0.15
MARGIN = 0.05  # between units that start side by side


def arguments(scenario: Scenario, table: Table, tick: float, start: np.ndarray | None) -> dict[str, Any]:
    """Arguments of SMAX's constructor for our units and scenarios. `start`: see `World`."""
    kinds = units.KINDS[: len(table.health)]
    names = {name: jnp.array(getattr(table, name), jnp.float32) for name in units.SMAX_COLOSSUS}
    return {
        "scenario": SmaxScenario(
            unit_types=jnp.array(scenario.types, jnp.uint8),
            num_allies=scenario.n_allies,
            num_enemies=scenario.n_enemies,
            smacv2_position_generation=scenario.random_pos or start is not None,
            smacv2_unit_type_generation=scenario.random_types,
        ),
        "unit_type_names": [kind.name for kind in kinds],
        "unit_type_shorthands": [kind.name[0] for kind in kinds],
        "world_steps_per_env_step": units.TICKS,
        "time_per_step": tick,
        "walls_cause_death": False,
        **{f"unit_type_{name}": row for name, row in names.items()},
    }


def always(start: np.ndarray) -> Any:
    """Return a generator of positions, as SMAX takes one, that gives the same (n, 2) for every episode."""
    return SimpleNamespace(generate=lambda key: jnp.array(start, jnp.float32))


class World(SMAX):
    """SMAX without its observations, states and rewards, which are not SMAC's, and which a step of it pays for.

    `start`: positions (n, 2) for every episode, or None for SMAX's own law. `attack_move`: enemies act by positions,
    tick by tick, whatever actions they are given.
    """

    def __init__(self, scenario: Scenario, table: Table, tick: float, splash: bool, attack_move: bool, start: Any):
        super().__init__(**arguments(scenario, table, tick, start))
        self.beams = np.flatnonzero(np.array(scenario.types) == COLOSSUS) if splash else np.array([], int)
        self.attack_move = attack_move
        centered = scenario.random_pos
        self.attack_point = np.full(2, MAP_SIZE / 2) if centered else np.array(scenario.ally_start)
        if start is not None:
            self.position_generator: Any = always(start)

    @partial(jax.jit, static_argnums=0)
    def get_obs(self, state: Any) -> dict[str, Array]:
        del state
        return {}

    def get_world_state(self, state: Any) -> Array:
        del state
        return jnp.zeros(0)

    @partial(jax.jit, static_argnums=0)
    def compute_reward(self, state: Any, health_before: Array, health_after: Array) -> dict[str, Array]:
        del state, health_before, health_after
        return {}

    @partial(jax.jit, static_argnums=0)
    def _world_step(self, key: jax.Array, state: Any, actions: tuple[Array, Array]) -> Any:
        if self.attack_move:
            actions = enemies.attack_move(self, state, actions)
        after = super()._world_step(key, state, actions)
        if self.beams.size:
            health = jnp.maximum(after.unit_health - splash(self, state, actions[1]), 0.0)
            after = after.replace(unit_health=health)
        return after

    def _push_units_away(self, state: Any, firmness: float = 1.0) -> Any:
        """SMAX's soft push out of overlaps: the same numbers, with x and y apart and sums over the leading axis.

        Most of a tick of 66 units is spent here. SMAX's form of it, whose last axis is of length 2 and whose sums run
        along rows, cannot be vectorized and takes four times as long.
        """
        pos, alive = state.unit_positions, state.unit_alive
        radius = self.unit_type_radiuses[state.unit_types]
        dx, dy = (pos[None, :, axis] - pos[:, None, axis] for axis in (0, 1))  # row j, column i: from j to i
        dist = jnp.sqrt(dx * dx + dy * dy) + jnp.identity(self.num_agents) + 1e-6
        overlap = jax.nn.relu((radius[:, None] + radius[None]) / dist - 1.0)
        overlap = jnp.where(alive[:, None] & alive[None], overlap, 0.0)
        push = jnp.stack([(dx * overlap).sum(0), (dy * overlap).sum(0)], -1)
        moved = pos + firmness * push / 2
        return state.replace(unit_positions=jnp.where(alive[:, None], moved, pos))


def make(scenario: Scenario, table: Table, fidelity: str, opponent: str, splash: bool) -> World:
    start = formation(scenario, table, fidelity)
    return World(scenario, table, units.TICK[fidelity], splash, opponent == "attack_move", start)


def formation(scenario: Scenario, table: Table, fidelity: str) -> np.ndarray | None:
    """Positions (n, 2) of the units at the start of every episode; None where SMAX draws them."""
    # SMAX starts teams within 4 x 4 boxes, in which 64 zerglings would lie on top of each other.
    if scenario.random_pos or (fidelity == "smax" and scenario.name != TWO_COLOSSI.name):
        return None
    n = scenario.n_allies
    teams = (scenario.types[:n], scenario.ally_start), (scenario.types[n:], scenario.enemy_start)
    spacing = lambda types: 2 * table.radiuses[list(types)].max() + MARGIN
    return np.concatenate([block(len(types), center, spacing(types)) for types, center in teams])


def splash(world: World, state: Any, attacks: Array) -> Float[Array, " n"]:
    """Damage by the beams that are fired in this tick from `state`, to enemies other than the target."""
    shots = [_beam(world, state, attacks, int(shooter)) for shooter in world.beams]
    return jnp.stack(shots).sum(0)


def _beam(world: World, state: Any, attacks: Array, shooter: int) -> Float[Array, " n"]:
    n, pos, kind = world.num_allies, state.unit_positions, COLOSSUS
    action = attacks[shooter]
    first, foes = (n, np.arange(world.num_agents) >= n) if shooter < n else (n - 1, np.arange(world.num_agents) < n)
    target = first + (action - N_MOVES if shooter < n else N_MOVES - action)
    shot = pos[target] - pos[shooter]
    length = jnp.sqrt((shot * shot).sum())
    fires = (
        (action >= N_MOVES)
        & (length < world.unit_type_attack_ranges[kind])
        & state.unit_alive[shooter]
        & state.unit_alive[target]
        & (state.unit_weapon_cooldowns[shooter] <= 0.0)
    )
    hit = in_beam(pos - pos[target][None], shot / jnp.maximum(length, 1e-6), world.unit_type_radiuses[state.unit_types])
    hit = hit & foes & state.unit_alive & (np.arange(world.num_agents) != target)
    return jnp.where(fires & hit, world.unit_type_attacks[kind], 0.0)


def in_beam(
    offset: Float[Array, "n 2"], direction: Float[Array, " 2"], radius: Float[Array, " n"]
) -> Bool[Array, " n"]:
    """True for discs that touch the rectangle around the origin whose short side lies along the unit `direction`."""
    along = offset[:, 0] * direction[0] + offset[:, 1] * direction[1]
    across = offset[:, 1] * direction[0] - offset[:, 0] * direction[1]
    depth = jnp.maximum(jnp.abs(along) - BEAM_HALF_DEPTH, 0.0)
    width = jnp.maximum(jnp.abs(across) - BEAM_HALF_WIDTH, 0.0)
    return depth * depth + width * width <= radius * radius
