"""A battle under SMAC's rules: actions, reward, end, and what is known of each unit. n units, N allies, E enemies.

SMAC is oxwhirl/smac (Samvelyan et al. 2019, arxiv.org/abs/1902.04043), smac/env/starcraft2/starcraft2.py.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxmarl.environments.smax.smax_env import State as SmaxState
from jaxtyping import Array, Bool, Float, Int, UInt8

from qllm_envs import _smax_enemies as enemies
from qllm_envs import _smax_units as units
from qllm_envs import _smax_world
from qllm_envs._smax_units import Scenario, Table
from qllm_envs.core import Step

NO_OP, STOP, FIRST_ATTACK = 0, 1, 6
ACTION_NAMES = ("no-op", "stop", "north", "south", "east", "west")
SMAX_ACTIONS = (4, 4, 0, 2, 1, 3)  # no-op and stop are one to SMAX; its attacks start one lower
KILL_REWARD, WIN_REWARD, MAX_RETURN = 10.0, 200.0, 20.0
CALM_STEPS = 20  # without damage until shields recharge: 160 game loops
RECHARGE = 1.0  # shield points of a step: 1 / 8 a game loop


class Rules(NamedTuple):
    """The options of `make`, checked, and what follows from them. All static."""

    scenario: Scenario
    table: Table
    world: _smax_world.World
    horizon: int
    fidelity: str
    opponent: str
    shielded: np.ndarray  # numbers of the units that recharge; empty where nothing does
    kinds: tuple[int, ...]  # types that a one-hot tells apart; empty where each team is of one type
    shields: tuple[bool, bool]  # whether any ally, any enemy may have a shield

    @property
    def n_actions(self) -> int:
        return FIRST_ATTACK + self.scenario.n_enemies


def rules_of(
    scenario: Scenario, table: Table, world: _smax_world.World, horizon: int, fidelity: str, opponent: str
) -> Rules:
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
    """What recharging needs to know of each unit with a shield: a pool that grows does not tell how by itself."""

    health: Float[Array, " r"]  # damage that takes what health is left
    calm: UInt8[Array, " r"]  # steps without damage, up to CALM_STEPS


class State(NamedTuple):
    """No more than a replay buffer must keep. Units are alive while their pool is above 0."""

    pos: Float[Array, "n 2"]
    pool: Float[Array, " n"]  # damage that takes shield and health
    cooldown: Float[Array, " n"]  # seconds, at least 0
    last_action: Int[Array, " agents"]  # the smallest signed integers that hold it; -1 at the start
    t: Int[Array, ""]  # steps taken
    unit_type: UInt8[Array, " n"] | None  # where types are random
    recharge: Recharge | None  # where shields recharge
    memory: enemies.Memory | None  # where the enemies are SMAX's own


class Force(NamedTuple):
    """The units as StarCraft II counts them."""

    pos: Float[Array, "n 2"]  # inside the map
    alive: Bool[Array, " n"]
    health: Float[Array, " n"]  # shares of the most, in [0, 1]
    shield: Float[Array, " n"]
    types: Int[Array, " n"] | np.ndarray
    points: Float[Array, " n"]  # health and shield


def reset(rules: Rules, key: jax.Array) -> State:
    scenario, world = rules.scenario, rules.world
    with jax.numpy_rank_promotion("allow"):  # which SMAX makes use of
        start: Any = world.reset(key)[1]
    smallest = jnp.int8 if rules.n_actions <= 128 else jnp.int16
    recharge = None
    if rules.shielded.size:
        health = (start.unit_health - jnp.array(units.SHIELD, jnp.float32)[start.unit_types])[rules.shielded]
        recharge = Recharge(health, jnp.zeros(len(rules.shielded), jnp.uint8))
    return State(
        pos=start.unit_positions,
        pool=start.unit_health,
        cooldown=start.unit_weapon_cooldowns,
        last_action=jnp.full(scenario.n_allies, -1, smallest),
        t=jnp.int32(0),
        unit_type=start.unit_types if scenario.random_types else None,
        recharge=recharge,
        memory=enemies.no_memory(scenario.n_enemies) if rules.opponent == "heuristic" else None,
    )


def step(rules: Rules, key: jax.Array, state: State, actions: Int[Array, " agents"]) -> Step:
    """SMAC counts a battle in which both sides die at once as ended and as nobody's win."""
    moved = _fight(rules, key, state, actions)
    moved = moved._replace(last_action=actions.astype(state.last_action.dtype), t=state.t + 1)
    before, after = force(rules, state), force(rules, moved)
    team = slice(rules.scenario.n_allies, None)
    damage = (before.points - after.points)[team].sum()
    kills = (before.alive & ~after.alive)[team].sum()
    is_won = won(rules, moved)
    # SMAC takes the absolute value, and so pays for shields of enemies that recharge.
    reward = jnp.abs(damage + KILL_REWARD * kills) + WIN_REWARD * is_won
    ended = ~after.alive[: rules.scenario.n_allies].any() | ~after.alive[team].any()
    return Step(moved, reward * MAX_RETURN / most(rules, before), ended, moved.t >= rules.horizon)


