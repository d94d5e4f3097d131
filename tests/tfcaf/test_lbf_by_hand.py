"""The credit function for foraging written by hand: fair shares that follow the agents, and numbers made by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qllm_envs
from qllm_jax.tfcaf import load


@pytest.mark.thorough
@pytest.mark.parametrize(("n_agents", "n_foods"), [(1, 1), (2, 3), (4, 3), (9, 2)])
def test_weights_are_a_fair_share_in_any_state(n_agents, n_foods):
    env = qllm_envs.make("lbf", n_agents=n_agents, n_foods=n_foods)
    function = load("lbf_by_hand", env.spec)
    order = np.random.default_rng(0).permutation(n_agents)
    view = jax.jit(jax.vmap(lambda key: env.view(env.reset(key))))(jax.random.split(jax.random.key(0), 16))
    credit = jax.jit(jax.vmap(function.credit))
    weights, bias = credit(view.fields, view.state)
    assert function.igm
    assert not bias.any()
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-5)
    assert (weights >= 0.5 / n_agents - 1e-6).all()
    shuffled = {name: field if "food" in name else field[:, order] for name, field in view.fields.items()}
    np.testing.assert_allclose(credit(shuffled, view.state)[0], weights[:, order], atol=1e-5)


def weights_of(agent_pos, agent_level, food_pos, food_level):
    spec = qllm_envs.make("lbf", n_agents=2, n_foods=2).spec
    fields = {"agent_pos": agent_pos, "agent_level": agent_level, "food_pos": food_pos, "food_level": food_level}
    fields = {name: jnp.array(field) for name, field in fields.items()} | {"last_action": jnp.array([-1, -1])}
    return load("lbf_by_hand", spec).credit(fields, jnp.zeros(spec.state_dim))[0]


def test_weights_by_hand():
    # A step from food 0 of level 3, which both are equally far from; level 2 counts twice. Food 1 is gone.
    weights = weights_of([[2, 2], [2, 4]], [2, 1], [[2, 3], [-1, -1]], [3, 0])
    np.testing.assert_allclose(weights, [0.25 + 0.5 * 2 / 3, 0.25 + 0.5 / 3], rtol=1e-6)
    # Agent 0 is 2 steps nearer to either food, which is worth a factor of e.
    weights = weights_of([[3, 3], [3, 5]], [1, 1], [[3, 1], [5, 1]], [1, 2])
    near = np.e / (1 + np.e)
    np.testing.assert_allclose(weights, [0.25 + 0.5 * near, 0.75 - 0.5 * near], rtol=1e-6)


def test_weights_are_equal_when_no_food_is_left():
    weights = weights_of([[2, 2], [7, 7]], [2, 1], [[-1, -1], [-1, -1]], [0, 0])
    assert weights.tolist() == [0.5, 0.5]
