"""Qatten against an independent NumPy reference, its keys, its counts and what the release configured."""

import functools

import jax
import numpy as np
import pytest
from samples import ENV, check_gradients, count, numpy_mlp, sample

import qllm_envs
from qllm_jax import config, mixers
from qllm_jax.errors import UserError


@functools.cache
def built(key_dim: int | str):
    """Parameters and the compiled mixer."""
    mixer = mixers.make("qatten", ENV.spec, key_dim=key_dim)
    return jax.jit(mixer.init)(jax.random.key(0), sample()), jax.jit(mixer.apply)


def numpy_qatten(params: dict, q: np.ndarray, state: np.ndarray, key_dim: int) -> float:
    """Head by head and agent by agent, with weighted heads."""
    total = numpy_mlp(params["constant"], state)[0]
    weights = np.abs(numpy_mlp(params["weights"], state))
    for head, weight in enumerate(weights):
        query = numpy_mlp(params["query"], state, head)
        keys = [numpy_mlp(params["key"], state[i * key_dim : (i + 1) * key_dim], head) for i in range(len(q))]
        scores = np.exp([query @ key / np.sqrt(len(query)) for key in keys])
        total += weight * (scores / scores.sum()) @ q
    return float(total)


@pytest.mark.parametrize(("key_dim", "numbers"), [(1, 1), (7, 7), ("state", 36)])
def test_qatten_equals_numpy(key_dim: int | str, numbers: int):
    params, apply = built(key_dim)
    for seed in range(3):
        inputs = sample(seed)
        expected = numpy_qatten(params["params"], np.asarray(inputs.chosen_q), np.asarray(inputs.state), numbers)
        np.testing.assert_allclose(apply(params, inputs), expected, rtol=1e-5, atol=1e-5)


def test_qatten_is_monotonic_and_its_gradients_are_right():
    (params, apply), inputs = built("state"), sample(1)
    q_tot = lambda params, q: apply(params, inputs._replace(chosen_q=q))
    slopes = jax.vmap(jax.grad(q_tot, argnums=1), (None, 0))(params, jax.random.normal(jax.random.key(3), (20, 6)))
    assert (slopes > 0).all()
    check_gradients(q_tot, params, inputs.chosen_q)


def test_each_head_s_attention_sums_to_one():
    """Raising all values by the same amount raises Q_tot by that amount times the sum of the heads' weights."""
    (params, apply), inputs = built(1), sample()
    raised = apply(params, inputs._replace(chosen_q=inputs.chosen_q + 2.0))
    weights = np.abs(numpy_mlp(params["params"]["weights"], np.asarray(inputs.state)))
    np.testing.assert_allclose(raised - apply(params, inputs), 2.0 * weights.sum(), rtol=1e-4)


def test_the_mixer_has_the_paper_s_size():
    # 191.114K in the paper's table, less its agent with last actions: 128 (36 + 6 + 5 + 1) + 99072 + 645.
    params = jax.eval_shape(mixers.make("qatten", ENV.spec).init, jax.random.key(0), sample())
    assert count(params) == 191_114 - 105_861 == 352 * 216 + 9221


def test_keys_must_lie_in_the_state():
    lbf = qllm_envs.make("lbf", n_agents=4, rows=15, cols=15, n_foods=3).spec  # a state of 25 numbers
    for spec, key_dim, sentence in (
        (lbf, "state", "key_dim 'state' needs a state of 4 equal parts, one an agent, and lbf has 25 numbers"),
        (lbf, 7, "key_dim 7 for 4 agents needs a state of 28 numbers, and lbf has 25: choose at most 6"),
        (ENV.spec, "own", "key_dim must be 'state' or an integer of at least 1, got 'own'"),
        (ENV.spec, 0, "key_dim must be an integer of at least 1, got 0"),
        (ENV.spec, True, "key_dim must be an integer of at least 1, got True"),
    ):
        with pytest.raises(UserError) as error:
            mixers.make("qatten", spec, key_dim=key_dim)
        assert f"mixer 'qatten': {sentence}" in str(error.value)


def test_the_release_s_qatten_is_as_found():
    algo = config.load(["algo=repo_qatten"]).algo
    assert (algo.n_envs, algo.batch_episodes, algo.lr, algo.td_lambda) == (8, 128, 1e-3, 0.6)
    assert (algo.last_action, algo.standardize_rewards, algo.mixer["key_dim"]) == (True, False, 1)
    assert (algo.target_tau, algo.target_interval * algo.n_envs) == (1.0, 200)  # a hard copy every 200 episodes
    assert algo.grad_clip == 2 * 10.0  # of twice its loss
