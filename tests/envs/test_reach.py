"""Declared ranges hold in reach: the wildest teams stay inside, and so do the states that good play reaches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qllm_envs
from qllm_envs.core import Env

EPISODES = 20


def towards(delta: jax.Array) -> jax.Array:
    """Actions (N,) of the particle world that go along the longer axis of `delta` (N, 2)."""
    x, y = delta[:, 0], delta[:, 1]
    return jnp.where(jnp.abs(x) > jnp.abs(y), jnp.where(x > 0, 2, 1), jnp.where(y > 0, 4, 3))


def wild(fields: dict, t: jax.Array, key: jax.Array, kind: jax.Array) -> jax.Array:
    """Actions of a wild team: random, all one way, crowding and then away, or all after agent 0, which flees."""
    pos = fields["agent_pos"]
    n = len(pos)
    one_way = jnp.full(n, 4)
    crowd = jnp.where(t < 10, towards(pos.mean(0, keepdims=True) - pos), towards(pos))
    chase = towards(pos[:1] - pos).at[0].set(4)
    return jnp.stack([jax.random.randint(key, (n,), 0, 5), one_way, crowd, chase])[kind]


def reached(env: Env) -> dict[str, np.ndarray]:
    """Values of each field in episodes of each wild team."""

    def episode(key: jax.Array, kind: jax.Array) -> dict:
        def step(carry: tuple, key: jax.Array) -> tuple:
            state, t = carry
            fields = env.view(state).fields
            state = env.step(key, state, wild(fields, t, key, kind).astype(jnp.int32)).state
            return (state, t + 1), env.view(state).fields

        return jax.lax.scan(step, (env.reset(key), jnp.int32(0)), jax.random.split(key, env.spec.horizon))[1]

    keys = jax.random.split(jax.random.key(3), 4 * EPISODES)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(episode))(keys, jnp.arange(len(keys)) % 4))


@pytest.mark.parametrize(("name", "n_agents"), [("mpe_spread", 3), ("mpe_spread", 25), ("mpe_tag", 3)])
def test_the_wildest_teams_stay_inside_of_the_declared_ranges(name: str, n_agents: int):
    env = qllm_envs.make(name, n_agents=n_agents)
    for field, values in reached(env).items():
        declared = env.spec.fields[field]
        assert declared.low <= values.min() <= values.max() <= declared.high, field


@pytest.mark.parametrize(
    ("name", "given"),
    [
        *((name, {}) for name in ("lbf", "matrix", "mpe_adversary", "mpe_spread", "mpe_tag", "spectators")),
        *((name, {}) for name in ("duty", "relay", "modes", "couriers")),
        ("duty", {"active": 3, "sees": True}),
        ("relay", {"delay": 0}),
        ("relay", {"sees": True, "actions": 1}),
        ("modes", {"rare": 1.0}),
    ],
)
def test_states_of_good_play_are_in_the_declared_ranges(name: str, given: dict):
    env = qllm_envs.make(name, **given)
    assert env.notable is not None
    found = env.notable(jax.random.key(0))
    assert all(phrase.startswith(("in which ", "after ")) for phrase in found)
    for phrase, state in found.items():
        for field, values in env.view(state).fields.items():
            declared = env.spec.fields[field]
            assert np.isfinite([declared.low, declared.high]).all(), field
            assert (values >= declared.low - 1e-6).all(), (phrase, field)
            assert (values <= declared.high + 1e-6).all(), (phrase, field)


def test_good_play_of_relay_is_paid_and_its_answers_show():
    env = qllm_envs.make("relay", n_agents=4)
    assert env.notable is not None
    found = env.notable(jax.random.key(0))
    wait = jnp.full(4, 8)
    paid = {phrase: env.step(jax.random.key(1), state, wait).reward for phrase, state in found.items()}
    assert paid.pop("in which all agents on duty gave the right answer, and are paid") == 1.0
    assert not any(paid.values())
    state, right = found["after all agents on duty gave the right answer"], None
    for _ in range(3):
        right = env.step(jax.random.key(1), state, wait)
        state = right.state
    assert right is not None
    assert right.reward == 1.0


def test_notable_draws_keep_the_numbers_on_duty():
    env = qllm_envs.make("duty", n_agents=5, active=2)
    assert env.notable is not None
    assert all(state.on_duty.sum() == 2 for state in env.notable(jax.random.key(0)).values())


def test_good_play_of_tag_is_paid_as_it_says():
    env, idle = qllm_envs.make("mpe_tag", opponent="still", horizon=9), jnp.zeros(3, jnp.int32)
    assert env.notable is not None
    notable = env.notable

    @jax.jit
    def paid(key: jax.Array) -> dict[str, jax.Array]:
        return {phrase: env.step(key, state, idle).reward for phrase, state in notable(key).items()}

    found = paid(jax.random.key(0))
    assert found["in which every agent touches the prey"] == 90
    assert found["in which all agents stand where the prey is"] == 90
    assert found["in which one agent touches the prey"] == 30


def test_notable_states_of_adversary_have_at_the_goal_who_they_say():
    env = qllm_envs.make("mpe_adversary", n_agents=3, opponent="still")
    assert env.notable is not None
    found = jax.device_get(jax.jit(env.notable)(jax.random.key(2)))
    assert next(iter(found.values())).goal > 0
    for phrase, state in found.items():
        agents, adversary = (
            np.linalg.norm(pos - state.landmark_pos[state.goal], axis=-1) < 1e-6
            for pos in (state.agent_pos, state.adversary_pos)
        )
        there = {"every agent is": [True] * 3, "one agent is": [True, False, False]}
        wanted = next((who for words, who in there.items() if words in phrase), None)
        if wanted is not None:
            assert (agents.tolist(), bool(adversary)) == (wanted, False), phrase
        assert bool(adversary) == ("the adversary" in phrase), phrase


def test_good_play_of_foraging_stands_beside_the_last_food():
    env = qllm_envs.make("lbf", n_agents=4, n_foods=3, coop=True)
    assert env.notable is not None
    found = jax.device_get(jax.jit(env.notable)(jax.random.key(0)))
    beside = found["in which one food is left and every agent stands beside it"]
    assert (beside.food_level > 0).sum() == 1
    assert (np.abs(beside.agent_pos - beside.food_pos[beside.food_level.argmax()]).sum(-1) == 1).all()


def test_in_good_play_of_relay_an_agent_that_sees_that_it_is_off_duty_answers_0():
    env = qllm_envs.make("relay", n_agents=6, sees=True)
    assert env.notable is not None
    for phrase, state in jax.device_get(jax.jit(env.notable)(jax.random.key(0))).items():
        if (state.answer >= 0).any():
            assert not state.answer[~state.on_duty].any(), phrase
