"""MAPPO and IPPO: returns, losses and value normalization by hand, sizes, and learning on a probe."""

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
from qllm_jax.core import value_norm
from qllm_jax.errors import UserError
from qllm_jax.learners import ppo
from qllm_jax.program import compiled

HP = hp(td_lambda=0.95, lr=1e-2)


def method_of(core, **changes) -> ppo.Method:
    critic = core.agent.alike(core.env.spec.state_dim, 1)
    return ppo.Method(core, critic, "state", 1, 1, 0.2, 0.2, 0.1, 0.01, True)._replace(**changes)


@functools.cache
def setting(ends_at: int = 3):
    env = probe(4, ends_at, lambda state, actions: 1.0 + state.t)
    core = core_of(env, 4)
    return env, method_of(core), fresh(learners.make("ppo", core)), batch_of(env)


@pytest.mark.parametrize(("sees", "inputs"), [("state", 30), ("obs", 20)])
def test_parameters_are_two_networks_of_one_kind(sees: str, inputs: int):
    core = core_of(sized(3, 20, 30, 5), 16)
    network = lambda inputs, outputs: (inputs + 3 + 1) * 16 + 2 * 16 * 48 + 2 * 48 + 17 * outputs
    assert count(learners.make("ppo", core, critic_sees=sees)) == network(20, 5) + network(inputs, 1)


def networks(method: ppo.Method, params, batch) -> tuple[np.ndarray, np.ndarray]:
    """Values (T+1, B, N) and probabilities (T+1, B, N, A), stepped one slot at a time."""
    env, values, probs = method.core.env, [], []
    hiddens = [agent.initial_hidden(2) for agent in (method.core.agent, method.critic)]
    last = jnp.full((2, 2), -1)
    for t in range(5):
        view = jax.vmap(env.view)(jax.tree.map(lambda x: x[t], batch.env_state))  # noqa: B023
        state = jnp.stack([view.state] * 2, 1)
        hiddens[0], logits = method.core.agent.step(params["agent"], hiddens[0], view.obs, last)
        hiddens[1], value = method.critic.step(params["critic"], hiddens[1], state, last)
        values.append(np.asarray(value)[..., 0])
        probs.append(np.asarray(jax.nn.softmax(logits)))
        last = batch.action_t[min(t, 3)]
    return np.stack(values), np.stack(probs)


def test_returns_and_advantages_are_those_of_gae_by_hand():
    _, method, state, batch = setting()
    played = jax.jit(partial(ppo.prepare_rollout, method))(state, batch, HP)
    value, probs = networks(method, state.params, batch)  # nothing is normalized before the first update
    mask, reward, ends = np.asarray(batch.mask_t), np.asarray(batch.reward_t), np.asarray(batch.terminated_t, int)
    one = lambda b, n: by_hand(reward[:, b], ends[:, b], mask[:, b], value[:, b, n], 0.9, 0.95)
    returns = np.moveaxis(np.array([[one(b, n) for n in range(2)] for b in range(2)]), -1, 0)
    np.testing.assert_allclose(played.returns, returns, rtol=1e-4, atol=1e-5)
    inside = mask > 0
    advantage = (returns - value[:-1])[inside]
    expected = (advantage - advantage.mean()) / advantage.std()
    np.testing.assert_allclose(np.asarray(played.advantage)[inside], expected, rtol=1e-3, atol=1e-4)
    taken = np.take_along_axis(probs[:-1], np.asarray(batch.action_t)[..., None], -1)[..., 0]
    np.testing.assert_allclose(played.log_prob, np.log(taken), rtol=1e-4)


def test_losses_are_clipped_by_hand():
    _, method, _, batch = setting()
    other = fresh(learners.make("ppo", method.core), seed=1)
    rng = np.random.default_rng(0)
    draw = lambda: jnp.asarray(rng.normal(size=(4, 2, 2)), jnp.float32)
    avail = jnp.ones((5, 2, 2, method.core.env.spec.n_actions), bool)
    target = draw()
    played = ppo.Rollout(batch, avail, jnp.log(jnp.full((4, 2, 2), 0.4)), draw(), draw(), draw())
    (policy_loss, seen) = jax.jit(partial(ppo.policy_loss, method, played))(other.params["agent"])
    critic_loss, _ = jax.jit(partial(ppo.critic_loss, method, played, target))(other.params["critic"])
    value, probs = networks(method, other.params, batch)
    inside = np.asarray(batch.mask_t) > 0
    mean = lambda x: x[inside].mean()
    pi = np.take_along_axis(probs[:-1], np.asarray(batch.action_t)[..., None], -1)[..., 0]
    ratio, advantage = pi / 0.4, np.asarray(played.advantage)
    surrogate = mean(np.minimum(ratio * advantage, np.clip(ratio, 0.8, 1.2) * advantage))
    entropy = mean(-(probs * np.log(probs)).sum(-1)[:-1])
    np.testing.assert_allclose(policy_loss, -surrogate - 0.01 * entropy, rtol=1e-4)
    np.testing.assert_allclose(seen["clipped_share"], mean(np.abs(ratio - 1) > 0.2), rtol=1e-5)
    old = np.asarray(played.value)
    huber = lambda e: np.where(np.abs(e) <= 0.1, e**2 / 2, 0.1 * (np.abs(e) - 0.05))
    near = old + np.clip(value[:-1] - old, -0.2, 0.2)
    worse = np.maximum(huber(value[:-1] - target), huber(near - target))
    np.testing.assert_allclose(critic_loss, mean(worse), rtol=1e-4)


