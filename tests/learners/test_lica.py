"""LICA: its critic against NumPy, its losses by hand, sizes, and learning on probes."""

import functools

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
    last_view,
    sized,
    train_on,
)
from probes import probe

from qllm_jax import learners
from qllm_jax.errors import UserError
from qllm_jax.learners import batches, lica, policy
from qllm_jax.program import compiled


@pytest.mark.parametrize(
    ("sizes", "expected"), [((6, 36, 216, 5), 289_798), ((3, 16, 48, 5), 181_446), ((2, 12, 14, 6), 159_751)]
)
def test_parameters_are_the_agents_network_and_three_hypernetworks(sizes: tuple[int, int, int, int], expected: int):
    n_agents, _, state, n_actions = sizes
    core = core_of(sized(*sizes), 128)
    agent = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(core.agent.init, jax.random.key(0))))
    linear = lambda inputs, outputs: (inputs + 1) * outputs
    critic = 4 * linear(state, 64) + linear(64, 64 * n_agents * n_actions) + linear(64, 64) + linear(64, 1)
    assert expected == agent + critic
    assert count(learners.make("lica", core)) == expected


def numpy_critic(params, state, chosen) -> float:
    """The formula of the docstring, with the weights copied."""
    p = jax.tree.map(np.asarray, params["params"])
    layer = lambda name, x: x @ p[name]["kernel"] + p[name]["bias"]
    hypernet = lambda name, x: layer(f"{name}_out", np.maximum(layer(f"{name}_hidden", x), 0))
    state, u = np.asarray(state), np.asarray(chosen).reshape(-1)
    hidden = np.maximum(u @ hypernet("w1", state).reshape(len(u), -1) + layer("b1", state), 0)
    return float(hidden @ hypernet("w2", state) + hypernet("b2", state)[0])


@functools.cache
def setting(ends_at: int | None = 3):
    """The method's parts, a fresh state whose targets differ from it, and a batch."""
    env = probe(4, ends_at, lambda state, actions: 1.0 + state.t)
    parts = lica.Method(core_of(env, 4), lica.LicaNetwork(3, 5), None, 0.5)
    learner = learners.make("lica", parts.core, embed_dim=3, hypernet_dim=5)
    state = fresh(learner)
    other = {"critic": fresh(learner, 1).params["critic"]}
    return parts, learner, state._replace(target_params=other), batch_of(env)


def test_the_critic_equals_numpy_on_actions_and_on_probabilities():
    parts, _, state, _ = setting()
    inputs = jax.random.normal(jax.random.key(2), (1, 4, 2))
    for chosen in (
        jnp.eye(3)[jnp.array([[[2, 0]] * 4])],
        jax.nn.softmax(jax.random.normal(jax.random.key(3), (1, 4, 2, 3))),
    ):
        got = lica.values(parts, state.params["critic"], inputs, chosen)
        expected = [numpy_critic(state.params["critic"], inputs[0, b], chosen[0, b]) for b in range(4)]
        np.testing.assert_allclose(got[0], expected, rtol=1e-4, atol=1e-5)


def test_the_targets_are_td_lambda_of_the_target_critic_at_the_actions_taken():
    parts, _, state, batch = setting()
    view = batches.views(parts.core.env, batch)
    action = jnp.concatenate([batch.action_t, jnp.full((1, 2, 2), 1)])
    target = state.target_params["critic"]
    returns = jax.jit(lambda: lica.returns_of(parts, target, batch, view, action, hp(td_lambda=0.8)))()
    mask, ends = np.asarray(batch.mask_t), np.asarray(batch.terminated_t, int)
    for b in range(2):
        value = [numpy_critic(target, view.state[t, b], np.eye(3)[action[t, b]]) for t in range(5)]
        expected = by_hand(np.asarray(batch.reward_t)[:, b], ends[:, b], mask[:, b], np.array(value), 0.9, 0.8)
        np.testing.assert_allclose(returns[:, b] * mask[:, b], expected, rtol=1e-4)


def test_the_policy_s_loss_is_the_value_of_its_probabilities_and_a_bonus_of_constant_size():
    parts, _, state, batch = setting()
    view = batches.views(parts.core.env, batch)
    logits = jax.random.normal(jax.random.key(5), (5, 2, 2, 3))
    loss = jax.jit(lambda logits: lica.policy_loss(parts, logits, state.params["critic"], batch, view))
    probs, mask = np.asarray(jax.nn.softmax(logits)), np.asarray(batch.mask_t)
    value = np.array(
        [[numpy_critic(state.params["critic"], view.state[t, b], probs[t, b]) for b in range(2)] for t in range(4)]
    )
    entropy = (-(probs * np.log(probs)).sum(-1).mean(-1)[:4] * mask).sum() / mask.sum()
    got = loss(logits)
    np.testing.assert_allclose(got[0], -(mask * value).sum() / mask.sum() - 0.5, rtol=1e-4)
    np.testing.assert_allclose(got[1], entropy, rtol=1e-5)


@pytest.mark.parametrize(("entropy", "slope"), [(0.5, 2.0), (2.0, 0.5), (0.0, 1e6)])
def test_the_adaptive_bonus_has_a_relative_gradient_and_survives_no_entropy(entropy: float, slope: float):
    assert float(jax.grad(policy.adaptive_bonus)(entropy)) == pytest.approx(slope, rel=1e-5)


def test_padding_changes_nothing():
    _, learner, state, batch = setting(ends_at=2)
    update = lambda batch: learner.update(state, batch, None, hp(td_lambda=0.6), jnp.bool_(False))[0].params
    assert_unread_padding(update, batch)


@pytest.fixture(scope="module")
def both() -> Trained:
    """Two runs."""
    core = core_of(first_move())
    learner = learners.make("lica", core, embed_dim=16, hypernet_dim=16)
    sizes = compiled.Sizes(8, 16, 32, 1, True, 0.0)
    return train_on(core, learner, 120, sizes, (0, 1), lr=1e-2, td_lambda=0.6)


@pytest.mark.thorough
def test_the_better_action_is_learnt(both: Trained):
    assert (both.returns.mean(-1) > 0.95).all()


@pytest.mark.thorough
def test_the_critic_knows_what_the_better_actions_pay(both: Trained):
    got = numpy_critic(both.params["critic"], last_view().state, np.eye(3)[[2, 2]])
    assert got == pytest.approx(1.0, abs=0.1)


def test_bad_options_are_one_sentence():
    with pytest.raises(UserError, match=r"learner 'lica': embed_dim must be an integer of at least 1, got 0"):
        learners.make("lica", core_of(first_move()), embed_dim=0)
