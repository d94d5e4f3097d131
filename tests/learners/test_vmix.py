"""VDAC-mix: its loss by hand, an advantage that all agents share, sizes, and learning on probes."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learning import (
    Trained,
    assert_unread_padding,
    batch_of,
    by_hand,
    core_of,
    count,
    first_move,
    fresh,
    hp,
    sized,
    train_on,
)
from probes import probe

from qllm_jax import learners
from qllm_jax.errors import UserError
from qllm_jax.learners import base, batches, vmix
from qllm_jax.program import compiled

QMIX, VDN = {"name": "qmix"}, {"name": "vdn"}


@pytest.mark.parametrize(
    ("sizes", "expected"), [((6, 36, 216, 5), 161_607), ((3, 16, 48, 5), 120_167), ((2, 12, 14, 6), 111_048)]
)
def test_parameters_are_the_agents_network_a_second_head_and_qmix(sizes: tuple[int, int, int, int], expected: int):
    n_agents, _, state, _ = sizes
    core = core_of(sized(*sizes), 128, QMIX)
    agent = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(core.agent.init, jax.random.key(0))))
    linear = lambda inputs, outputs: (inputs + 1) * outputs
    mixer = 2 * linear(state, 64) + linear(64, 32 * n_agents) + linear(64, 32) + 2 * linear(state, 32) + linear(32, 1)
    assert expected == agent + linear(128, 1) + mixer
    assert count(learners.make("vmix", core)) == expected


@functools.cache
def setting(mixer: str, ends_at: int = 3, **changes):
    env = probe(4, ends_at, lambda state, actions: 1.0 + state.t)
    core = core_of(env, 4, {"name": mixer})
    parts = vmix.Method(core, base.require_mixer(core, "vmix"), 0.1, 0.01)._replace(**changes)
    return env, parts, fresh(learners.make("vmix", core)).params, batch_of(env)


def heads(parts: vmix.Method, params, batch) -> tuple[np.ndarray, np.ndarray]:
    """Values (T+1, B, N) and probabilities (T+1, B, N, A), stepped one slot at a time."""
    agent, env, values, probs = parts.core.agent, parts.core.env, [], []
    last, hidden = jnp.full((2, 2), -1), agent.initial_hidden(2)
    head = params["value"]["params"]
    for t in range(5):
        obs = jax.vmap(env.view)(jax.tree.map(lambda x: x[t], batch.env_state)).obs  # noqa: B023
        hidden, logits = agent.step(params["agent"], hidden, obs, last)
        values.append(np.asarray(hidden) @ np.asarray(head["kernel"])[:, 0] + float(head["bias"][0]))
        probs.append(np.asarray(jax.nn.softmax(logits)))
        last = batch.action_t[min(t, 3)]
    return np.stack(values), np.stack(probs)


def test_the_loss_is_by_hand_that_of_summed_values_and_one_advantage_for_all_agents():
    env, parts, params, batch = setting("vdn")
    views = batches.views(env, batch)
    got, (metrics, _) = jax.jit(partial(vmix.loss, parts))(params, batch, views, hp(td_lambda=0.8))
    value, probs = heads(parts, params, batch)
    mask, team = np.asarray(batch.mask_t), value.sum(-1)
    reward, ends = np.asarray(batch.reward_t), np.asarray(batch.terminated_t, int)
    of = lambda b: by_hand(reward[:, b], ends[:, b], mask[:, b], team[:, b], 0.9, 0.8)
    returns = np.stack([of(0), of(1)], 1)
    advantage = returns - team[:-1]
    log_prob = np.log(np.take_along_axis(probs[:-1], np.asarray(batch.action_t)[..., None], -1))[..., 0]
    mean = lambda x: (mask * x).sum() / mask.sum()
    entropy = mean(-(probs * np.log(probs)).sum(-1)[:-1].mean(-1))
    policy_loss = -mean(advantage * log_prob.mean(-1))
    np.testing.assert_allclose(metrics["policy_loss"], policy_loss, rtol=1e-4)
    np.testing.assert_allclose(metrics["entropy"], entropy, rtol=1e-4)
    np.testing.assert_allclose(got, policy_loss + 0.1 * mean(advantage**2) - 0.01 * entropy, rtol=1e-4)


def test_the_policy_gradient_does_not_move_the_values():
    env, parts, params, batch = setting("qmix", value_weight=0.0)
    view = batches.views(env, batch)
    grads = jax.jit(jax.grad(lambda params: vmix.loss(parts, params, batch, view, hp(td_lambda=0.8))[0]))(params)
    moved = {name: any((leaf != 0).any() for leaf in jax.tree.leaves(grads[name])) for name in grads}
    assert moved == {"agent": True, "value": False, "mixer": False}


def test_padding_changes_nothing():
    env, parts, params, batch = setting("qmix", ends_at=2)
    view = batches.views(env, batch)
    slope = jax.grad(lambda params, batch: vmix.loss(parts, params, batch, view, hp(td_lambda=0.8))[0])
    assert_unread_padding(partial(slope, params), batch)


def credit_weights(parts: vmix.Method):
    return jax.jit(partial(base.credit_weights, vmix.credit(parts)))


def test_credit_weights_are_ones_with_vdn_and_slopes_with_qmix():
    _, parts, params, batch = setting("vdn")
    one = jax.tree.map(lambda x: x[:, 0], batch)
    np.testing.assert_array_equal(credit_weights(parts)(params, one), np.ones((5, 2)))
    _, parts, params, _ = setting("qmix")
    weights = np.asarray(credit_weights(parts)(params, one))
    assert weights.shape == (5, 2)
    assert (weights >= 0).all()
    assert np.ptp(weights) > 0


@pytest.fixture(scope="module")
def both() -> Trained:
    """Two runs."""
    core = core_of(first_move(), 16, QMIX)
    sizes = compiled.Sizes(8, 8, 8, 1, True, 0.0)
    return train_on(core, learners.make("vmix", core), 200, sizes, (0, 1), lr=1e-2, td_lambda=0.8)


@pytest.mark.thorough
def test_the_better_action_is_learnt(both: Trained):
    assert (both.returns.mean(-1) > 0.95).all()


@pytest.mark.thorough
def test_the_team_value_of_the_last_step_is_what_the_better_actions_pay(both: Trained):
    assert float(both.metrics["target"][0]) > 0.5  # mean over training and both steps, from 0


def test_bad_options_are_one_sentence():
    with pytest.raises(UserError, match=r"algo.learner 'vmix' needs a mixer"):
        learners.make("vmix", core_of(first_move()))
    with pytest.raises(UserError, match=r"learner 'vmix': value_weight must be a number of at least 0, got -1"):
        learners.make("vmix", core_of(first_move(), 4, VDN), value_weight=-1)
