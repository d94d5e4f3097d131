"""COMA: its advantage, its returns, what its critic sees, sizes, and learning on probes."""

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
    episode,
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
from qllm_jax.learners import batches, coma
from qllm_jax.learners.critics import Critic
from qllm_jax.program import compiled

PYMARL = {"critic_sees_obs": True, "critic_sees_last_actions": True}
# agents, observation, state, actions, hidden, options, parameters as in the paper's tables (its column "QPLEX")
TABLE = {
    "spread": (6, 36, 216, 5, 128, {}, 154_762),
    "tag": (3, 16, 48, 5, 128, {}, 128_010),
    "adversary": (2, 10, 20, 5, 128, {}, 122_762),
    "lbf 8x8-2p-2f": (2, 12, 14, 6, 128, {}, 122_764),
    "lbf 10x10-3p-3f": (3, 18, 21, 6, 128, {}, 125_452),
    "lbf 15x15-4p-3f": (4, 21, 25, 6, 128, {}, 127_372),
    "climbing": (2, 2, 2, 3, 128, {}, 118_406),
    "football 3v1 and counterattack": (4, 115, 460, 19, 256, PYMARL, 543_014),
    "football pass": (3, 115, 345, 19, 256, PYMARL, 523_046),
}


def method(env=None, **changes) -> coma.Method:
    env = env or probe(3, None, lambda state, actions: 1.0)
    parts = coma.Method(core_of(env, 4), Critic(8, env.spec.n_actions), None, 10, 0.001, False, False, False)
    return parts._replace(**changes)


@pytest.mark.parametrize("task", TABLE)
def test_parameters_equal_the_paper_s_table(task: str):
    *sizes, hidden, options, expected = TABLE[task]
    assert count(learners.make("coma", core_of(sized(*sizes), hidden), **options)) == expected


def test_the_advantage_of_a_policy_s_own_actions_is_zero_in_the_mean():
    q, logits = jax.random.normal(jax.random.key(0), (2, 5, 3, 4))
    probs = jax.nn.softmax(logits)
    each = jnp.stack([coma.advantage(q, probs, jnp.full((5, 3), a)) for a in range(4)], -1)
    np.testing.assert_allclose(jnp.sum(probs * each, -1), np.zeros((5, 3)), atol=1e-6)


def n_step_by_hand(reward, terminated, mask, value, gamma: float, n: int) -> np.ndarray:
    """sum_k gamma^k r_{t+k} + gamma^n V_{t+n}: cut at a terminal; a window over the edge ends with V_T."""
    out = np.zeros(len(reward))
    for t in range(len(reward)):
        factor, steps = 1.0, min(n, len(reward) - t)
        for k in range(t, t + steps):
            out[t] += factor * reward[k] * mask[k]
            factor *= gamma * (1 - terminated[k]) * mask[k]
        out[t] += factor * value[t + steps]
    return out


@pytest.mark.parametrize("n", [1, 2, 3, 10])
@pytest.mark.parametrize(("terminated", "mask"), [([0, 0, 0, 1], [1, 1, 1, 1]), ([0, 1, 0, 0], [1, 1, 0, 0])])
@pytest.mark.parametrize("bootstrap_end", [False, True])
def test_n_step_returns_are_the_sum(n: int, terminated: list[int], mask: list[int], bootstrap_end: bool):
    reward, value = np.array([1.0, -2.0, 3.0, 0.5]) * mask, np.array([9.0, 1.0, 2.0, -1.0, 4.0])
    played = episode(reward, np.array(terminated, bool), mask)
    got = coma.agent_returns(method(n_step=n, bootstrap_end=bootstrap_end), played, jnp.asarray(value), hp())
    ends = [*terminated[:-1], 0] if bootstrap_end else terminated
    expected = n_step_by_hand(reward, ends, mask, value, 0.9, n)
    np.testing.assert_allclose(np.asarray(got) * mask, expected * mask, rtol=1e-5)


def test_n_step_0_is_td_lambda():
    reward, value = np.array([1.0, -2.0, 3.0, 0.5]), np.array([9.0, 1.0, 2.0, -1.0, 4.0])
    played = episode(reward, np.array([False] * 3 + [True]), np.ones(4))
    got = coma.agent_returns(method(n_step=0), played, jnp.asarray(value), hp(td_lambda=0.8))
    np.testing.assert_allclose(got, by_hand(reward, [0, 0, 0, 1], np.ones(4), value, 0.9, 0.8), rtol=1e-5)


@pytest.mark.parametrize("pymarl", [False, True])
def test_the_critic_equals_numpy_on_the_concatenated_input_of_the_original(pymarl: bool):
    parts = method(sees_obs=pymarl, sees_last_actions=pymarl)
    params = coma.critics.init(parts.critic, jax.random.key(1), coma.zero_inputs(parts))
    state, obs = jnp.array([0.3, -0.2]), jnp.array([[0.1, 0.7], [-0.5, 0.4]])
    action, last = jnp.array([2, 0]), jnp.array([1, -1])
    got = coma.critics.apply(parts.critic, params, coma.inputs_of(parts, state, obs, action, last))
    p = jax.tree.map(np.asarray, params["params"])
    joint = {0: [0, 0, 0, 1, 0, 0], 1: [0, 0, 1, 0, 0, 0]}  # agent 0 sees agent 1's action 0; agent 1 sees 0's 2
    for i in range(2):
        columns = {"state": state, "others": joint[i], "id": np.eye(2)[i], "obs": obs[i], "last": [0, 1, 0, 0, 0, 0]}
        names = [name for name in columns if f"{name}_kernel" in p]
        assert set(names) == ({"state", "others", "id"} | ({"obs", "last"} if pymarl else set()))
        x = np.concatenate([np.asarray(columns[name], np.float32) for name in names])
        x = np.maximum(x @ np.concatenate([p[f"{name}_kernel"] for name in names]) + p["in_bias"], 0)
        x = np.maximum(x @ p["hidden"]["kernel"] + p["hidden"]["bias"], 0)
        np.testing.assert_allclose(got[i], x @ p["out"]["kernel"] + p["out"]["bias"], atol=1e-6)


