"""PQN: its loss by hand, its steps, the state to blame, and learning on a probe."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learning import Trained, batch_of, by_hand, core_of, first_move, fresh, hp, train_on
from probes import probe

from qllm_jax import learners
from qllm_jax.errors import UserError
from qllm_jax.learners import batches, optimization, pqn, value
from qllm_jax.program import compiled

HP = hp(td_lambda=0.3)


@functools.cache
def setting(ends_at: int = 3):
    env = probe(4, ends_at, lambda state, actions: 1.0 + state.t)
    core = core_of(env, 4, {"name": "vdn"})
    return pqn.Method(core, 3, 2), fresh(learners.make("pqn", core)), batch_of(env)


def test_the_loss_is_by_hand_that_of_summed_values_towards_its_own_greedy_ones():
    method, state, batch = setting()
    got, _ = jax.jit(partial(pqn.loss, method.core))(state.params, batch, HP)
    (q,) = batches.unroll(method.core, (state.params["agent"],), batch)  # all actions are available
    taken = np.take_along_axis(np.asarray(q[:-1]), np.asarray(batch.action_t)[..., None], -1)[..., 0].sum(-1)
    best, mask = np.asarray(q.max(-1).sum(-1)), np.asarray(batch.mask_t)
    reward, ends = np.asarray(batch.reward_t), np.asarray(batch.terminated_t, int)
    returns = np.stack([by_hand(reward[:, b], ends[:, b], mask[:, b], best[:, b], 0.9, 0.3) for b in range(2)], 1)
    np.testing.assert_allclose(got, (mask * (taken - returns) ** 2).sum() / mask.sum(), rtol=1e-4)


def test_its_gradient_is_that_of_the_value_method_with_a_fresh_target():
    method, state, batch = setting()
    params, view = state.params, batches.views(method.core.env, batch)
    ours = jax.grad(lambda params: pqn.loss(method.core, params, batch, HP)[0])
    of_value = jax.grad(lambda params: value.td_loss(method.core, params, state.params, batch, view, HP)[0])
    for a, b in zip(*map(jax.tree.leaves, (jax.jit(ours)(params), jax.jit(of_value)(params))), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.thorough
def test_an_update_takes_epochs_times_minibatches_steps():
    method, state, batch = setting()
    after, metrics, _ = jax.jit(partial(pqn.update, method))(state, batch, None, HP, False)
    assert int(after.opt_state[0].count) == 6
    assert after.target_params == {}
    assert all(np.isfinite(value) and value.shape == () for value in metrics.values())
    one = pqn.Method(method.core, 1, 1)
    once = jax.jit(partial(pqn.update, one))(state, batch, None, HP, False).state
    grads = jax.jit(jax.grad(lambda params: pqn.loss(method.core, params, batch, HP)[0]))(state.params)
    expected, _ = optimization.gradient_step(method.core, HP.lr, HP.grad_clip, state.params, state.opt_state, grads)
    for a, b in zip(*map(jax.tree.leaves, (once.params, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_no_step_is_taken_after_one_that_was_not_finite():
    method, state, batch = setting()
    spoiled = batch._replace(reward_t=batch.reward_t.at[1, 1].set(jnp.nan))
    step = partial(pqn.step, method.core, spoiled)
    scan = jax.jit(lambda order: optimization.scan_minibatches(step, state, order, HP)[0])
    alone, before_a_fault = scan(jnp.array([[0]])), scan(jnp.array([[0], [1], [0]]))
    assert int(alone.opt_state[0].count) == int(before_a_fault.opt_state[0].count) == 1
    for a, b in zip(*map(jax.tree.leaves, (alone.params, before_a_fault.params)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)


def test_the_state_to_blame_is_of_the_first_step_that_was_not_finite():
    method, state, batch = setting()
    state_with_mark = batch.env_state._replace(cue=batch.env_state.cue.at[:, 1].set(5.0))
    spoiled = batch._replace(env_state=state_with_mark, reward_t=batch.reward_t.at[1, 1].set(jnp.nan))
    two = pqn.Method(method.core, 1, 2)
    after, metrics, suspect = jax.jit(partial(pqn.update, two))(state, spoiled, None, HP, False)
    assert not np.isfinite(metrics["loss"])
    assert suspect.cue == 5.0  # of the second episode
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.params))


@pytest.fixture(scope="module")
def both() -> Trained:
    """Two runs."""
    core = core_of(first_move(), 16, {"name": "vdn"})
    sizes = compiled.Sizes(8, 8, 8, 1, True, 0.0)
    learner = learners.make("pqn", core, epochs=2, minibatches=2)
    return train_on(core, learner, 100, sizes, (0, 1), lr=5e-3)


@pytest.mark.thorough
def test_the_better_action_is_learnt(both: Trained):
    assert (both.returns.mean(-1) > 0.95).all()


def test_bad_options_are_one_sentence():
    with pytest.raises(UserError, match=r"algo.learner 'pqn' needs a mixer: set algo.mixer.name"):
        learners.make("pqn", core_of(first_move(), 4))
    with pytest.raises(UserError, match="learner 'pqn': minibatches must be an integer of at least 1, got 0"):
        learners.make("pqn", core_of(first_move(), 4, {"name": "vdn"}), minibatches=0)
