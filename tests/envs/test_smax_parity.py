"""SMAX's rules as `smax` computes them equal JaxMARL's, step by step: physics, push, shots and SMAX's own enemies."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxmarl.environments.smax import HeuristicEnemySMAX
from jaxmarl.environments.smax.heuristic_enemy import HeuristicPolicyState
from jaxmarl.environments.smax.heuristic_enemy_smax_env import State as PeerState
from jaxmarl.environments.smax.smax_env import MAP_NAME_TO_SCENARIO, SMAX

from qllm_envs import make
from qllm_envs._smax import units
from qllm_envs._smax import world as worlds
from qllm_envs._smax.scenarios import TWO_COLOSSI

STEPS = 60
THEIR_NUMBERS = np.array([4, 4, 0, 2, 1, 3])  # of no-op, stop, north, south, east and west


def stock(scenario):
    """JaxMARL's environment: as it is, or with a unit and a map more, told by its own arguments."""
    if scenario in MAP_NAME_TO_SCENARIO:
        return HeuristicEnemySMAX(scenario=MAP_NAME_TO_SCENARIO[scenario], walls_cause_death=False)
    table = units.table(TWO_COLOSSI, "smax")
    return HeuristicEnemySMAX(**worlds.arguments(TWO_COLOSSI, table, 1 / 16, start=None))


def held(peer, state, types):
    """Our state as JaxMARL holds it."""
    game = peer.reset(jax.random.key(0))[1].state.replace(
        unit_positions=state.pos,
        unit_alive=state.pool > 0,
        unit_health=state.pool,
        unit_types=types,
        unit_weapon_cooldowns=state.cooldown,
        step=state.t,
    )
    memory = HeuristicPolicyState(state.memory.goal, state.memory.target.astype(jnp.int32))
    return PeerState(state=game, enemy_policy_state=memory)


@functools.cache
def duel(scenario):
    """Two games: whether they go on (2, T), and our and their state after each step, each from one state of ours."""
    env = make("smax", scenario=scenario, fidelity="smax", opponent="heuristic", splash=False)
    peer = stock(scenario)

    def turn(state, key):
        key_act, key_step = jax.random.split(key)
        avail = env.view(state).avail
        actions = jax.random.categorical(key_act, jnp.where(avail, 0.0, -jnp.inf)).astype(jnp.int32)
        named = {f"ally_{i}": jnp.where(a < 6, jnp.array(THEIR_NUMBERS)[a], a - 1) for i, a in enumerate(actions)}
        types = jnp.array(peer.scenario) if state.unit_type is None else state.unit_type
        after: Any = peer.step_env(key_step, held(peer, state, types), named)[1]
        step = env.step(key_step, state, actions)
        n, alive = env.spec.n_agents, state.pool > 0
        goes_on = alive[:n].any() & alive[n:].any()  # JaxMARL's units walk on after the end
        return step.state, (goes_on, step.state, (after.state, after.enemy_policy_state))

    def game(key):
        key_reset, key_turns = jax.random.split(key)
        return jax.lax.scan(turn, env.reset(key_reset), jax.random.split(key_turns, STEPS))[1]

    with jax.numpy_rank_promotion("allow"):  # theirs
        return jax.device_get(jax.jit(jax.vmap(game))(jax.random.split(jax.random.key(1), 2)))


@pytest.mark.parametrize(
    ("scenario", "atol"),
    [
        ("3s_vs_5z", 0),
        *(
            pytest.param(*each, marks=pytest.mark.thorough)
            for each in (("3s5z", 0), ("smacv2_5_units", 0), ("2c_vs_64zg", 1e-3))
        ),
    ],
)
def test_each_step_equals_jaxmarl(scenario, atol):
    # Programs of 66 units sum in another order, and zerglings that lie on top of each other amplify the rounding.
    goes_on, *played = duel(scenario)
    ours, (theirs, policy) = jax.tree.map(lambda leaf: leaf[goes_on], played)  # leaves (steps, ...)
    np.testing.assert_allclose(ours.pos, theirs.unit_positions, rtol=0, atol=atol)
    np.testing.assert_array_equal(ours.pool, theirs.unit_health)
    np.testing.assert_array_equal(ours.cooldown, np.maximum(theirs.unit_weapon_cooldowns, 0))
    np.testing.assert_array_equal(ours.memory.goal, policy.default_target)
    np.testing.assert_array_equal(ours.memory.target, policy.last_attacked_enemy)
    assert len(np.unique((ours.pool > 0).sum(-1))) > 2, "somebody must have been shot for this to mean something"
    assert goes_on.sum() > STEPS / 3
    assert len(np.unique(ours.memory.target)) > 2


@pytest.mark.thorough
def test_the_push_of_66_units_has_the_numbers_of_jaxmarl():
    world = worlds.make(TWO_COLOSSI, units.table(TWO_COLOSSI, "smax"), "smax", "heuristic", splash=False)
    state: Any = world.reset(jax.random.key(0))[1]
    crowd = 16 + 3 * jax.random.uniform(jax.random.key(1), (66, 2))
    state = state.replace(unit_positions=crowd, unit_alive=jnp.arange(66) % 7 > 0)
    with jax.numpy_rank_promotion("allow"):  # theirs
        wanted = SMAX._push_units_away(world, state)
    # Operation by operation: a compiler may sum either in its own order.
    pushed = world._push_units_away(state)
    np.testing.assert_array_equal(pushed.unit_positions, wanted.unit_positions)
    assert np.abs(pushed.unit_positions - crowd).max() > 0.5
