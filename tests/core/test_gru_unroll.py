"""The kernels of whole unrolls, interpreted on the CPU, equal a scan over `gru_cell`: values and gradients."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core as jex_core

import qllm_envs
from qllm_jax.core.agents import Agent
from qllm_jax.core.gru import GruParams, gru_cell
from qllm_jax.core.gru_unroll import unroll
from qllm_jax.core.jaxprs import inner_jaxprs
from qllm_jax.core.types import Params
from qllm_jax.errors import UserError

pytestmark = pytest.mark.thorough

Operands = tuple[GruParams, jax.Array, jax.Array]  # (params, first hidden state (rows, H), x (slots, rows, inputs))


BACKEND_LEVEL = "xla_backend_optimization_level"


def scanned(params: GruParams, first: jax.Array, x: jax.Array) -> jax.Array:
    step = lambda hidden, x: (gru_cell(params, hidden, x),) * 2
    return jax.lax.scan(step, first, x)[1]


def kernel(params: GruParams, first: jax.Array, x: jax.Array) -> jax.Array:
    return unroll((params,), (first,), (x,))[0]


def operands(seed: int, rows: int, slots: int, hidden: int, inputs: int = 3) -> Operands:
    keys = jax.random.split(jax.random.key(seed), 6)
    shapes = [(inputs, 3 * hidden), (hidden, 3 * hidden), (3 * hidden,), (3 * hidden,)]
    draw = lambda key, shape: jax.random.uniform(key, shape, minval=-1, maxval=1)
    params = GruParams(*(draw(key, shape) / hidden**0.5 for key, shape in zip(keys[:4], shapes, strict=True)))
    return params, draw(keys[4], (rows, hidden)), draw(keys[5], (slots, rows, inputs))


def values_and_gradients(function: Callable[..., jax.Array], given: Operands) -> tuple[jax.Array, Operands]:
    def loss(*given: jax.Array) -> tuple[jax.Array, jax.Array]:
        hidden = function(*given)
        return jnp.mean(jnp.sin(3 * hidden) * hidden), hidden

    grads, hidden = jax.grad(loss, (0, 1, 2), has_aux=True)(*given)
    return hidden, grads


def assert_equal(got: object, expected: object) -> None:
    """Each array within 1e-5 of its largest number."""
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5 * float(jnp.abs(y).max()) + 1e-12)


# Blocks of 16 rows, full and not, one and two. The interpreted products of wide networks compile in half the time at
# level 0, and there are few slots to run.
@pytest.mark.parametrize(("rows", "slots", "hidden", "level"), [(3, 250, 16, 2), (17, 25, 64, 0), (5, 2, 128, 0)])
def test_values_and_gradients_equal_a_scan_s(rows: int, slots: int, hidden: int, level: int):
    given = operands(0, rows, slots, hidden)
    ours = jax.jit(lambda given: values_and_gradients(kernel, given), compiler_options={BACKEND_LEVEL: level})
    assert_equal(ours(given), jax.jit(lambda given: values_and_gradients(scanned, given))(given))


def test_runs_with_their_own_weights_and_two_networks_are_one_launch():
    runs = 3
    online, target = (jax.vmap(lambda i, seed=seed: operands(seed + i, 18, 2, 4))(jnp.arange(runs)) for seed in (0, 9))
    by_kernel: Any = lambda *both: unroll(*zip(*both, strict=True))
    by_scan = lambda *both: tuple(scanned(*each) for each in both)

    def gradients(function: Callable[..., tuple[jax.Array, ...]]) -> Callable[..., Any]:
        product = lambda target: lambda *online: jnp.prod(jnp.stack(function(online, target)), 0)
        return jax.vmap(lambda online, target: values_and_gradients(product(target), online))

    assert_equal(jax.jit(gradients(by_kernel))(online, target), jax.jit(gradients(by_scan))(online, target))
    forward, backward = launches(jax.make_jaxpr(gradients(by_kernel))(online, target).jaxpr)
    assert forward.params["grid_mapping"].grid == (2, runs, 2)
    # Only the network that is differentiated saves its gates, and only it has a backward pass.
    assert backward.params["grid_mapping"].grid == (2, runs, 1)
    assert len(forward.outvars) == len(("hidden", "gates", "new hidden", "target's hidden"))


def launches(jaxpr: jex_core.Jaxpr) -> list[jex_core.JaxprEqn]:
    """The kernels for GPUs in a program, none of which is in a loop."""
    found = []
    for eqn in jaxpr.eqns:
        inner = list(inner_jaxprs(eqn))
        if eqn.primitive.name == "pallas_call":
            found += [] if eqn.params["interpret"] else [eqn]
        else:
            assert eqn.primitive.name not in ("scan", "while") or not any(map(launches, inner))
            found += [kernel for each in inner for kernel in launches(each)]
    return found


def test_a_result_can_be_left_unused_and_a_width_need_not_be_a_power_of_two():
    given, other = operands(0, 1, 1, 20), operands(1, 1, 1, 20)

    def both(params: GruParams, first: jax.Array, x: jax.Array) -> jax.Array:
        # The second network is differentiated too, and gets no gradient.
        return unroll((params, params), (first, other[1]), (x, other[2]))[0]

    got = jax.jit(lambda given: values_and_gradients(both, given))(given)
    assert_equal(got, jax.jit(lambda given: values_and_gradients(scanned, given))(given))


def test_inputs_of_2_to_the_31_numbers_are_refused():
    rows = 2**31 // (3 * 128) + 1
    shapes = jax.eval_shape(lambda: operands(0, rows, 1, 128))
    with pytest.raises(UserError, match="set a smaller group, or unroll=scan"):
        jax.eval_shape(kernel, *shapes)


def test_an_agent_unrolls_alike_by_kernels_and_by_a_scan():
    spec = qllm_envs.make("mpe_spread", n_agents=3).spec
    made = {by: Agent(spec, 8, last_action=True, unroll_by=by) for by in ("scan", "pallas")}
    networks = tuple(made["scan"].init(jax.random.key(i)) for i in range(2))
    obs = jax.random.normal(jax.random.key(1), (3, 2, 3, spec.obs_dim))  # (T+1, B, N, O)
    action_t = jax.random.randint(jax.random.key(2), (2, 2, 3), 0, spec.n_actions)

    def outputs(by: str) -> Any:
        def loss(params: Params) -> tuple[jax.Array, Any]:
            q, target_q = made[by].unroll((params, networks[1]), lambda x: x, obs, action_t)
            ((hidden, _),) = made[by].unroll_hidden((params,), lambda x: x, obs, action_t)
            return jnp.sum(q * target_q) + jnp.sum(jnp.sin(hidden)), (q, target_q, hidden)

        return jax.jit(jax.grad(loss, has_aux=True))(networks[0])

    assert_equal(outputs("pallas"), outputs("scan"))


@pytest.mark.slow
@pytest.mark.skipif(
    not any(map(importlib.util.find_spec, ("jax_cuda12_plugin", "jax_cuda13_plugin"))),
    reason="needs XLA's compiler for GPUs: the extra cuda12",
)
@pytest.mark.parametrize("target", ["h100", "a100"])
def test_the_kernels_compile_for_gpus_that_are_not_here(target: str):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu,cuda", "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1"}
    command = [sys.executable, str(Path(__file__).with_name("kernels_for_gpu.py")), target]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    both = ["gru_backward", "gru_forward"]
    assert json.loads(done.stdout.splitlines()[-1]) == {"16": both, "64": both, "128": both}
