"""Parts that several methods share: standardized rewards, a learning rate of the critic's own, the state to blame."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learning import batch_of, core_of, fresh, hp
from probes import probe

from qllm_jax import learners
from qllm_jax.learners import batches


# Two stand for all in the plain tests: a method of values, and one with a critic.
@pytest.mark.parametrize(
    "name",
    [
        "value",
        "coma",
        *(pytest.param(name, marks=pytest.mark.thorough) for name in ("vmix", "riit", "lica", "maddpg", "ppo", "pqn")),
    ],
)
def test_rewards_are_standardized_by_moments_that_are_kept(name: str):
    env = probe(3, None, lambda state, actions: jnp.sum(actions) + state.cue)
    mixer = {"name": "vdn"} if name in ("value", "vmix", "riit", "pqn") else None
    options = {"minibatches": 1} if name == "pqn" else {}
    learner = learners.make(name, core_of(env, 4, mixer)._replace(standardize=True), **options)
    state, batch = fresh(learner), batch_of(env, 4)
    recent = (lambda batch: batch) if learner.n_recent else lambda batch: None
    update = jax.jit(lambda batch: learner.update(state, batch, recent(batch), hp(), jnp.bool_(False)))
    one, other = update(batch), update(batch._replace(reward_t=10.0 * batch.reward_t + 50.0))
    np.testing.assert_allclose(other.metrics["loss"], one.metrics["loss"], rtol=1e-2)
    np.testing.assert_allclose(one.state.reward_stats.mean, batch.reward_t.mean(), rtol=1e-3)
    counted = batch.reward_t.size * (2 if learner.n_recent else 1)
    assert float(one.state.reward_stats.weight) == pytest.approx(counted, abs=0.01)


@pytest.mark.parametrize(
    "name", ["coma", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("lica", "maddpg", "riit"))]
)
def test_the_critic_has_a_learning_rate_of_its_own(name: str):
    env = probe(3, None, lambda state, actions: 1.0 + state.t)
    learner = learners.make(name, core_of(env, 4, {"name": "vdn"} if name == "riit" else None), critic_lr=0.2)
    state, batch = fresh(learner), batch_of(env)
    recent = batch if learner.n_recent else None
    after = jax.jit(lambda batch: learner.update(state, batch, recent, hp(lr=1e-3), jnp.bool_(False)))(batch).state
    moved = jax.tree.map(lambda new, old: float(jnp.max(jnp.abs(new - old))), after.params, state.params)
    largest = {group: max(jax.tree.leaves(moved[group])) for group in ("agent", "critic")}
    assert largest["agent"] == pytest.approx(1e-3, rel=1e-2)  # Adam's first step is as large as its rate
    assert 0.19 < largest["critic"] < 0.5


def test_the_state_to_blame_is_the_first_that_is_not_finite_or_else_the_largest():
    batch = batch_of(probe(3, None, lambda state, actions: 1.0), 2)
    batch = batch._replace(env_state={"number": jnp.arange(8).reshape(4, 2)})  # of slot and episode
    found = lambda *values: int(batches.suspect_state(batch, *values)["number"])
    size = jnp.zeros((4, 2)).at[2, 1].set(-3.0).at[1, 0].set(2.0)
    assert found(size) == 5
    assert found(size, size.at[1, 0].set(2.5)) == 5
    assert found(size, size.at[1, 0].set(5.0)) == 2
    assert found(size.at[3, 0].set(jnp.nan).at[3, 1].set(jnp.inf)) == 6
