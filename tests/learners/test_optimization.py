"""Steps of the optimizers: the clip, and pymarl's RMSprop."""

from types import SimpleNamespace
from typing import cast

import jax.numpy as jnp
import numpy as np

from qllm_jax.learners import Core, optimization


def test_gradients_are_clipped_by_the_norm_of_all_of_them():
    core, params = cast(Core, SimpleNamespace(optimizer="adam")), {"a": jnp.zeros(2), "b": jnp.zeros(1)}
    grads, state = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([4.0])}, optimization.init_optimizer(core, params)
    for clip, share in ((10.0, 1.0), (1.0, 0.2)):
        after = optimization.gradient_step(core, jnp.float32(0.1), jnp.float32(clip), params, state, grads)[1]
        np.testing.assert_allclose(after[0].mu["a"], [0.1 * share * 3.0, 0.0], rtol=1e-6)
        np.testing.assert_allclose(after[0].mu["b"], [0.1 * share * 4.0], rtol=1e-6)


def test_rmsprop_is_pymarl_s():
    core, params, square = cast(Core, SimpleNamespace(optimizer="rmsprop")), {"a": jnp.zeros(2)}, np.zeros(2)
    state, wanted = optimization.init_optimizer(core, params), np.zeros(2)
    for g in (np.array([1e-4, 1.0]), np.array([-3e-4, 0.5])):
        grads = {"a": jnp.asarray(g, jnp.float32)}
        params, state = optimization.gradient_step(core, jnp.float32(0.1), jnp.float32(10.0), params, state, grads)
        square = 0.99 * square + 0.01 * g**2
        wanted -= 0.1 * g / (np.sqrt(square) + 1e-5)
    np.testing.assert_allclose(params["a"], wanted, rtol=1e-5)
