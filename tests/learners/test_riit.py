"""RIIT: what each of its three steps changes, its losses by hand, sizes, and learning on probes."""

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
    last_view,
    sized,
    train_on,
)
from probes import probe

from qllm_jax import learners
from qllm_jax.core.types import Episode
from qllm_jax.errors import UserError
from qllm_jax.learners import base, batches, riit
from qllm_jax.learners.critics import Critic
from qllm_jax.mixers.tfcaf import from_credit
from qllm_jax.program import compiled, guard
from qllm_jax.tfcaf import from_source

QMIX = {"name": "qmix", "hypernet_layers": 1}
VDN = {"name": "vdn"}
# agents, observation, state, actions, hidden, last action, parameters as in the paper's table
TABLE = {
    "spread": (6, 36, 216, 5, 128, True, 191_175),
    "tag": (3, 16, 48, 5, 128, True, 132_199),
    "adversary": (2, 10, 20, 5, 128, True, 124_359),
    "lbf 8x8-2p-2f": (2, 12, 14, 6, 128, True, 124_296),
    "lbf 10x10-3p-3f": (3, 18, 21, 6, 128, True, 127_912),
    "lbf 15x15-4p-3f": (4, 21, 25, 6, 128, True, 130_536),
    "climbing": (2, 2, 2, 3, 128, True, 118_661),
    "football 3v1 and counterattack": (4, 115, 460, 19, 256, False, 568_085),
    "football pass": (3, 115, 345, 19, 256, False, 530_869),
}
CREDIT = """
import jax.numpy as jnp

IGM = True

def credit(state):
    return jnp.array([0.25, 0.75]) + 0.0 * state["t"], 0.0
"""


@pytest.mark.parametrize("task", TABLE)
def test_parameters_equal_the_paper_s_table(task: str):
    *sizes, hidden, last_action, expected = TABLE[task]
    assert count(learners.make("riit", core_of(sized(*sizes), hidden, QMIX, last_action))) == expected


def method(env, mixer=None, hidden: int = 4) -> riit.Method:
    core = core_of(env, hidden, mixer or VDN)
    return riit.Method(core, base.require_mixer(core, "riit"), Critic(8, 1), None, 0.03)


@pytest.fixture(scope="module")
def played():
    """A learner with QMIX on a probe that ends after two of four steps, its state, and a batch."""
    env = probe(4, 2, lambda state, actions: 1.0 + state.t)
    learner = learners.make("riit", core_of(env, 4, QMIX), critic_dim=8, recent_episodes=2)
    return env, learner, fresh(learner), batch_of(env)


def team_values(parts: riit.Method, params, batch: Episode) -> np.ndarray:
    """Sum of the critics of the actions taken, (T+1, B), one sample at a time; action 0 after the end."""
    view = batches.views(parts.core.env, batch)
    action = jnp.concatenate([batch.action_t, jnp.zeros_like(batch.action_t[:1])])
    out = np.zeros(action.shape[:2])
    for t, b, i in np.ndindex(*action.shape):
        parts_of_i = {"obs": view.obs[t, b, i], "id": jnp.eye(2)[i], "action": jnp.eye(3)[action[t, b, i]]}
        out[t, b] += float(parts.critic.apply(params["agents"], parts_of_i)[0])  # pyright: ignore
    return out


def test_the_critic_s_loss_is_td_lambda_of_the_summed_critics_by_hand():
    env = probe(4, 3, lambda state, actions: 1.0 + state.t)
    parts, batch = method(env), batch_of(env)
    learner = learners.make("riit", parts.core, critic_dim=8)
    state = fresh(learner)
    other = fresh(learner, 1).params["critic"]
    state = state._replace(target_params={"critic": other})
    action = jnp.concatenate([batch.action_t, jnp.zeros_like(batch.action_t[:1])])
    step = jax.jit(
        lambda state: riit.critic_step(parts, state, batch, batches.views(env, batch), action, hp(td_lambda=0.6))
    )
    got = step(state)[1]["loss"]
    value, target = team_values(parts, state.params["critic"], batch), team_values(parts, other, batch)
    error, mask = np.zeros((4, 2)), np.asarray(batch.mask_t)
    for b in range(2):
        ends = np.asarray(batch.terminated_t[:, b], int)
        returns = by_hand(np.asarray(batch.reward_t[:, b]), ends, mask[:, b], target[:, b], 0.9, 0.6)
        error[:, b] = value[:-1, b] - returns
    np.testing.assert_allclose(got, 0.5 * (mask * error**2).sum() / mask.sum(), rtol=1e-4)


def test_the_off_policy_step_leaves_the_policy_and_the_targets_untouched(played):
    env, _, state, batch = played
    parts = method(env, QMIX)
    after = jax.jit(lambda state: riit.off_policy_step(parts, state, batch, hp()))(state).state
    same = lambda a, b: all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    assert same(after.params["agent"], state.params["agent"])
    assert same(after.opt_state["agent"], state.opt_state["agent"])
    assert same(after.target_params, state.target_params)
    assert not same(after.params["critic"]["agents"], state.params["critic"]["agents"])
    assert not same(after.params["critic"]["mixer"], state.params["critic"]["mixer"])


@pytest.mark.parametrize("ends", [True, False])
def test_off_policy_a_last_step_counts_only_if_the_episode_ended_there(ends: bool):
    env = probe(2, None, lambda state, actions: 1.0)
    batch = batch_of(env)
    batch = batch._replace(terminated_t=jnp.zeros((2, 2), bool).at[1].set(ends))
    parts = method(env)
    state = fresh(learners.make("riit", parts.core, critic_dim=8))
    loss = lambda reward: riit.off_policy_step(parts, state, batch._replace(reward_t=reward), hp())[1]["loss"]
    slope = jax.jit(jax.grad(loss))(batch.reward_t)
    assert (slope[0] != 0).all()
    assert ((slope[1] != 0) == ends).all()


