"""MADDPG: straight-through draws, its targets and gradients, sizes, and learning on probes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learning import (
    Trained,
    batch_of,
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
from qllm_jax.learners import batches, critics, maddpg, policy
from qllm_jax.learners.critics import Critic
from qllm_jax.program import compiled

# agents, observation, state, actions, width of both networks, parameters as in the paper's table
TABLE = {
    "spread": (6, 36, 216, 5, 128, 154_246),
    "tag": (3, 16, 48, 5, 128, 127_494),
    "adversary": (2, 10, 20, 5, 128, 122_246),
    "lbf 8x8-2p-2f": (2, 12, 14, 6, 128, 122_119),
    "lbf 10x10-3p-3f": (3, 18, 21, 6, 128, 124_807),
    "lbf 15x15-4p-3f": (4, 21, 25, 6, 128, 126_727),
    "climbing": (2, 2, 2, 3, 128, 118_148),
    "football 3v1 and counterattack": (4, 115, 460, 19, 256, 634_900),
    "football pass": (3, 115, 345, 19, 256, 600_084),
}


@pytest.mark.parametrize("task", TABLE)
def test_parameters_equal_the_paper_s_table(task: str):
    *sizes, width, expected = TABLE[task]
    assert count(learners.make("maddpg", core_of(sized(*sizes), width), critic_dim=width)) == expected


def test_a_straight_through_draw_is_one_hot_and_has_the_softmax_s_gradient():
    key, logits = jax.random.key(3), jax.random.normal(jax.random.key(0), (50, 2, 4))
    avail = jnp.ones((50, 2, 4), bool).at[:, 1, 2].set(False)
    pay = jax.random.normal(jax.random.key(1), (50, 2, 4))
    drawn, pull_back = jax.vjp(lambda logits: policy.straight_through(key, logits, avail), logits)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_array_equal(drawn.sum(-1), np.ones((50, 2)))
    assert not drawn[:, 1, 2].any()
    noise = jax.random.gumbel(key, logits.shape)
    soft = lambda logits: jnp.sum(pay * jax.nn.softmax(jnp.where(avail, logits + noise, -jnp.inf), -1))
    np.testing.assert_allclose(pull_back(pay)[0], jax.grad(soft)(logits), atol=1e-6)


def test_draws_have_the_softmax_s_frequencies():
    logits = jnp.broadcast_to(jnp.log(jnp.array([[0.2, 0.5, 0.3]]))[None], (4000, 1, 3))
    drawn = policy.straight_through(jax.random.key(0), logits, jnp.ones((4000, 1, 3), bool))
    np.testing.assert_allclose(drawn.mean((0, 1)), [0.2, 0.5, 0.3], atol=0.03)


def setting(env, **changes):
    """The method's parts, a fresh state whose targets differ from it, and a batch."""
    parts = maddpg.Method(core_of(env, 4), Critic(8, 1), None, 0.001, False)._replace(**changes)
    learner = learners.make("maddpg", parts.core, critic_dim=8, released_mask=parts.released_mask)
    state = fresh(learner)
    return parts, learner, state._replace(target_params=fresh(learner, 1).params), batch_of(env)


def numpy_critic(params, agent: int, state, joint) -> float:
    """Agent i's critic on the concatenation of state, number and joint action."""
    p = jax.tree.map(np.asarray, params["params"])
    x = np.concatenate([np.asarray(state), np.eye(2)[agent], np.asarray(joint).reshape(-1)])
    kernel = np.concatenate([p[f"{name}_kernel"] for name in ("state", "id", "joint")])
    x = np.maximum(x @ kernel + p["in_bias"], 0)
    x = np.maximum(x @ p["hidden"]["kernel"] + p["hidden"]["bias"], 0)
    return float((x @ p["out"]["kernel"] + p["out"]["bias"])[0])


def test_targets_are_one_step_and_use_the_target_policy_s_most_likely_joint_action():
    env = probe(3, None, lambda state, actions: 1.0 + state.t, avail=(True, False, True))
    parts, _, state, batch = setting(env)
    view = batches.views(env, batch)
    got = jax.jit(lambda: maddpg.returns_of(parts, state.target_params, batch, view, hp()))()
    (logits,) = batches.unroll(parts.core, (state.target_params["agent"],), batch)
    best = np.where(np.asarray(view.avail), np.asarray(logits), -np.inf).argmax(-1)
    for t, b, i in np.ndindex(3, 2, 2):
        value = numpy_critic(state.target_params["critic"], i, view.state[t + 1, b], np.eye(3)[best[t + 1, b]])
        expected = 1.0 + t + 0.9 * (t < 2) * value
        np.testing.assert_allclose(got[t, b, i], expected, rtol=1e-4)


