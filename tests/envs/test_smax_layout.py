"""Observations, states, available actions and rewards against SMAC's rules, written out in NumPy unit by unit."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_envs import make
from qllm_envs._smax.state import Recharge
from qllm_envs.layout import flat_state

TASKS = [("3s_vs_5z", "smac"), ("3s_vs_5z", "smax"), ("2c_vs_64zg", "smac"), ("3s5z", "smac"), ("3m", "smax")]
SIZES = {"3s_vs_5z": (48, 68, 11), "2c_vs_64zg": (332, 342, 70), "3s5z": (128, 216, 14), "3m": (30, 48, 9)}
SHIELD = {"marine": 0, "stalker": 80, "zealot": 50, "zergling": 0, "colossus": 150}
HEALTH = {"marine": 45, "stalker": 80, "zealot": 100, "zergling": 35, "colossus": 200}
LOOPS = {"marine": 15, "stalker": 35, "zealot": 22, "zergling": 11, "colossus": 24}
# Hits that do d to health with armor a are d / (d - a) times as many points of a pool without armor. In 3s5z, stalkers
# and zealots fight 3 stalkers and 5 zealots: hits of 18 or 13 of a stalker, of 8 of a zealot.
ARMOR = {
    "3s_vs_5z": {"stalker": 8 / 7, "zealot": 13 / 12},
    "2c_vs_64zg": {"colossus": 5 / 4, "zergling": 1},
    "3s5z": {"stalker": (3 * 18 / 17 + 5 * 8 / 7) / 8, "zealot": (3 * 13 / 12 + 5 * 8 / 7) / 8},
}
TEAMS = {
    "3s_vs_5z": (["stalker"] * 3, ["zealot"] * 5),
    "2c_vs_64zg": (["colossus"] * 2, ["zergling"] * 64),
    "3s5z": (["stalker"] * 3 + ["zealot"] * 5,) * 2,
    "3m": (["marine"] * 3,) * 2,
}


class Unit(NamedTuple):
    """A unit as StarCraft II shows it to SMAC."""

    kind: str
    x: float
    y: float
    health: float
    shield: float
    cooldown: float  # game loops


@functools.cache
def task(scenario, fidelity):
    env = make("smax", scenario=scenario, fidelity=fidelity)
    return env._replace(view=jax.jit(env.view), step=jax.jit(env.step), reset=jax.jit(env.reset))


def random_battle(scenario, fidelity, seed):
    """A state of ours, and its allies and enemies, a third of which are dead and a third without a shield."""
    rng, env = np.random.default_rng(seed), task(scenario, fidelity)
    kinds = [kind for team in TEAMS[scenario] for kind in team]
    tick = 1 / 22.4 if fidelity == "smac" else 1 / 16
    ratio = np.array([ARMOR[scenario][kind] if fidelity == "smac" else 1 for kind in kinds])
    fate = rng.integers(0, 3, len(kinds))
    fate[0] = 1
    health = np.where(fate == 0, 0, rng.uniform(1, [HEALTH[kind] for kind in kinds]))
    shield = np.where(fate == 1, rng.uniform(0, [SHIELD[kind] for kind in kinds]), 0)
    full = np.array([HEALTH[kind] for kind in kinds])
    # With a pool alone, as in SMAX, whoever has a shield has all of its health.
    health = np.where((fate == 1) & (shield > 0) & (fidelity == "smax"), full, health)
    pos = rng.uniform(8, 24, (len(kinds), 2)) if seed % 2 else rng.uniform(0, 32, (len(kinds), 2))
    loops = rng.uniform(0, 10, len(kinds))
    state: Any = env.reset(jax.random.key(seed))
    recharging = [i for i, kind in enumerate(kinds) if SHIELD[kind]]
    recharge = Recharge(f32((health * ratio)[recharging]), jnp.zeros(len(recharging), jnp.uint8))
    last = rng.integers(-1, env.spec.n_actions, env.spec.n_agents)
    state = state._replace(
        pos=f32(pos),
        pool=f32(health * ratio + shield),
        cooldown=f32(loops * tick),
        last_action=jnp.asarray(last, state.last_action.dtype),
        recharge=recharge if fidelity == "smac" and recharging else None,
    )
    rows = zip(kinds, pos[:, 0], pos[:, 1], health, shield, loops, strict=True)
    units = [Unit(*row) for row in rows]
    return state, units[: env.spec.n_agents], units[env.spec.n_agents :], last


def f32(array):
    return jnp.asarray(array, jnp.float32)


def distance(a, b):
    return np.hypot(a.x - b.x, a.y - b.y)


def avail_of(me, enemies):
    if me.health <= 0:
        return [1] + [0] * (5 + len(enemies))
    north_south_east_west = [me.y + 1 < 32, me.y - 1 >= 0, me.x + 1 < 32, me.x - 1 >= 0]
    shots = [enemy.health > 0 and distance(me, enemy) <= 6 for enemy in enemies]
    return [0, 1, *map(int, north_south_east_west), *map(int, shots)]


def condition(unit, team, bits):
    """Health, shield if the team's race has any, type if there are several."""
    parts = [unit.health / HEALTH[unit.kind]]
    if any(SHIELD[member.kind] for member in team):
        parts.append(unit.shield / SHIELD[unit.kind])
    return parts + [float(unit.kind == kind) for kind in bits]


