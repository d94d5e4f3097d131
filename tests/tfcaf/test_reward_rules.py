"""Rules by hand of reward credit pay who earned it: the agents that deliver, and those that crashed."""

import jax
import jax.numpy as jnp
import numpy as np
import rware_play

from qllm_envs import make
from qllm_envs._couriers.game import DELIVERED, NONE
from qllm_envs._rware.game import advance
from qllm_jax.tfcaf import find, reward_from_source


def rule(name, spec):
    """Return credit of shape (N,), without the axis of factors."""
    found = find(name, "reward")
    factors = reward_from_source(found.text, found.file, spec).credit
    return lambda *step: factors(*step)[:, 0]


def test_the_rule_of_the_warehouse_pays_each_agent_what_rware_pays_it():
    options = rware_play.KEPT | {"reward_type": "individual"}
    env, turns = make("rware", **options), rware_play.kept()
    rules, credit = rware_play.rules_of(env), rule("rware_by_rule", env.spec)

    @jax.jit
    @jax.vmap
    def both(state, actions, nth):
        state_tp1, own = advance(rules, state, actions, jnp.full(len(rules.floor.goals), nth))
        return own, credit(env.view(state).fields, actions, own.sum(), env.view(state_tp1).fields)

    own, given = both(turns.state, turns.actions.astype(np.int32), turns.nth)
    assert (own.sum(1) > 1).any()
    np.testing.assert_allclose(given, own)


def test_the_rule_of_couriers_pays_deliveries_to_carriers_and_crashes_to_those_that_crashed():
    env = make("couriers", n_agents=3, rows=4, cols=4, n_parcels=3, n_hazards=1, crash_ends=False)
    credit = rule("couriers_by_rule", env.spec)

    def turn(state, key):
        key_act, key_env = jax.random.split(key)
        actions = jax.random.randint(key_act, (3,), 0, 5)
        out = env.step(key_env, state, actions)
        given = credit(env.view(state).fields, actions, out.reward, env.view(out.state).fields)
        return out.state, (state, out.state, given)

    @jax.jit
    @jax.vmap
    def play(key):
        key_reset, key_turns = jax.random.split(key)
        return jax.lax.scan(turn, env.reset(key_reset), jax.random.split(key_turns, 40))[1]

    state, state_tp1, given = jax.tree.map(np.asarray, play(jax.random.split(jax.random.key(0), 32)))
    delivers = (state.carrying != NONE) & (state_tp1.carrying == NONE)  # nothing else empties a hand
    assert delivers.sum() == ((state_tp1.parcel_state == DELIVERED) & (state.parcel_state != DELIVERED)).sum() > 0
    np.testing.assert_allclose(given, delivers / 3 - 0.25 * state_tp1.crashed, atol=1e-6)