def test_an_agent_s_value_has_a_gradient_by_its_own_action_only():
    parts, _, state, _ = setting(first_move())
    params, joint = state.params["critic"], jnp.eye(3)[jnp.array([2, 0])]
    one = lambda joint: maddpg.values_by_own_action(parts, params, jnp.ones(2), joint)
    plain = lambda joint: maddpg.values(parts, params, jnp.ones(2), joint)
    np.testing.assert_allclose(one(joint), plain(joint), rtol=1e-6)
    own, full = jax.jacobian(one)(joint), jax.jacobian(plain)(joint)  # (N, N, A)
    assert (own[0, 1] == 0).all()
    assert (own[1, 0] == 0).all()
    np.testing.assert_allclose(own[jnp.arange(2), jnp.arange(2)], full[jnp.arange(2), jnp.arange(2)], rtol=1e-5)
    assert critics.apply(parts.critic, params, maddpg.inputs_of(jnp.ones(2), joint)).shape == (2, 1)


@pytest.mark.parametrize("released", [False, True])
def test_padding_changes_nothing_unless_the_released_mask_keeps_it_and_drops_the_end(released: bool):
    _, learner, state, batch = setting(probe(4, 2, lambda state, actions: 1.0), released_mask=released)
    padding = batch._replace(reward_t=batch.reward_t.at[2:].set(9.0), action_t=batch.action_t.at[2:].set(1))
    end = batch._replace(reward_t=batch.reward_t.at[1].set(9.0))
    step = jax.jit(lambda batch: learner.update(state, batch, None, hp(), jnp.bool_(False))[0].params)
    plain = jax.tree.leaves(step(batch))
    changed = lambda other: (
        not all(np.allclose(*x, atol=1e-6) for x in zip(plain, jax.tree.leaves(step(other)), strict=True))
    )
    assert changed(padding) == released
    assert changed(end) != released


@pytest.fixture(scope="module")
def both() -> Trained:
    """Two runs."""
    core = core_of(first_move())
    learner = learners.make("maddpg", core, critic_dim=16)
    return train_on(core, learner, 120, compiled.Sizes(8, 16, 64, 1, True, 0.0), (0, 1), lr=1e-2)


@pytest.mark.thorough
def test_the_better_action_is_learnt(both: Trained):
    assert (both.returns.mean(-1) > 0.95).all()


@pytest.mark.thorough
def test_the_critic_knows_what_the_better_actions_pay(both: Trained):
    joint = np.eye(3)[[2, 2]]
    values = [numpy_critic(both.params["critic"], i, last_view().state, joint) for i in range(2)]
    np.testing.assert_allclose(values, [1.0, 1.0], atol=0.1)


def test_bad_options_are_one_sentence():
    with pytest.raises(UserError, match=r"learner 'maddpg': logit_penalty must be a number of at least 0, got 'x'"):
        learners.make("maddpg", core_of(first_move()), logit_penalty="x")
    with pytest.raises(UserError, match=r"learner 'maddpg' has no option 'n_step': choose from critic_dim"):
        learners.make("maddpg", core_of(first_move()), n_step=3)


def test_the_policy_climbs_each_agent_s_value_by_its_own_action_and_its_logits_are_held_small():
    env = probe(2, None, lambda state, actions: 1.0)
    parts = maddpg.Method(core_of(env, 4), Critic(8, 1), None, 0.3, False)
    params = fresh(learners.make("maddpg", parts.core, critic_dim=8)).params["critic"]
    batch, key = batch_of(env), jax.random.key(5)
    view, logits = batches.views(env, batch), jax.random.normal(key, (3, 2, 2, 3))

    def by_hand(logits: jax.Array) -> jax.Array:
        joint = policy.straight_through(key, logits[:-1], view.avail[:-1])
        own = jax.vmap(jax.vmap(partial(maddpg.values_by_own_action, parts, params)))(view.state[:-1], joint)
        return -jnp.mean(own) + 0.3 * jnp.mean(logits[:-1] ** 2)

    loss = lambda logits: maddpg.policy_loss(parts, key, logits, params, batch, view)[0]
    for found, wanted in zip(*(jax.jit(jax.value_and_grad(f))(logits) for f in (loss, by_hand)), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
