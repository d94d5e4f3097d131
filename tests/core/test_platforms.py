"""Forms for a GPU and for a CPU compute the same, tried on a CPU; CPU programs choose their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax
from probes import probe

import qllm_envs
from qllm_jax import config
from qllm_jax.core import lockstep, platforms, rollout, rollout_gpu
from qllm_jax.core.agents import Agent
from qllm_jax.core.rows import rows_of
from qllm_jax.errors import UserError
from qllm_jax.learners import targets
from qllm_jax.program import experiment, one_run

pytestmark = pytest.mark.thorough

KEY = jax.random.key(0)


def episodes(form, env, last_action: bool = False, agent_id: bool = True, act=rollout.epsilon_greedy):
    """Four episodes of one network, half of whose actions are random."""
    agent = Agent(env.spec, 8, agent_id, last_action)
    params = agent.init(jax.random.key(9))
    one = lambda key: form(env, agent, act, params, key, jnp.asarray(0.5), True)
    return jax.jit(lambda keys: lockstep.vmap(one)(keys))(jax.random.split(KEY, 4))


def assert_same(env, **how):
    there, here = (episodes(form, env, **how) for form in (rollout_gpu.rollout, rollout.rollout))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), there, here)
    assert jax.tree.map(lambda x: x.dtype, there) == jax.tree.map(lambda x: x.dtype, here)
    return here


def test_rollouts_play_the_same_episodes():
    env = qllm_envs.make("mpe_spread", n_agents=2, horizon=10, drop_last_reward=True)
    np.testing.assert_array_equal(assert_same(env).mask_t, np.ones((4, 10)))


@pytest.mark.parametrize("agent_id", [True, False])
def test_rollouts_play_the_same_episodes_whatever_the_network_reads(agent_id: bool):
    env = qllm_envs.make("duty", n_agents=3, horizon=3)  # random at each step; some actions are not available
    assert_same(env, last_action=True, agent_id=agent_id, act=rollout.softmax_sampled)


@pytest.mark.parametrize(("horizon", "ends_at"), [(10, 4), (7, 7), (11, 1)])
def test_rollouts_end_early_the_same(horizon: int, ends_at: int):
    env = probe(horizon, ends_at, lambda state, actions: actions[0] + state.cue)
    assert (assert_same(env).mask_t.sum(-1) == ends_at).all()


def test_trips_have_few_steps_and_one_where_a_step_is_a_large_program():
    spread = lambda horizon: rollout_gpu.trip_length(qllm_envs.make("mpe_spread", n_agents=2, horizon=horizon))
    assert [spread(horizon) for horizon in (25, 12, 7)] == [5, 4, 1]
    env = probe(50, None, lambda state, actions: 1.0)
    unrolled = lambda state, times: state._replace(cue=sum((jnp.sin(state.cue + i) for i in range(times)), state.cue))
    heavy = lambda times: env._replace(step=lambda key, state, actions: env.step(key, unrolled(state, times), actions))
    assert [rollout_gpu.trip_length(heavy(times)) for times in (1, rollout_gpu.LARGE)] == [5, 1]


def test_a_program_that_is_built_for_a_gpu_has_its_rollouts(monkeypatch: pytest.MonkeyPatch):
    settings = config.load(["env=duty", "env.horizon=2", "n_agents=2", "algo=matched_vdn", "algo.hidden_dim=4"])
    called = []
    played = lambda *args: called.append("gpu") or rollout.rollout(*args)
    monkeypatch.setattr(one_run.rollout_gpu, "rollout", played)
    own = platforms.of_backend()  # what None means
    for platform in ("cpu", "gpu", None):
        exp = experiment.build(settings, platform=platform)
        called.clear()
        jax.eval_shape(exp.program.init, exp.root, exp.seeds, exp.choice)
        assert called == ["gpu"] * ((platform or own) == "gpu")


def test_rows_keep_every_bit():
    floats = jnp.array([[np.nan, -0.0], [np.inf, 1e-40]], jnp.float32)
    tree = {
        "floats": floats,
        "half": jnp.array([np.nan, 0.25, 1.75], jnp.bfloat16),
        "flag": jnp.array([True, False]),
        "small": jnp.array([-128, 127], jnp.int8),
        "byte": jnp.array(255, jnp.uint8),
        "large": jnp.array([2**32 - 1], jnp.uint32),
        "int": jnp.int32(-(2**31)),
    }
    rows = rows_of(tree)
    row = jax.jit(rows.pack)(tree)
    assert (row.shape, row.dtype) == ((rows.size,), jnp.int32)
    back = jax.jit(rows.unpack)(jnp.stack([row, row]))
    bits = lambda x: np.asarray(x).tobytes()
    assert jax.tree.map(lambda x: (bits(x[1]), x.dtype, x.shape[1:]), back) == jax.tree.map(
        lambda x: (bits(x), x.dtype, x.shape), tree
    )


def test_rows_refuse_what_has_more_than_32_bits():
    with pytest.raises(UserError, match=r"must hold numbers of at most 32 bits, got key<fry>"):
        rows_of({"key": jax.random.key(0)})


@pytest.mark.parametrize("n_actions", [1, 5, rollout.MOST_COMPARED + 1])
def test_comparisons_find_the_first_of_the_largest(n_actions: int):
    x = jax.random.randint(KEY, (200, n_actions), 0, 3).astype(jnp.float32)  # many are equal
    x = x.at[0].set(-jnp.inf)
    np.testing.assert_array_equal(rollout._compared(x), jnp.argmax(x, -1))


@pytest.mark.parametrize("length", [1, 2, 25, 250])
@pytest.mark.parametrize("lambda_", [0.0, 0.6, 1.0])
def test_lambda_returns_need_no_loop(length: int, lambda_: float):
    keys = jax.random.split(KEY, 3)
    reward_t, value_t = (jax.random.normal(key, (length,)) for key in keys[:2])
    discount_t = 0.99 * (jax.random.uniform(keys[2], (length,)) > 0.05)  # 0 where an episode ends
    expected = rlax.lambda_returns(reward_t, discount_t, value_t, lambda_)
    np.testing.assert_allclose(
        targets._doubled(reward_t, discount_t, value_t, jnp.float32(lambda_)), expected, rtol=1e-5, atol=1e-5
    )


def test_a_program_has_the_form_for_its_platform():
    chosen = jax.jit(lambda x: platforms.choose(x, cpu=lambda x: x + 1, gpu=lambda x: x + 2))
    assert chosen(1) == {"cpu": 2, "gpu": 3}[platforms.of_backend()]
    for platform, has, has_not in (("cuda", "dense<2>", "dense<1>"), ("cpu", "dense<1>", "dense<2>")):
        lowered = chosen.trace(1).lower(lowering_platforms=(platform,)).as_text()
        assert has in lowered
        assert has_not not in lowered
