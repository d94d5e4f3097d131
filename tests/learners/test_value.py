"""The TD loss against arithmetic by hand, and learning on probes whose values are known."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learning import batch_of, by_hand, core_of, episode, fresh, hp
from probes import probe

from qllm_jax import learners, mixers
from qllm_jax.core.agents import Agent
from qllm_jax.learners import Core, optimization
from qllm_jax.learners.batches import mixer_inputs
from qllm_jax.learners.targets import lambda_returns
from qllm_jax.learners.value import td_loss, team_values
from qllm_jax.mixers import controls
from qllm_jax.program import compiled


@pytest.mark.parametrize("lam", [0.0, 0.3, 0.6, 1.0])
@pytest.mark.parametrize(
    ("terminated", "mask"),
    [([0, 0, 0, 0], [1, 1, 1, 1]), ([0, 0, 0, 1], [1, 1, 1, 1]), ([0, 1, 0, 0], [1, 1, 0, 0])],
)
def test_lambda_targets_are_the_recursion(lam: float, terminated: list[int], mask: list[int]):
    reward, value = np.array([1.0, -2.0, 3.0, 0.5]) * mask, np.array([9.0, 1.0, 2.0, -1.0, 4.0])
    got = lambda_returns(episode(reward, np.array(terminated, bool), mask), jnp.asarray(value), hp(td_lambda=lam))
    expected = by_hand(reward, terminated, mask, value, 0.9, lam)
    np.testing.assert_allclose(np.asarray(got) * mask, expected, rtol=1e-5)


@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
@pytest.mark.parametrize(("terminated", "mask"), [([0, 0, 0, 0], [1, 1, 1, 1]), ([0, 1, 0, 0], [1, 1, 0, 0])])
def test_a_bias_is_potential_based_reward_shaping(lam: float, terminated: list[int], mask: list[int]):
    """docs/credit_theory.md: TD errors of x + b on rewards r are those of x on r + gamma b(s') - b(s)."""
    reward, gone = np.array([1.0, -2.0, 3.0, 0.5]) * mask, np.array(terminated, bool)
    x, bias = np.array([9.0, 1.0, 2.0, -1.0, 4.0]), np.array([0.3, -2.0, 5.0, 1.0, 0.7])
    numbers = hp(td_lambda=lam)
    shaped = reward + float(numbers.gamma) * bias[1:] * ~gone - bias[:-1]
    error = lambda r, v: np.array(mask) * (v[:-1] - lambda_returns(episode(r, gone, mask), jnp.asarray(v), numbers))
    np.testing.assert_allclose(error(reward, x + bias), error(shaped, x), atol=1e-5)


def test_the_target_is_the_target_network_s_value_of_the_online_network_s_best_available_action():
    env = probe(1, None, lambda state, actions: 0.0, avail=(True, True, False))
    view = jax.vmap(env.view)(jax.tree.map(lambda x: jnp.stack([x, x]), env.reset(jax.random.key(0))))
    q = jnp.array([[[1.0, 2.0, 9.0], [4.0, 3.0, 9.0]]] * 2)  # (slots, agents, actions)
    target_q = jnp.array([[[10.0, 20.0, 30.0], [40.0, 50.0, 60.0]]] * 2)
    vdn = mixers.make("vdn", env.spec)
    taken, best = team_values(vdn, {}, {}, q, target_q, view, jnp.array([[2, 1]]))
    assert float(taken[0]) == 9.0 + 3.0
    np.testing.assert_array_equal(best, [20.0 + 40.0] * 2)
    inputs = mixer_inputs(q[0], jnp.array([2, 1]), jax.tree.map(lambda x: x[0], view))
    np.testing.assert_array_equal(inputs.max_q, [2.0, 4.0])  # the third action is not available


def core(env, agent, mixer: str) -> Core:
    return Core(env, agent, mixers.make(mixer, env.spec), "adam", standardize=False, reward_scale=1.0)


def trained(
    env,
    mixer: str,
    updates: int,
    batch: int = 16,
    n_envs: int = 8,
    time_limit_is_terminal: bool = True,
    **changes: float,
):
    """Train one run on a probe and return the agent and its parameters (leading axis R)."""
    agent = Agent(env.spec, 16)
    parts = learners.make("value", core(env, agent, mixer))
    program = compiled.make(env, agent, parts, compiled.Sizes(n_envs, batch, 128, 1, time_limit_is_terminal, 0.0))
    numbers = hp(1, **changes)
    clock, state = program.warmup(*program.init(jax.random.key(0), jnp.arange(1)), numbers)
    clock, state, metrics = program.chunk(clock, state, numbers, jnp.asarray(updates))
    return agent, state, metrics


def q_of_first_step(agent, state, env):
    params = jax.tree.map(lambda x: x[0], state.learner.params["agent"])
    view = env.view(env.reset(jax.random.key(0)))
    return agent.step(params, agent.initial_hidden(), view.obs, jnp.full((2,), -1))[1]


def test_rewards_are_discounted_to_the_step_before():
    env = probe(2, 2, lambda state, actions: state.t.astype(jnp.float32))  # 0 and then 1
    agent, state, _ = trained(env, "vdn", 600)
    np.testing.assert_allclose(q_of_first_step(agent, state, env).sum(0), [0.9] * 3, atol=0.1)


@pytest.mark.parametrize("time_limit_is_terminal", [True, False])
def test_a_constant_reward_is_learnt_and_without_a_terminal_the_value_after_the_limit_is_bootstrapped(
    time_limit_is_terminal: bool,
):
    env = probe(1, None, lambda state, actions: 1.0)
    agent, state, _ = trained(env, "vdn", 800, time_limit_is_terminal=time_limit_is_terminal)
    total = q_of_first_step(agent, state, env).sum(0)
    if time_limit_is_terminal:
        np.testing.assert_allclose(total, [1.0] * 3, atol=0.1)
    else:
        assert float(total.max()) > 3.0  # towards 1/(1-gamma) = 10


def test_acting_on_a_cue_seen_before_needs_the_recurrent_state():
    def reward(state, actions):
        wanted = jnp.where(state.cue > 0, 2, 0)
        return jnp.where(state.t == 1, jnp.mean((actions == wanted).astype(jnp.float32)), 0.0)

    env = probe(2, 2, reward)
    _, _, metrics = trained(env, "vdn", 1000, lr=1e-2, epsilon_steps=2000.0, epsilon_end=0.0)
    assert float(metrics["return"][0]) > 0.6  # mean over training; 1/3 by chance, 1/2 without memory


@pytest.mark.thorough
def test_one_episode_a_batch_and_one_environment_work():
    env = probe(3, None, lambda state, actions: 1.0)
    _, state, metrics = trained(env, "qmix", 5, batch=1, n_envs=1)
    assert metrics["loss"].shape == (1,)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state.learner.params))