def won(rules: Rules, state: State) -> Bool[Array, ""]:
    """All enemies are dead, and not all allies: SMAC's battle_won."""
    alive, n = state.pool > 0, rules.scenario.n_allies
    return alive[:n].any() & ~alive[n:].any()


def most(rules: Rules, now: Force) -> Float[Array, ""]:
    """The most points of reward that the enemies are worth together."""
    n, table = rules.scenario.n_allies, rules.table
    worth = jnp.array(table.points + units.SHIELD[: len(table.points)] + KILL_REWARD, jnp.float32)
    return worth[now.types[n:]].sum() + WIN_REWARD


def force(rules: Rules, state: State) -> Force:
    """Shields absorb first: the pool without them is what health is left, and all of a pool beyond that is shield."""
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
        pos=jnp.clip(state.pos, 0.0, units.MAP_SIZE),  # a push may put a unit beyond the wall until it moves again
        alive=state.pool > 0,
        health=share,
        shield=jnp.where(most_shield > 0, shield / jnp.maximum(most_shield, 1.0), 0.0),
        types=types,
        points=share * row(table.points) + shield,
    )


def _fight(rules: Rules, key: jax.Array, state: State, actions: Int[Array, " agents"]) -> State:
    """A step of the world. Keys are split as JaxMARL's `EnemySMAX.step_env` splits them."""
    world = rules.world
    before = _smax_state(rules, state)
    key, key_enemy = jax.random.split(key)
    ordered = jnp.where(actions < FIRST_ATTACK, jnp.array(SMAX_ACTIONS)[actions], actions - 1)
    memory, enemy_actions = state.memory, jnp.full(rules.scenario.n_enemies, enemies.STAY)
    if memory is not None:
        enemy_actions, memory = enemies.heuristic(world, key_enemy, memory, before)
    with jax.numpy_rank_promotion("allow"):  # which SMAX makes use of
        decoded = world._decode_discrete_actions(jnp.concatenate([ordered, enemy_actions]))
        after: Any = world.step_env_no_decode(key, before, decoded)[1]
    moved = state._replace(
        pos=after.unit_positions,
        pool=after.unit_health,
        cooldown=jnp.maximum(after.unit_weapon_cooldowns, 0.0),  # SMAX counts on below 0, and asks only for the sign
        memory=memory,
    )
    return moved if state.recharge is None else _recharge(rules, state, moved, state.recharge)


def _smax_state(rules: Rules, state: State) -> SmaxState:
    world, n = rules.world, rules.world.num_agents
    return SmaxState(
        unit_positions=state.pos,
        unit_alive=state.pool > 0,
        unit_teams=world.teams.astype(jnp.float32),
        unit_health=state.pool,
        unit_types=jnp.array(rules.scenario.types, jnp.uint8) if state.unit_type is None else state.unit_type,
        unit_weapon_cooldowns=state.cooldown,
        prev_movement_actions=jnp.zeros((n, 2)),
        prev_attack_actions=jnp.zeros(n, jnp.int32),
        step=state.t,
        done=jnp.bool_(False),
    )


def _recharge(rules: Rules, state: State, moved: State, recharge: Recharge) -> State:
    """Shields grow from the end of the step in which it was 20 steps since the last damage."""
    who = rules.shielded
    before, after = state.pool[who], moved.pool[who]
    health = jnp.minimum(recharge.health, after)
    calm = jnp.where(after < before, 0, jnp.minimum(recharge.calm + 1, CALM_STEPS)).astype(jnp.uint8)
    types = np.array(rules.scenario.types) if state.unit_type is None else state.unit_type
    most_shield = jnp.array(units.SHIELD, jnp.float32)[types[who]]
    full = jnp.minimum(after + RECHARGE, health + most_shield)
    grows = (calm >= CALM_STEPS) & (after > 0)
    pool = moved.pool.at[who].set(jnp.where(grows, full, after))
    return moved._replace(pool=pool, recharge=Recharge(health, calm))
