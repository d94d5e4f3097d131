"""A battle under SMAC's rules: actions, reward, end, and what is known of each unit. n units, N allies, E enemies.

SMAC is oxwhirl/smac (Samvelyan et al. 2019, arxiv.org/abs/1902.04043), smac/env/starcraft2/starcraft2.py.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from qllm_envs._jaxmarl.package import SmaxState
from qllm_envs._smax import enemies, units
from qllm_envs._smax.state import (
    CALM_STEPS,
    FIRST_ATTACK,
    KILL_REWARD,
    WIN_REWARD,
    Recharge,
    Rules,
    State,
    force,
    most,
    over,
    won,
)
from qllm_envs.core import Step

ACTION_NAMES = ("no-op", "stop", "north", "south", "east", "west")
SMAX_ACTIONS = (4, 4, 0, 2, 1, 3)  # no-op and stop are one to SMAX; its attacks start one lower
MAX_RETURN = 20.0  # of a victory over enemies whose shields never grew
RECHARGE = 1.0  # shield points of a step: 1 / 8 a game loop


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


def notable(rules: Rules, key: jax.Array) -> dict[str, State]:
    """Return states of a battle near its end, as `Env.notable`."""
    start, n = reset(rules, key), rules.scenario.n_allies
    total = start.pool.shape[0]

    def left(allies: int, enemies: int, share: float) -> State:
        """The first of either team are left with a share of their points."""
        unit = np.arange(total)
        factor = jnp.array(np.where(np.where(unit < n, unit < allies, unit - n < enemies), share, 0.0), jnp.float32)
        kept = start.recharge
        if kept is not None:
            kept = kept._replace(health=kept.health * factor[rules.shielded])
        return start._replace(pool=start.pool * factor, recharge=kept)

    center = start.pos.mean(0, keepdims=True)
    return {
        "in which every enemy is dead": left(n, 0, 0.5),
        "in which every enemy is dead and one agent is left": left(1, 0, 0.1),
        "in which one enemy is left, nearly dead": left(n, 1, 0.05),
        "in which one agent is left": left(1, total - n, 0.2),
        "in which every agent is dead": left(0, total - n, 1.0),
        "in which all units crowd in one place": start._replace(pos=center + 0.01 * (start.pos - center)),
    }


def step(rules: Rules, key: jax.Array, state: State, actions: Int[Array, " agents"]) -> Step:
    """A battle in which both sides die at once is over and nobody's win, as in SMAC; one that is over stands still."""
    goes_on = ~over(rules, state)
    moved = _fight_once(rules, key, state, actions, goes_on)
    moved = moved._replace(last_action=actions.astype(state.last_action.dtype), t=state.t + 1)
    before, after = force(rules, state), force(rules, moved)
    team = slice(rules.scenario.n_allies, None)
    damage = (before.points - after.points)[team].sum()
    kills = (before.alive & ~after.alive)[team].sum()
    # SMAC takes the absolute value, and so pays for shields of enemies that recharge.
    points = jnp.abs(damage + KILL_REWARD * kills) + WIN_REWARD * (goes_on & won(rules, moved))
    return Step(moved, points * MAX_RETURN / most(rules, before), over(rules, moved), moved.t >= rules.horizon)


def _fight_once(
    rules: Rules, key: jax.Array, state: State, actions: Int[Array, " agents"], goes_on: Bool[Array, ""]
) -> State:
    """A loop of one turn, or of none where the battle is over.

    Rollouts run to the horizon, long after most battles. Once all of a batch are over, no turn is left to pay for,
    where `cond` under vmap would go on computing both of its branches.
    """
    turn = lambda carry: (jnp.bool_(False), _fight(rules, key, carry[1], actions))
    return jax.lax.while_loop(lambda carry: carry[0], turn, (goes_on, state))[1]


def _fight(rules: Rules, key: jax.Array, state: State, actions: Int[Array, " agents"]) -> State:
    """A step of the world. Keys are split as JaxMARL's `EnemySMAX.step_env` splits them."""
    world = rules.world
    before = smax_state(rules, state)
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


def smax_state(rules: Rules, state: State) -> SmaxState:
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