def test_an_agent_s_own_action_is_not_in_its_critic_and_the_others_are():
    parts = method()
    params = coma.critics.init(parts.critic, jax.random.key(1), coma.zero_inputs(parts))
    q = lambda *action: coma.critics.apply(
        parts.critic, params, coma.inputs_of(parts, jnp.ones(2), jnp.ones((2, 2)), jnp.array(action), jnp.zeros(2, int))
    )
    np.testing.assert_array_equal(q(0, 1)[0], q(2, 1)[0])
    assert not np.allclose(q(0, 1)[1], q(2, 1)[1])


def test_padding_changes_nothing():
    env = probe(4, 2, lambda state, actions: 1.0)
    learner = learners.make("coma", core_of(env, 4), n_step=3)
    batch, state = batch_of(env), fresh(learner)
    assert_unread_padding(lambda batch: learner.update(state, batch, None, hp(), jnp.bool_(False))[0].params, batch)


@pytest.fixture(scope="module")
def both() -> Trained:
    """Two runs."""
    core = core_of(first_move())
    learner = learners.make("coma", core, critic_dim=16, n_step=2)
    return train_on(core, learner, 120, compiled.Sizes(8, 8, 8, 1, True, 0.0), (0, 1), lr=1e-2)


@pytest.mark.thorough
def test_the_better_action_is_learnt(both: Trained):
    assert (both.returns.mean(-1) > 0.95).all()


@pytest.mark.thorough
def test_the_critic_knows_what_the_better_actions_pay(both: Trained):
    env = first_move()
    parts, view = method(env, critic=Critic(16, 3)), last_view()
    inputs = coma.inputs_of(parts, view.state, view.obs, jnp.array([2, 2]), jnp.array([2, 2]))
    q = coma.critics.apply(parts.critic, both.params["critic"], inputs)
    np.testing.assert_allclose(q[:, 2], [1.0, 1.0], atol=0.1)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"n_step": -1}, "learner 'coma': n_step must be an integer of at least 0, got -1"),
        ({"critic_dim": True}, "critic_dim must be an integer of at least 1, got True"),
        ({"critic_lr": 0}, r"critic_lr must be a positive number or null \(algo.lr\), got 0"),
        ({"entropy_weight": float("nan")}, "entropy_weight must be a number of at least 0, got nan"),
        ({"bootstrap_end": 1}, "bootstrap_end must be true or false, got 1"),
        ({"evaluation": "greed"}, "evaluation 'greed' does not exist: did you mean 'greedy'"),
    ],
)
def test_bad_options_are_one_sentence(option: dict, sentence: str):
    with pytest.raises(UserError, match=sentence):
        learners.make("coma", core_of(first_move()), **option)


def test_the_last_actions_that_the_critic_sees_are_those_of_the_slot_before():
    parts = method(sees_last_actions=True)
    params = coma.critics.init(parts.critic, jax.random.key(1), coma.zero_inputs(parts))
    batch = batch_of(parts.core.env)
    view, action = batches.views(parts.core.env, batch), jnp.concatenate([batch.action_t, batch.action_t[:1]])
    got = jax.jit(lambda action: coma.action_values(parts, params, view, action))(action)
    for t in range(4):
        last = action[t - 1, 0] if t else jnp.full(2, -1)
        inputs = coma.inputs_of(parts, view.state[t, 0], view.obs[t, 0], action[t, 0], last)
        np.testing.assert_allclose(got[t, 0], coma.critics.apply(parts.critic, params, inputs), atol=1e-6)


def test_the_policy_s_loss_has_the_gradient_by_hand():
    parts = method()
    batch = batch_of(parts.core.env)
    view, batch = batches.views(parts.core.env, batch), batch._replace(mask_t=batch.mask_t.at[2, 0].set(0.0))
    logits, q = jax.random.normal(jax.random.key(0), (4, 2, 2, 3)), jax.random.normal(jax.random.key(1), (3, 2, 2, 3))
    slope = jax.jit(jax.grad(lambda x: coma.policy_loss(x, q, batch, view, 0.5)[0]))(logits)[:-1]
    probs, taken = jax.nn.softmax(logits)[:-1], jnp.eye(3)[batch.action_t]
    advantage = jnp.sum((taken - probs) * q, -1, keepdims=True)
    log_p = jnp.log(probs)
    of_entropy = -probs * (log_p - jnp.sum(probs * log_p, -1, keepdims=True))  # of sum -p log p by a logit
    wanted = -(advantage * (taken - probs) + 0.5 * of_entropy) / 2 * batch.mask_t[..., None, None] / batch.mask_t.sum()
    np.testing.assert_allclose(slope, wanted, atol=1e-6)


def test_the_returns_are_of_the_target_critic():
    env = probe(3, None, lambda state, actions: 1.0 + state.t)
    learner = learners.make("coma", core_of(env, 4), critic_dim=8, n_step=1)
    state, batch = fresh(learner), batch_of(env)
    with_target = lambda target: state._replace(target_params={"critic": target})
    loss = jax.jit(lambda x: learner.update(with_target(x), batch, None, hp(), jnp.bool_(False))[1]["loss"])
    assert float(loss(state.params["critic"])) != float(loss(fresh(learner, 1).params["critic"]))