def test_a_critic_step_on_the_replay_that_is_not_finite_shows_in_the_metrics(played):
    env, learner, state, batch = played
    marked = batch.env_state._replace(cue=jnp.full_like(batch.env_state.cue, 5.0))
    spoiled = batch._replace(env_state=marked, reward_t=batch.reward_t.at[0, 0].set(jnp.nan))
    after, metrics, suspect = found = jax.jit(partial(learner.update, state))(spoiled, batch, hp(), jnp.bool_(False))
    assert not np.isfinite(metrics["off_policy_loss"])
    assert not np.isfinite(metrics["off_policy_grad_norm"])
    assert np.isfinite(metrics["loss"])
    assert suspect.cue == 5.0  # of the replay
    clock = compiled.Clock(*[jnp.int32(1)] * 3)
    fault = guard.after_update(guard.none(env.reset(jax.random.key(0))), clock, found)
    assert fault.of_loss
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.params))


def test_padding_changes_nothing(played):
    _, learner, state, batch = played
    update = lambda batch: learner.update(state, batch, batch, hp(td_lambda=0.6), jnp.bool_(False))[0].params
    assert_unread_padding(update, batch)


def test_the_policy_climbs_the_mixed_value_of_its_probabilities():
    """With critics that pay 1, 2 and 5 for the three actions, the loss is the negative mean of the sum."""
    env = probe(1, 1, lambda state, actions: 0.0, avail=(True, True, False))
    parts = method(env)._replace(entropy_weight=0.5, critic=Priced())  # pyright: ignore[reportArgumentType]
    batch, logits = batch_of(env), jnp.log(jnp.array([[0.25, 0.75, 0.6], [0.5, 0.5, 0.1]]))
    logits = jnp.broadcast_to(logits[None, None], (2, 2, 2, 3))
    view = batches.views(env, batch)
    loss, entropy = riit.policy_loss(parts, logits, {"agents": {}, "mixer": {}}, view, batch)
    plain = -np.mean([(p * np.log(p)).sum() for p in (np.array([0.25, 0.75]), np.array([0.5, 0.5]))])
    np.testing.assert_allclose(entropy, plain, rtol=1e-5)
    np.testing.assert_allclose(loss, -(0.25 + 2 * 0.75 + 0.5 + 2 * 0.5) - 0.5, rtol=1e-5)


class Priced:
    """A critic with known values."""

    def apply(self, params, parts):
        del params
        return (parts["action"] @ jnp.array([1.0, 2.0, 5.0]))[None]


def test_credit_weights_are_the_slopes_of_the_mixer_over_all_slots():
    env = probe(3, None, lambda state, actions: 1.0)
    core = core_of(env, 4)._replace(mixer=from_credit(from_source(CREDIT, "credit", env.spec), scale=2.0))
    learner = learners.make("riit", core, critic_dim=8)
    one = jax.tree.map(lambda x: x[:, 0], batch_of(env))
    assert learner.credit is not None
    weights = jax.jit(partial(base.credit_weights, learner.credit))(fresh(learner).params, one)
    np.testing.assert_allclose(weights, np.tile([0.5, 1.5], (4, 1)), rtol=1e-6)


@pytest.fixture(scope="module")
def both() -> Trained:
    """Two runs."""
    core = core_of(first_move(), 16, QMIX)
    learner = learners.make("riit", core, critic_dim=16, recent_episodes=16)
    return train_on(core, learner, 100, compiled.Sizes(8, 16, 64, 1, True, 0.0), (0, 1), lr=1e-2, td_lambda=0.6)


@pytest.mark.thorough
def test_the_better_action_is_learnt(both: Trained):
    assert (both.returns.mean(-1) > 0.95).all()


@pytest.mark.thorough
def test_the_critic_knows_what_the_better_actions_pay(both: Trained):
    parts, view = method(first_move(), QMIX)._replace(critic=Critic(16, 1)), last_view()
    inputs = riit.mixer_inputs(parts, both.params["critic"], jnp.eye(3)[jnp.array([2, 2])], jnp.array([2, 2]), view)
    assert float(parts.mixer.apply(both.params["critic"]["mixer"], inputs)) == pytest.approx(1.0, abs=0.1)


def test_it_needs_a_mixer():
    with pytest.raises(UserError, match=r"algo.learner 'riit' needs a mixer: set algo.mixer.name"):
        learners.make("riit", core_of(first_move()))


@pytest.mark.parametrize("method", ["riit", "vmix"])
def test_a_mixer_that_compares_actions_is_refused(method: str):
    with pytest.raises(
        UserError, match=f"algo.learner '{method}' cannot use this algo.mixer: its agents have one value"
    ):
        learners.make(method, core_of(first_move(), mixer={"name": "qplex"}))


def test_off_policy_targets_are_of_one_step_whatever_lambda():
    env = probe(4, 2, lambda state, actions: 1.0 + state.t)
    parts, batch = method(env), batch_of(env)
    state = fresh(learners.make("riit", parts.core, critic_dim=8))
    loss = jax.jit(lambda lam: riit.off_policy_step(parts, state, batch, hp()._replace(td_lambda=lam))[1]["loss"])
    assert float(loss(0.9)) == float(loss(0.0))