def test_update_equals_a_gradient_step_written_out():
    """One update without clipping: the loss is the masked mean of squared one-step errors of a VDN."""
    env = probe(3, 2, lambda state, actions: 1.0)
    agent = Agent(env.spec, 4)
    parts = learners.make("value", core(env, agent, "vdn"))
    program = compiled.make(env, agent, parts, compiled.Sizes(4, 4, 4, 1, True, 0.0))
    numbers = hp(1)
    _, state = program.warmup(*program.init(jax.random.key(0), jnp.arange(1)), numbers)
    batch = jax.tree.map(lambda x: jnp.moveaxis(x[0], 1, 0), state.storage)  # all zeros: nothing written yet
    batch = batch._replace(reward_t=jnp.ones((3, 4)), mask_t=jnp.ones((3, 4)).at[2, :2].set(0.0))
    batch = batch._replace(terminated_t=jnp.zeros((3, 4), bool).at[2, 2:].set(True).at[1, :2].set(True))
    params = jax.tree.map(lambda x: x[0], state.learner.params)
    view = jax.vmap(jax.vmap(env.view))(batch.env_state)
    (q,) = agent.unroll((params["agent"],), lambda s: jax.vmap(env.view)(s).obs, batch.env_state, batch.action_t)
    q = np.asarray(q)
    total, value = q[..., 0].sum(-1), q.max(-1).sum(-1)  # all actions are 0; the target network equals the online one
    error = total[:-1] - (1.0 + 0.9 * (1 - np.asarray(batch.terminated_t)) * value[1:])
    expected = (np.asarray(batch.mask_t) * error**2).sum() / np.asarray(batch.mask_t).sum()
    one = jax.tree.map(lambda x: x[0], numbers)
    loss, (metrics, _) = td_loss(core(env, agent, "vdn"), params, params, batch, view, one)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-4)


def test_the_learner_of_the_example_has_half_the_squared_loss_where_errors_are_small():
    env = probe(4, 2, lambda state, actions: 1.0)
    batch, losses = batch_of(env), []
    example = Path(__file__).parents[2] / "examples" / "meeting" / "meeting" / "learner.py"
    for name, options in (("value", {}), (f"{example}:make", {"delta": 1e6})):
        learner = learners.make(name, core_of(env, 4, {"name": "vdn"}), **options)
        state = fresh(learner)
        update = jax.jit(lambda batch, learner=learner, state=state: learner.update(state, batch, None, hp(), False))
        losses.append(update(batch)[1]["loss"])
    np.testing.assert_allclose(2.0 * losses[1], losses[0], rtol=1e-5)


@pytest.mark.parametrize("tau", [1.0, 0.01, 5e-4])
def test_numbers_that_a_run_fixes_never_drift_in_the_targets(tau: float):
    fixed = {"mixer": {"salt": jnp.arange(0.0, controls.SALTS, 97)}, "agent": jnp.array([1.0, 2.0])}
    params = {**fixed, "agent": jnp.array([2.0, 2.0])}
    move = lambda _, targets: optimization.update_targets(params, targets, hp(target_tau=tau), jnp.bool_(True))
    targets = jax.jit(lambda: jax.lax.fori_loop(0, 2000, move, fixed))()
    np.testing.assert_array_equal(targets["mixer"]["salt"], fixed["mixer"]["salt"])
    np.testing.assert_allclose(targets["agent"], [2.0 - (1.0 - tau) ** 2000, 2.0], rtol=1e-4)
