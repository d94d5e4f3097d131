"""The credit function for battles: fair shares of the living that follow the agents, and numbers made by hand."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qllm_envs
from qllm_jax.tfcaf import load


@cache
def spec(scenario: str):
    return qllm_envs.make("smax", scenario=scenario).spec


@cache
def credit(scenario: str):
    return jax.jit(jax.vmap(load("smax", spec(scenario)).credit))


@pytest.mark.parametrize("scenario", ["3s_vs_5z", "2c_vs_64zg", "3s5z", "27m_vs_30m", "smacv2_5_units"])
def test_weights_are_a_fair_share_of_the_living_in_any_state(scenario: str):
    fields, rng, n = spec(scenario).fields, np.random.default_rng(0), spec(scenario).n_agents
    state = {name: rng.uniform(field.low, field.high, (64, *field.shape)) for name, field in fields.items()}
    for name in ("agent_alive", "enemy_alive"):
        state[name] = np.round(state[name])
    state["agent_alive"][:4] = [[0.0], [1.0], [0.0], [1.0]]  # nobody and everybody, against nobody and everybody
    state["enemy_alive"][:4] = [[0.0], [0.0], [1.0], [1.0]]
    weigh = lambda state: credit(scenario)({k: jnp.float32(v) for k, v in state.items()}, jnp.zeros((64, 1)))
    weights, bias = (np.asarray(part) for part in weigh(state))
    assert load("smax", spec(scenario)).igm
    assert not bias.any()
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-5)
    alive = state["agent_alive"] > 0
    living = alive.sum(-1, keepdims=True)
    assert (np.where(alive, weights - 0.5 / np.maximum(living, 1), 0.0) >= -1e-6).all()
    assert (weights[~alive & (living > 0)] == 0).all()
    np.testing.assert_allclose(weights[0], 1 / n, rtol=1e-6)
    ally, enemy = rng.permutation(n), rng.permutation(*fields["enemy_alive"].shape)
    order = lambda name: enemy if name.startswith("enemy") else ally
    shuffled = {name: field[:, order(name)] for name, field in state.items()}
    np.testing.assert_allclose(weigh(shuffled)[0], weights[:, ally], atol=1e-5)


def stalkers(places: list[list[float]], cooldown: list[float], alive: list[float], enemies: list[list[float]]):
    """Weights of 3 stalkers against as many zealots as there are places in `enemies`."""
    fields = {name: np.zeros((1, *field.shape), np.float32) for name, field in spec("3s_vs_5z").fields.items()}
    fields["agent_pos"][0], fields["agent_cooldown"][0], fields["agent_alive"][0] = places, cooldown, alive
    fields["enemy_pos"][0, : len(enemies)], fields["enemy_alive"][0, : len(enemies)] = enemies, 1.0
    weights, _ = credit("3s_vs_5z")({k: jnp.asarray(v) for k, v in fields.items()}, jnp.zeros((1, 1)))
    return np.asarray(weights[0])


def test_weights_by_hand():
    e = np.e
    # All within reach of 6, at distances 5, 1 and 6: the same to whoever may attack. Dead enemies at (0, 0) are nobody.
    near = [[15.0, 10.0], [11.0, 10.0], [10.0, 16.0]]
    np.testing.assert_allclose(stalkers(near, [0, 0, 0], [1, 1, 1], [[10, 10]]), [1 / 3] * 3, rtol=1e-6)
    # A full cooldown divides by e, and so do 3 units beyond reach. The nearest enemy counts.
    far = [[15.0, 10.0], [11.0, 10.0], [10.0, 19.0]]
    expected = 1 / 6 + 0.5 * np.array([1, 1 / e, 1 / e]) / (1 + 2 / e)
    np.testing.assert_allclose(stalkers(far, [0, 1, 0], [1, 1, 1], [[31, 10], [10, 10]]), expected, rtol=1e-6)
    # A dead agent at (0, 0), beside an enemy, has no share of anything.
    fallen = [[5.0, 0.0], [0.0, 0.0], [0.0, 9.0]]
    expected = [0.25 + 0.5 * e / (1 + e), 0, 0.25 + 0.5 / (1 + e)]
    np.testing.assert_allclose(stalkers(fallen, [0, 0, 0], [1, 0, 1], [[0, 0]]), expected, rtol=1e-6)


def test_order_of_weights_in_a_battle():
    # Ready beside an enemy, cooling beside it, ready on the other side of the map, dead: in this order.
    ready, cooling, away = stalkers([[10, 10], [12, 10], [30, 30]], [0.0, 0.8, 0.0], [1, 1, 1], [[11, 11]])
    assert ready > cooling > away > 1 / 6
