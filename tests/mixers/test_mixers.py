"""Mixers against independent NumPy references, their parameter counts, and the equalities between them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from samples import ENV, count, sample

from qllm_jax import mixers
from qllm_jax.core.agents import Agent
from qllm_jax.errors import UserError
from qllm_jax.mixers.tfcaf import from_credit
from qllm_jax.tfcaf import from_source

UNIFORM = """
import jax.numpy as jnp

IGM = True

def credit(state):
    n = state["agent_pos"].shape[0]
    return jnp.ones(n) / n, 0.0
"""
SIGNED = """
import jax.numpy as jnp

IGM = {igm}

def credit(state):
    x = state["agent_pos"][:, 0]
    return jnp.where(jnp.arange(x.shape[0]) == 0, -1.0, 1.0) + 0.0 * x, 2.0
"""


def numpy_qmix(params: dict, q: np.ndarray, state: np.ndarray) -> float:
    """Eq. 5 to 7 with two-layer hypernetworks, written from the paper."""
    layer = lambda name, x: x @ np.asarray(params[name]["kernel"]) + np.asarray(params[name]["bias"])
    relu = lambda x: np.maximum(x, 0)
    w1 = np.abs(layer("w1_out", relu(layer("w1_hidden", state)))).reshape(len(q), -1)
    w2 = np.abs(layer("w2_out", relu(layer("w2_hidden", state))))
    pre = q @ w1 + layer("b1", state)
    hidden = np.where(pre > 0, pre, np.exp(np.minimum(pre, 0)) - 1)
    return float(hidden @ w2 + layer("b2_out", relu(layer("b2_hidden", state)))[0])


def test_qmix_parameters_equal_the_paper_s_table():
    mixer = mixers.make("qmix", ENV.spec, hypernet_dim=32)
    params = jax.eval_shape(mixer.init, jax.random.key(0), sample())
    agent = jax.eval_shape(Agent(ENV.spec, 128).init, jax.random.key(0))
    assert count((params, agent)) == 140_422  # "140.422K", spread N=6


def test_qmix_equals_numpy():
    mixer = mixers.make("qmix", ENV.spec)
    params = mixer.init(jax.random.key(0), sample())
    for seed in range(3):
        inputs = sample(seed)
        expected = numpy_qmix(params["params"], np.asarray(inputs.chosen_q), np.asarray(inputs.state))
        np.testing.assert_allclose(mixer.apply(params, inputs), expected, rtol=1e-4, atol=1e-5)


def test_qmix_is_monotonic_and_its_gradient_is_right():
    mixer = mixers.make("qmix", ENV.spec)
    params, inputs = mixer.init(jax.random.key(0), sample()), sample(1)
    q_tot = lambda q: mixer.apply(params, inputs._replace(chosen_q=q))
    assert (jax.vmap(jax.grad(q_tot))(10 * jax.random.normal(jax.random.key(3), (50, 6))) >= 0).all()
    check_grads(q_tot, (inputs.chosen_q,), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)


def test_vdn_is_tfcaf_with_uniform_weights():
    uniform = from_credit(from_source(UNIFORM, "uniform", ENV.spec), scale=6.0)
    vdn = mixers.make("vdn", ENV.spec)
    for seed in range(3):
        np.testing.assert_allclose(uniform.apply({}, sample(seed)), vdn.apply({}, sample(seed)), rtol=1e-5)


@pytest.mark.parametrize(("igm", "weight"), [(True, 0.0), (False, -1.0)])
def test_the_igm_gate_clamps_negative_weights_and_scale_multiplies_weights_and_bias(igm: bool, weight: float):
    mixer = from_credit(from_source(SIGNED.format(igm=igm), "signed", ENV.spec), scale=3.0)
    inputs = sample()._replace(chosen_q=jnp.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.5]))
    assert float(mixer.apply({}, inputs)) == pytest.approx(3.0 * (weight + 0.5 + 2.0))


def test_tfcaf_and_vdn_have_no_parameters():
    for name in ("tfcaf", "vdn"):
        assert jax.tree.leaves(mixers.make(name, ENV.spec).init(jax.random.key(0), sample())) == []


@pytest.mark.parametrize("name", mixers.names())
def test_every_mixer_gives_a_finite_scalar_under_jit_and_vmap(name: str):
    mixer = mixers.make(name, ENV.spec)
    params = mixer.init(jax.random.key(0), sample())
    batch = jax.tree.map(lambda *xs: jnp.stack(xs), *[sample(i) for i in range(4)])
    out = jax.jit(jax.vmap(mixer.apply, (None, 0)))(params, batch)
    assert out.shape == (4,)
    assert jnp.isfinite(out).all()
    np.testing.assert_allclose(out[2], mixer.apply(params, sample(2)), rtol=1e-4)


OPTIONS = [
    ("qmix", {"embed_dim": 0}, "mixer 'qmix': embed_dim must be an integer of at least 1, got 0"),
    ("qmix", {"hypernet_dim": "wide"}, "mixer 'qmix': hypernet_dim must be an integer of at least 1, got 'wide'"),
    ("qmix", {"hypernet_layers": 3}, "mixer 'qmix': hypernet_layers 3 does not exist: choose from 1, 2"),
    ("qmix", {"hypernet_layers": True}, "mixer 'qmix': hypernet_layers True does not exist: choose from 1, 2"),
]


@pytest.mark.parametrize(("name", "options", "sentence"), OPTIONS)
def test_bad_options_are_told_what_is_allowed(name: str, options: dict, sentence: str):
    with pytest.raises(UserError) as error:
        mixers.make(name, ENV.spec, **options)
    assert str(error.value) == sentence
