"""The state of a battle, and its units in the terms of StarCraft II. n units, N allies, E enemies."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from qllm_envs._smax import enemies, units
from qllm_envs._smax.scenarios import MAP_SIZE, Scenario
from qllm_envs._smax.units import Table
from qllm_envs._smax.world import World

FIRST_ATTACK = 6  # SMAC's number of the attack on enemy 0
CALM_STEPS = 20  # without damage until shields recharge: 160 game loops
KILL_REWARD, WIN_REWARD = 10.0, 200.0  # points; damage is counted in points, too


class Rules(NamedTuple):
    """Options of `make`, checked, and facts that follow from them. All are static."""

    scenario: Scenario
    table: Table
    world: World
    horizon: int
    fidelity: str
    opponent: str
    shielded: np.ndarray  # numbers of the units that recharge; empty where nothing does
    kinds: tuple[int, ...]  # types of the one-hot in observations; empty where each team is of one type
    shields: tuple[bool, bool]  # True if any ally, any enemy may have a shield

    @property
    def n_actions(self) -> int:
        return FIRST_ATTACK + self.scenario.n_enemies


def rules_of(scenario: Scenario, table: Table, world: World, horizon: int, fidelity: str, opponent: str) -> Rules:
    types, n = np.array(scenario.types), scenario.n_allies
    has_shield = np.full(len(types), True) if scenario.random_types else units.SHIELD[types] > 0
    teams = set(scenario.types[:n]), set(scenario.types[n:])
    kinds = range(len(table.points)) if scenario.random_types else sorted(teams[0] | teams[1])
    mixed = scenario.random_types or max(map(len, teams)) > 1
    return Rules(
        scenario=scenario,
        table=table,
        world=world,
        horizon=horizon,
        fidelity=fidelity,
        opponent=opponent,
        shielded=np.flatnonzero(has_shield) if fidelity == "smac" else np.array([], int),
        kinds=tuple(kinds) if mixed else (),
        shields=(bool(has_shield[:n].any()), bool(has_shield[n:].any())),
    )


class Recharge(NamedTuple):
    """Memory of the R units whose shields recharge: a pool alone does not tell health from shield."""

    health: Float[Array, " r"]  # damage that health takes
    calm: UInt8[Array, " r"]  # steps without damage, up to CALM_STEPS


class State(NamedTuple):
    """State of a battle, small enough for a replay buffer. Units are alive while their pool is above 0."""

    pos: Float[Array, "n 2"]
    pool: Float[Array, " n"]  # damage that a unit takes before it dies: shield and health
    cooldown: Float[Array, " n"]  # seconds, at least 0
    last_action: Int[Array, " agents"]  # the smallest signed integers that hold it; -1 at the start
    t: Int[Array, ""]  # steps taken
    unit_type: UInt8[Array, " n"] | None  # where types are random
    recharge: Recharge | None  # where shields recharge
    memory: enemies.Memory | None  # where the enemies are SMAX's own


class Force(NamedTuple):
    """The units in the numbers of StarCraft II."""

    pos: Float[Array, "n 2"]  # inside the map
    alive: Bool[Array, " n"]
    health: Float[Array, " n"]  # shares of the most, in [0, 1]
    shield: Float[Array, " n"]
    types: Int[Array, " n"] | np.ndarray
    points: Float[Array, " n"]  # health and shield


def won(rules: Rules, state: State) -> Bool[Array, ""]:
    """True if all enemies are dead and not all allies: SMAC's battle_won."""
    alive, n = state.pool > 0, rules.scenario.n_allies
    return alive[:n].any() & ~alive[n:].any()


def over(rules: Rules, state: State) -> Bool[Array, ""]:
    """True if all units of a side are dead."""
    alive, n = state.pool > 0, rules.scenario.n_allies
    return ~(alive[:n].any() & alive[n:].any())


def most(rules: Rules, now: Force) -> Float[Array, ""]:
    """Highest sum of points that damage, kills and victory pay, without shields that recharge."""
    n, table = rules.scenario.n_allies, rules.table
    worth = jnp.array(table.points + units.SHIELD[: len(table.points)] + KILL_REWARD, jnp.float32)
    return worth[now.types[n:]].sum() + WIN_REWARD


def force(rules: Rules, state: State) -> Force:
    """Return the units of a state. Shields absorb damage first: a pool beyond the health of a unit is its shield."""
    table = rules.table
    types = np.array(rules.scenario.types) if state.unit_type is None else state.unit_type.astype(jnp.int32)
    row = lambda values: jnp.array(values, jnp.float32)[types]
    whole = row(table.points * table.toughness)
    health = jnp.minimum(state.pool, whole)
    if state.recharge is not None:
        health = health.at[rules.shielded].set(state.recharge.health)
    shield = state.pool - health
    most_shield = row(units.SHIELD[: len(table.points)])
    share = health / whole
    return Force(
        pos=jnp.clip(state.pos, 0.0, MAP_SIZE),  # a push may put a unit beyond the wall until it moves again
        alive=state.pool > 0,
        health=jnp.minimum(share, 1.0),  # shares round to numbers above 1
        shield=jnp.where(most_shield > 0, jnp.clip(shield / jnp.maximum(most_shield, 1.0), 0.0, 1.0), 0.0),
        types=types,
        points=share * row(table.points) + shield,
    )
