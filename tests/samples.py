"""Helpers of the tests of mixers: inputs from spread with 6 agents, and layers in NumPy."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

import qllm_envs
from qllm_jax.mixers import MixerInputs

ENV = qllm_envs.make("mpe_spread", n_agents=6)


def sample(seed: int = 0) -> MixerInputs:
    """One sample: a state after a reset, and random values, of which the chosen ones are the largest."""
    key_env, key_q = jax.random.split(jax.random.key(seed))
    view = ENV.view(ENV.reset(key_env))
    q = jax.random.normal(key_q, (6,))
    return MixerInputs(q, q, jnp.zeros(6, jnp.int32), view.state, view.fields)


def count(params) -> int:
    """Numbers in a pytree of arrays or shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def numpy_mlp(params: dict, x: np.ndarray, head: int | None = None) -> np.ndarray:
    """Linear layers with ReLUs between them, in float64; `head` is the one of several stacked networks."""
    pick = lambda leaf: np.asarray(leaf if head is None else leaf[head], np.float64)
    names = [*sorted(name for name in params if name != "out"), "out"]
    for i, name in enumerate(names):
        x = x @ pick(params[name]["kernel"]) + pick(params[name]["bias"])
        x = np.maximum(x, 0.0) if i < len(names) - 1 else x
    return x


def check_gradients(f: Callable[..., jax.Array], *arguments: Any) -> None:
    """Gradients against finite differences, in float64: in float32 those are too coarse beside kinks of ReLUs."""
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), arguments)
        check_grads(f, wide, order=1, modes=["rev"], atol=1e-5, rtol=1e-5, eps=1e-6)
