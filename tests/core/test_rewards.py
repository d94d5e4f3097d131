"""Running standardization against NumPy."""

from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qllm_jax.core import rewards
from qllm_jax.learners import targets


def test_merged_moments_are_those_of_all_rewards_together():
    draw = np.random.default_rng(0)
    batches = [draw.normal(3.0, 2.0, (25, 8)).astype(np.float32) for _ in range(4)]
    stats = rewards.initial()
    for batch in batches:
        stats = rewards.update(stats, jax.numpy.asarray(batch))
    everything = np.concatenate(batches)
    # epymarl merges unbiased batch variances as if they were biased ones: equal up to 1/n.
    np.testing.assert_allclose(stats.mean, everything.mean(), rtol=1e-4)
    np.testing.assert_allclose(stats.var, everything.var(), rtol=1e-2)
    standardized = rewards.standardize(stats, jax.numpy.asarray(everything))
    np.testing.assert_allclose(standardized, (everything - stats.mean) / np.sqrt(stats.var), rtol=1e-5)


def test_the_first_batch_nearly_replaces_the_initial_moments():
    batch = jax.numpy.asarray(np.random.default_rng(1).normal(-5.0, 1.0, (5, 2)).astype(np.float32))
    stats = rewards.update(rewards.initial(), batch)
    np.testing.assert_allclose(stats.mean, batch.mean(), rtol=1e-3)
    np.testing.assert_allclose(stats.var, np.var(batch, ddof=1), rtol=1e-2)


def test_steps_after_the_longest_episode_of_a_batch_do_not_count():
    batch = jax.numpy.asarray(np.random.default_rng(2).normal(2.0, 1.0, (6, 3)).astype(np.float32))
    batch = batch.at[4:].set(0.0).at[2:, 0].set(0.0)  # the longest episode has 4 steps, the first one 2
    cut = rewards.update(rewards.initial(), batch[:4])
    counted = rewards.update(rewards.initial(), batch, jax.numpy.arange(6) < 4)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), counted, cut)


@pytest.mark.parametrize("agents", [(), (3,)])
@pytest.mark.parametrize("n_counted", [1, None])
def test_a_single_reward_leaves_finite_moments(agents: tuple[int, ...], n_counted: int | None):
    n = 4 if n_counted else 1
    counted = jnp.arange(n) < n_counted if n_counted else None
    stats = rewards.update(rewards.initial(), jnp.full((n, 1, *agents), 3.0), counted)
    np.testing.assert_allclose(stats.mean, 3.0, rtol=1e-3)
    assert 0.0 < float(stats.var) < 0.01
    assert np.isfinite(np.asarray(rewards.standardize(stats, jnp.full((n, 1, *agents), 3.0)))).all()


def test_a_scale_multiplies_rewards_where_they_are_not_standardized():
    batch, stats = SimpleNamespace(reward_t=jnp.array([[2.0], [4.0]])), rewards.initial()
    batch._replace = lambda **changed: SimpleNamespace(**changed)
    core = lambda scale: cast(Any, SimpleNamespace(standardize=False, reward_scale=scale))
    same, scaled = (targets.standardize_rewards(core(scale), stats, cast(Any, batch)) for scale in (1.0, 0.5))
    assert same[1] is batch
    assert scaled[1].reward_t.tolist() == [[1.0], [2.0]]
    assert scaled[0] is stats