def test_values_are_normalized_by_moments_that_fade():
    returns = [np.array([[1.0, 5.0]]), np.array([[-2.0, 4.0]])]
    stats, mean, square, weight = value_norm.initial(), 0.0, 0.0, 0.0
    np.testing.assert_array_equal(value_norm.moments(stats), [0.0, 1.0])
    for x in returns:
        stats = value_norm.update(stats, jnp.asarray(x), jnp.ones((1, 2)))
        share = 1 - value_norm.FADE
        mean, square = mean * (1 - share) + share * x.mean(), square * (1 - share) + share * (x**2).mean()
        weight = weight * (1 - share) + share
    std = np.sqrt(square / weight - (mean / weight) ** 2)
    np.testing.assert_allclose(value_norm.moments(stats), [mean / weight, std], rtol=1e-5)
    x = jnp.array([0.5, -3.0])
    np.testing.assert_allclose(value_norm.denormalize(stats, value_norm.normalize(stats, x)), x, rtol=1e-5)
    narrow = value_norm.initial()
    for offset in range(20):
        narrow = value_norm.update(narrow, jnp.array([[-5000.0, -4999.0]]) + offset % 2, jnp.ones((1, 2)))
    np.testing.assert_allclose(value_norm.moments(narrow), [-4999.0, 0.5**0.5], rtol=1e-4)  # squares lose this variance
    for bad, mask in ((jnp.nan, 1.0), (7.0, 0.0)):
        after = value_norm.update(stats, jnp.full((1, 2), bad), jnp.full((1, 2), mask))
        assert after == stats


def test_padding_changes_nothing():
    _, method, state, batch = setting(2)
    assert_unread_padding(lambda batch: ppo.update(method, state, batch, None, HP, jnp.bool_(False))[0].params, batch)


def test_an_update_takes_epochs_times_minibatches_steps_each_on_its_episodes():
    _, method, state, batch = setting()
    many = method._replace(epochs=3, minibatches=2)
    after, metrics, _ = jax.jit(partial(ppo.update, many))(state, batch, None, HP, False)
    assert int(after.opt_state["agent"][0].count) == int(after.opt_state["critic"][0].count) == 6
    assert all(np.isfinite(value) and value.shape == () for value in metrics.values())
    played = jax.jit(partial(ppo.prepare_rollout, method))(state, batch, HP)
    one = ppo.take(played, jnp.array([1]))
    np.testing.assert_array_equal(one.advantage[:, 0], played.advantage[:, 1])


@pytest.fixture(scope="module", params=["state", "obs"])
def both(request: pytest.FixtureRequest) -> Trained:
    """Two runs."""
    core = core_of(first_move(), 16)
    sizes = compiled.Sizes(8, 8, 8, 1, True, 0.0)
    return train_on(core, learners.make("ppo", core, critic_sees=request.param, epochs=4), 60, sizes, (0, 1), lr=1e-2)


@pytest.mark.thorough
def test_the_better_action_is_learnt(both: Trained):
    assert (both.returns.mean(-1) > 0.95).all()


def test_bad_options_are_one_sentence():
    core = core_of(first_move(), 4)
    with pytest.raises(UserError, match=r"algo.learner 'ppo' has no mixer: set algo.mixer=\{\}"):
        learners.make("ppo", core_of(first_move(), 4, {"name": "vdn"}))
    with pytest.raises(UserError, match=r"learner 'ppo': critic_sees 'all' does not exist: choose from obs, state"):
        learners.make("ppo", core, critic_sees="all")
    with pytest.raises(UserError, match=r"learner 'ppo': epochs must be an integer of at least 1, got 0"):
        learners.make("ppo", core, epochs=0)
    _, method, state, batch = setting()
    with pytest.raises(UserError, match=r"minibatches=3 must divide the 2 episodes of algo.batch_episodes"):
        jax.eval_shape(partial(ppo.update, method._replace(minibatches=3)), state, batch, None, HP, False)


def test_moments_fade_as_in_mappo_s_code():
    assert value_norm.FADE == 0.99999


def test_values_are_denormalized_for_returns_and_returns_normalized_for_the_critic():
    _, method, state, batch = setting()
    moments = value_norm.ValueStats(jnp.float32(3.0), jnp.float32(4.0), jnp.float32(1.0))  # mean 3, deviation 2
    state = state._replace(opt_state=state.opt_state | {"values": moments})
    played = jax.jit(partial(ppo.prepare_rollout, method))(state, batch, HP)
    value = 3.0 + 2.0 * networks(method, state.params, batch)[0]
    mask, reward, ends = np.asarray(batch.mask_t), np.asarray(batch.reward_t), np.asarray(batch.terminated_t, int)
    one = lambda b, n: by_hand(reward[:, b], ends[:, b], mask[:, b], value[:, b, n], 0.9, 0.95)
    returns = np.moveaxis(np.array([[one(b, n) for n in range(2)] for b in range(2)]), -1, 0)
    np.testing.assert_allclose(played.returns, returns, rtol=1e-4, atol=1e-4)
    after, metrics, _ = jax.jit(partial(ppo.step, method))(state, played, HP)
    target = (played.returns - 3.0) / 2.0  # the moments fade by 1e-5
    wanted, _ = jax.jit(partial(ppo.critic_loss, method, played, target))(state.params["critic"])
    np.testing.assert_allclose(metrics["value_loss"], wanted, rtol=1e-3)
    assert float(after.opt_state["values"].mean) != 3.0
