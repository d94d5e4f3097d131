"""QPLEX against an independent NumPy reference, its two streams, its gradient and its counts."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from samples import ENV, count, numpy_mlp, sample

from qllm_jax import mixers
from qllm_jax.core.agents import Agent
from qllm_jax.errors import UserError
from qllm_jax.mixers import MixerInputs

SIZES = {
    "pymarl2": {},
    "original_smac": {"heads": 4, "adv_layers": 1},
    "original_toy": {"heads": 10, "adv_layers": 3},
}


@functools.cache
def built(sizes: str = "pymarl2"):
    """Parameters and the compiled mixer."""
    mixer = mixers.make("qplex", ENV.spec, **SIZES[sizes])
    return jax.jit(mixer.init)(jax.random.key(0), sample()), jax.jit(mixer.apply)


def some_actions(seed: int = 0) -> MixerInputs:
    """A sample whose actions are not all greedy."""
    key_max, key_action = jax.random.split(jax.random.key(100 + seed))
    inputs = sample(seed)
    better = jnp.maximum(jax.random.normal(key_max, (6,)), 0.0)
    return inputs._replace(max_q=inputs.chosen_q + better, action=jax.random.randint(key_action, (6,), 0, 5))


def numpy_streams(params: dict, inputs: MixerInputs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The main stream's summands, the advantages and lambda, agent by agent, head by head."""
    q, max_q, state = (np.asarray(x, np.float64) for x in (inputs.chosen_q, inputs.max_q, inputs.state))
    w, v = np.abs(numpy_mlp(params["w"], state)) + 1e-10, numpy_mlp(params["v"], state)
    joint = np.concatenate([state, np.eye(5)[np.asarray(inputs.action)].ravel()])
    sigmoid = lambda x: 1.0 / (1.0 + np.exp(-x))
    importance = np.zeros(6)
    for head in range(len(params["key"]["out"]["bias"])):
        key = abs(numpy_mlp(params["key"], state, head)[0]) + 1e-10
        agent, action = (numpy_mlp(params[n], x, head) for n, x in (("agents", state), ("actions", joint)))
        importance += key * sigmoid(agent) * sigmoid(action)
    return w * q + v, (w * q + v) - (w * max_q + v), importance


@pytest.mark.parametrize("sizes", SIZES)
def test_qplex_equals_numpy(sizes: str):
    params, apply = built(sizes)
    for seed in range(3):
        main, advantage, importance = numpy_streams(params["params"], some_actions(seed))
        expected = main.sum() + advantage @ (importance - 1.0)
        np.testing.assert_allclose(apply(params, some_actions(seed)), expected, rtol=1e-5, atol=1e-5)


def test_greedy_actions_leave_the_main_stream():
    (params, apply), inputs = built(), sample()  # chosen values are the largest
    main, advantage, _ = numpy_streams(params["params"], inputs)
    assert (advantage == 0).all()
    np.testing.assert_allclose(apply(params, inputs), main.sum(), rtol=1e-5)
    others = inputs._replace(action=inputs.action + 3)  # nor does it then matter which action is the greedy one
    assert float(apply(params, others)) == float(apply(params, inputs))


def test_a_worse_action_of_any_agent_is_worse_for_the_team():
    """Monotonic in the advantages: at given actions Q_tot rises with each chosen value, as do the agents' gradients."""
    (params, apply), inputs = built(), some_actions()
    q_tot = lambda q: apply(params, inputs._replace(chosen_q=q))
    for i in range(6):
        assert q_tot(inputs.chosen_q) < q_tot(inputs.chosen_q.at[i].add(0.5))
    state = np.asarray(inputs.state)
    w = np.abs(numpy_mlp(params["params"]["w"], state)) + 1e-10
    np.testing.assert_allclose(jax.grad(q_tot)(inputs.chosen_q), w, rtol=1e-4)  # the main stream's slope alone


def test_credit_weights_are_w_lambda_where_an_update_passes_w_alone():
    (params, _), inputs = built(), some_actions()
    state = np.asarray(inputs.state)
    w = np.abs(numpy_mlp(params["params"]["w"], state)) + 1e-10
    importance = numpy_streams(params["params"], inputs)[2]
    found = jax.jit(partial(mixers.slopes, mixers.make("qplex", ENV.spec)))(params, inputs)
    np.testing.assert_allclose(found, w * importance, rtol=1e-4)


def test_gradients_are_those_of_finite_differences_with_frozen_advantages():
    inputs = some_actions(1)
    params, apply = built()
    with jax.enable_x64(True):
        inputs = jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, inputs)
        params = jax.tree.map(lambda x: x.astype(jnp.float64), params)["params"]
        keys = jax.random.split(jax.random.key(5), len(jax.tree.leaves(params)))
        keys = jax.tree.unflatten(jax.tree.structure(params), keys)
        direction = jax.tree.map(lambda key, x: jax.random.normal(key, x.shape, x.dtype), keys, params)
        grads = jax.grad(lambda params: apply({"params": params}, inputs))(params)
        slope = sum(float(jnp.sum(g * d)) for g, d in zip(*map(jax.tree.leaves, (grads, direction)), strict=True))
    # Outside of the context JAX would cut them to float32 again.
    params, direction, inputs = jax.tree.map(np.asarray, (params, direction, inputs))
    frozen = numpy_streams(params, inputs)[1]

    def along(step: float) -> float:
        main, _, importance = numpy_streams(jax.tree.map(lambda x, d: x + step * d, params, direction), inputs)
        return main.sum() + frozen @ importance

    np.testing.assert_allclose(slope, (along(1e-6) - along(-1e-6)) / 2e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("sizes", "expected"), [("pymarl2", 311_493), ("original_smac", 145_781), ("original_toy", 702_867)]
)
def test_counts_with_the_paper_s_agent(sizes: str, expected: int):
    # By hand for spread, N=6, hidden 128; the paper prints COMA's 154.762K in QPLEX's column.
    params = jax.eval_shape(mixers.make("qplex", ENV.spec, **SIZES[sizes]).init, jax.random.key(0), sample())
    agent = jax.eval_shape(Agent(ENV.spec, 128).init, jax.random.key(0))
    assert count((params, agent)) == expected


@pytest.mark.parametrize("option", ["heads", "adv_layers", "adv_dim", "hypernet_dim"])
def test_sizes_that_make_no_network_are_refused(option: str):
    with pytest.raises(UserError, match=f"mixer 'qplex': {option} must be an integer of at least 1, got 0"):
        mixers.make("qplex", ENV.spec, **{option: 0})