def obs_of(i, allies, enemies, bits):
    me, sizes = allies[i], (len(condition(allies[0], allies, bits)), len(condition(enemies[0], enemies, bits)))
    if me.health <= 0:
        return [0.0] * (4 + len(enemies) * (4 + sizes[1]) + (len(allies) - 1) * (4 + sizes[0]) + sizes[0])
    can = avail_of(me, enemies)
    obs = [float(can[action]) for action in (2, 3, 4, 5)]
    for k, enemy in enumerate(enemies):
        seen = enemy.health > 0 and distance(me, enemy) < 9
        place = [can[6 + k], distance(me, enemy) / 9, (enemy.x - me.x) / 9, (enemy.y - me.y) / 9]
        obs += [*place, *condition(enemy, enemies, bits)] if seen else [0.0] * (4 + sizes[1])
    for j, ally in enumerate(allies):
        if j != i:
            seen = ally.health > 0 and distance(me, ally) < 9
            place = [1, distance(me, ally) / 9, (ally.x - me.x) / 9, (ally.y - me.y) / 9]
            obs += [*place, *condition(ally, allies, bits)] if seen else [0.0] * (4 + sizes[0])
    return obs + condition(me, allies, bits)


def state_of(allies, enemies, last, bits):
    state = []
    for ally in allies:
        whole, *rest = condition(ally, allies, bits)
        row = [whole, ally.cooldown / LOOPS[ally.kind], (ally.x - 16) / 28, (ally.y - 16) / 28, *rest]
        state += row if ally.health > 0 else [0.0] * len(row)
    for enemy in enemies:
        whole, *rest = condition(enemy, enemies, bits)
        row = [whole, (enemy.x - 16) / 28, (enemy.y - 16) / 28, *rest]
        state += row if enemy.health > 0 else [0.0] * len(row)
    for action in last:
        state += [float(action == a) for a in range(6 + len(enemies))]
    return state


