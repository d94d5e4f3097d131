"""Independent Q-learning: each agent's TD error by hand, and the team's reward learnt by each agent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learning import core_of, hp, train_on
from probes import probe

from qllm_jax import learners
from qllm_jax.core.types import Episode
from qllm_jax.errors import UserError
from qllm_jax.learners.iql import values_and_returns
from qllm_jax.program import compiled


def test_each_agent_has_a_target_of_its_own():
    env = probe(2, None, lambda state, actions: 0.0, avail=(True, True, False))
    slots = jax.tree.map(lambda x: jnp.stack([x] * 3), env.reset(jax.random.key(0)))
    view = jax.vmap(env.view)(slots)
    q = jnp.array([[[1.0, 2.0, 9.0], [4.0, 3.0, 9.0]]] * 3)  # (slots, agents, actions); best: 1 and 0
    target_q = jnp.array([[[10.0, 20.0, 30.0], [40.0, 50.0, 60.0]]] * 3)
    terminated = jnp.array([False, True])
    episode = Episode(slots, jnp.array([[0, 2], [1, 1]]), jnp.array([1.0, 2.0]), terminated, jnp.ones(2))
    value, returns = values_and_returns(q, target_q, view, episode, hp(gamma=0.5))
    np.testing.assert_array_equal(value, [[1.0, 9.0], [2.0, 3.0]])
    np.testing.assert_array_equal(returns, [[1.0 + 0.5 * 20.0, 1.0 + 0.5 * 40.0], [2.0, 2.0]])
    credited = episode._replace(credit_t=jnp.array([[3.0, 5.0], [7.0, 0.0]]))
    _, returns = values_and_returns(q, target_q, view, credited, hp(gamma=0.5))
    np.testing.assert_array_equal(returns, [[3.0 + 0.5 * 20.0, 5.0 + 0.5 * 40.0], [7.0, 0.0]])


@pytest.mark.thorough
def test_each_agent_learns_the_team_s_constant_reward():
    core = core_of(probe(1, 1, lambda state, actions: 1.0))
    sizes = compiled.Sizes(8, 16, 64, 1, True, 0.0)
    trained = train_on(core, learners.make("iql", core), 300, sizes, epsilon_start=1.0, epsilon_end=1.0)
    obs = core.env.view(core.env.reset(jax.random.key(0))).obs
    _, q = core.agent.step(trained.params["agent"], core.agent.initial_hidden(), obs, jnp.full((2,), -1))
    np.testing.assert_allclose(q, np.ones((2, 3)), atol=0.1)
    assert set(trained.runs.learner.params) == set(trained.runs.learner.target_params) == {"agent"}


def test_a_mixer_is_refused():
    core = core_of(probe(1, 1, lambda state, actions: 1.0), mixer={"name": "vdn"})
    with pytest.raises(UserError, match="'iql' mixes nothing"):
        learners.make("iql", core)