@pytest.mark.parametrize(("scenario", "fidelity"), TASKS)
def test_observation_state_and_availability_are_smacs(scenario, fidelity):
    env, bits = task(scenario, fidelity), ["stalker", "zealot"] if scenario == "3s5z" else []
    assert (env.spec.obs_dim, env.spec.state_dim, env.spec.n_actions) == SIZES[scenario]
    for seed in range(6):
        state, allies, enemies, last = random_battle(scenario, fidelity, seed)
        view = env.view(state)
        np.testing.assert_array_equal(view.avail, [avail_of(ally, enemies) for ally in allies])
        wanted = [obs_of(i, allies, enemies, bits) for i in range(len(allies))]
        np.testing.assert_allclose(view.obs, wanted, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(view.state, state_of(allies, enemies, last, bits), rtol=1e-4, atol=1e-5)
        declared = flat_state(env.spec.state_layout, view.fields)
        np.testing.assert_allclose(declared, view.state, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("scenario", "fidelity"), TASKS)
def test_fields_name_what_the_state_holds(scenario, fidelity):
    env = task(scenario, fidelity)
    state, allies, enemies, last = random_battle(scenario, fidelity, seed=3)
    fields = env.view(state).fields
    for name, team in (("agent", allies), ("enemy", enemies)):
        alive = np.array([unit.health > 0 for unit in team])
        pos = np.array([[unit.x, unit.y] for unit in team]) * alive[:, None]
        np.testing.assert_allclose(fields[f"{name}_pos"], pos, rtol=1e-5)
        np.testing.assert_array_equal(fields[f"{name}_alive"], alive)
        condition_of = np.array([condition(unit, team, []) for unit in team])
        np.testing.assert_allclose(fields[f"{name}_health"], condition_of[:, 0], rtol=1e-4)
        assert (f"{name}_shield" in fields) == (condition_of.shape[1] == 2)
        if f"{name}_shield" in fields:
            np.testing.assert_allclose(fields[f"{name}_shield"], condition_of[:, 1], rtol=1e-4, atol=1e-5)
        assert (f"{name}_type" in fields) == (scenario == "3s5z")
    cooldown = [unit.cooldown / LOOPS[unit.kind] * (unit.health > 0) for unit in allies]
    np.testing.assert_allclose(fields["agent_cooldown"], cooldown, rtol=1e-4)
    np.testing.assert_array_equal(fields["last_action"], last)
    if scenario == "3s5z":
        np.testing.assert_array_equal(fields["enemy_type"], [0] * 3 + [1] * 5)


def test_the_reward_is_damage_kills_and_victory_on_smacs_scale():
    """Three stalkers shoot at zealots of which some are about to die; numbers by hand from SMAC's `reward_battle`."""
    env = task("3s_vs_5z", "smac")
    state: Any = env.reset(jax.random.key(0))
    # Agents 2 apart, each in reach of each zealot, and out of theirs. A shot does 13 to a shield and 12 to health.
    pos = f32([[10, 14], [10, 16], [10, 18], [15, 15], [15, 16], [15, 17], [15, 14], [15, 18]])
    state = state._replace(pos=pos)
    stop = jnp.ones(3, jnp.int32)
    assert float(env.step(jax.random.key(0), state, stop).reward) == 0
    shot = env.step(jax.random.key(0), state, stop.at[0].set(6))
    np.testing.assert_allclose(shot.reward, 13 * 20 / 1000, rtol=1e-4)
    assert env.won is not None
    assert not env.won(shot.state)
    # No shield, 10 points of health: a hit of 12 takes 10, and the kill pays 10.
    weak = state.recharge._replace(health=state.recharge.health.at[3].set(10 * 13 / 12))
    hurt = state._replace(pool=state.pool.at[3].set(10 * 13 / 12), recharge=weak)
    killed = env.step(jax.random.key(0), hurt, stop.at[0].set(6))
    np.testing.assert_allclose(killed.reward, (10 + 10) * 20 / 1000, rtol=1e-4)
    assert not killed.terminated
    last = hurt._replace(pool=hurt.pool.at[4:].set(0.0), recharge=weak._replace(health=weak.health.at[4:].set(0.0)))
    won = env.step(jax.random.key(0), last, stop.at[0].set(6))
    np.testing.assert_allclose(won.reward, (10 + 10 + 200) * 20 / 1000, rtol=1e-4)
    assert won.terminated
    assert env.won(won.state)


def test_a_shield_that_recharges_pays_as_in_smac_where_the_absolute_value_is_taken():
    env = task("3s_vs_5z", "smac")
    state: Any = env.reset(jax.random.key(0))
    calm = state.recharge._replace(calm=jnp.full(8, 19, jnp.uint8))
    hurt = state._replace(pool=state.pool.at[3:5].add(-20.0).at[0].add(-20.0), recharge=calm)
    step = env.step(jax.random.key(0), hurt, jnp.ones(3, jnp.int32))
    np.testing.assert_allclose(step.state.pool - hurt.pool, [1, 0, 0, 1, 1, 0, 0, 0], atol=1e-4)
    np.testing.assert_allclose(step.reward, 2 * 20 / 1000, rtol=1e-4)


def test_an_agent_that_dies_pays_nothing():
    env, f32 = make("smax", scenario="3s_vs_5z"), lambda x: jnp.asarray(x, jnp.float32)
    state: Any = jax.jit(env.reset)(jax.random.key(0))
    pos = f32([[10, 14], [1, 1], [1, 5], [10, 15.2], [31, 31], [31, 28], [31, 25], [31, 22]])
    health = state.recharge.health.at[0].set(1.0)
    state = state._replace(pos=pos, pool=state.pool.at[0].set(1.0), recharge=state.recharge._replace(health=health))
    step = jax.jit(env.step)(jax.random.key(0), state, jnp.ones(3, jnp.int32))
    assert step.state.pool[0] == 0
    assert float(step.reward) == 0
