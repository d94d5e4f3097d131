"""The recurrent Q-network: parameter counts, torch's formula, gradients, and independence of rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from samples import count

import qllm_envs
from qllm_jax.core.agent_network import AgentNetwork
from qllm_jax.core.agents import Agent
from qllm_jax.core.gru import GruParams, gru_cell

SPEC = qllm_envs.make("mpe_spread", n_agents=3).spec


@pytest.mark.parametrize(("n_agents", "expected"), [(6, 105_221), (15, 113_285), (25, 122_245)])
def test_parameters_equal_the_paper_s_table(n_agents: int, expected: int):
    # N=6 is printed in the paper (105.221K); 15 and 25 follow from its network: 128 (7N + 1) + 99072 + 645.
    spec = qllm_envs.make("mpe_spread", n_agents=n_agents).spec
    assert expected == 128 * (7 * n_agents + 1) + 99_072 + 645
    params = jax.eval_shape(Agent(spec, 128).init, jax.random.key(0))
    assert count(params) == expected


def gru_inputs(rows: int = 4, hidden: int = 5, inputs: int = 3):
    keys = jax.random.split(jax.random.key(1), 6)
    shapes = [(inputs, 3 * hidden), (hidden, 3 * hidden), (3 * hidden,), (3 * hidden,)]
    params = GruParams(*(jax.random.normal(k, s) * 0.5 for k, s in zip(keys[:4], shapes, strict=True)))
    return params, jax.random.normal(keys[4], (rows, hidden)), jax.random.normal(keys[5], (rows, inputs))


def torch_gru(params: GruParams, hidden: np.ndarray, x: np.ndarray) -> np.ndarray:
    """torch.nn.GRUCell's documented formula, in float64."""
    p = [np.asarray(leaf, np.float64) for leaf in params]
    sigmoid = lambda z: 1 / (1 + np.exp(-z))
    (rx, zx, nx), (rh, zh, nh) = np.split(x @ p[0] + p[2], 3, -1), np.split(hidden @ p[1] + p[3], 3, -1)
    r, z = sigmoid(rx + rh), sigmoid(zx + zh)
    return (1 - z) * np.tanh(nx + r * nh) + z * hidden


def test_gru_is_torch_s():
    params, hidden, x = gru_inputs()
    expected = torch_gru(params, np.asarray(hidden, np.float64), np.asarray(x, np.float64))
    np.testing.assert_allclose(gru_cell(params, hidden, x), expected, atol=1e-6)


def test_gru_gradient_equals_finite_differences():
    check_grads(gru_cell, gru_inputs(), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("last_action", [False, True])
def test_unroll_equals_steps_and_rows_are_independent(last_action: bool):
    agent = Agent(SPEC, 8, last_action=last_action)
    params = agent.init(jax.random.key(0))
    obs = jax.random.normal(jax.random.key(1), (4, 2, 3, SPEC.obs_dim))  # (T+1, B, N, O)
    action_t = jax.random.randint(jax.random.key(2), (3, 2, 3), 0, 5)
    (q,) = agent.unroll((params,), lambda x: x, obs, action_t)
    hidden, last = agent.initial_hidden(), jnp.full((3,), -1)
    for t in range(4):
        hidden, q_t = agent.step(params, hidden, obs[t, 1], last)
        np.testing.assert_allclose(q_t, q[t, 1], atol=1e-6)
        last = action_t[min(t, 2), 1]


@pytest.mark.parametrize(
    "form", [{}, {"agent_id": False}, {"layer_norm": True, "kind": "mlp"}, {"unroll_by": "pallas"}, {"shared": False}]
)
def test_one_row_of_inputs_for_a_team_is_read_by_all_its_agents(form: dict):
    agent = Agent(SPEC, 8, **form)
    params = agent.init(jax.random.key(0))
    state = jax.random.normal(jax.random.key(1), (3, 2, 1, SPEC.obs_dim))  # (T+1, B, 1, O)
    action_t = jnp.zeros((2, 2, 3), jnp.int32)
    values = lambda observe: lambda params: agent.unroll((params,), observe, state, action_t)[0]
    one, each = values(lambda x: x), values(lambda x: jnp.broadcast_to(x, (2, 3, SPEC.obs_dim)))
    results = [jax.jit(jax.value_and_grad(lambda p, f=f: jnp.sum(f(p) ** 3)))(params) for f in (one, each)]
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5), *results)
    # The wide product is of one row: no array of N copies is made.
    if agent.shared and agent.unroll_by == "scan":
        assert f"f32[6,{SPEC.obs_dim}]" not in str(jax.make_jaxpr(one)(params))


def test_two_networks_in_one_unroll_equal_two_unrolls():
    agent = Agent(SPEC, 8)
    both = tuple(agent.init(jax.random.key(i)) for i in range(2))
    obs, action_t = jax.random.normal(jax.random.key(1), (3, 1, 3, SPEC.obs_dim)), jnp.zeros((2, 1, 3), jnp.int32)
    together = agent.unroll(both, lambda x: x, obs, action_t)
    for params, q in zip(both, together, strict=True):
        np.testing.assert_allclose(agent.unroll((params,), lambda x: x, obs, action_t)[0], q, atol=1e-6)


def test_the_id_rows_are_a_one_hot_input():
    agent = Agent(SPEC, 8)
    params = agent.init(jax.random.key(0))
    obs = jax.random.normal(jax.random.key(1), (3, SPEC.obs_dim))
    p = params["params"]
    with_ids = np.concatenate([obs, np.eye(3)], -1) @ np.concatenate([p["in_kernel"], p["id_kernel"]])
    plain = Agent(SPEC, 8, agent_id=False)
    zero_in = {**{k: v for k, v in p.items() if k != "id_kernel"}, "in_kernel": np.eye(8), "in_bias": p["in_bias"]}
    wide = AgentNetwork(3, SPEC.n_actions, 8, False)
    expected = wide.apply({"params": zero_in}, jnp.zeros((3, 8)), jnp.asarray(with_ids, jnp.float32))
    got = agent.step(params, plain.initial_hidden(), obs, jnp.zeros(3))
    np.testing.assert_allclose(got[1], np.asarray(expected[1]), atol=1e-5)


def test_initial_weights_are_torch_s_uniform():
    params = Agent(SPEC, 64).init(jax.random.key(0))["params"]
    for name, fan_in in (("in_kernel", SPEC.obs_dim + 3), ("id_kernel", SPEC.obs_dim + 3), ("gru_hidden_kernel", 64)):
        bound = 1 / fan_in**0.5
        assert bound * 0.9 < float(jnp.abs(params[name]).max()) <= bound


@pytest.mark.parametrize("unroll_by", ["scan", "pallas"])
def test_layer_norm_is_by_hand_before_the_relu_in_steps_and_unrolls(unroll_by: str):
    agent = Agent(SPEC, 8, layer_norm=True, unroll_by=unroll_by)
    params = agent.init(jax.random.key(0))
    norm = {"scale": jnp.linspace(0.5, 2.0, 8), "bias": jnp.linspace(-0.3, 0.3, 8)}
    named = params["params"] | {"in_norm": norm}
    params = {"params": named}
    obs = jax.random.normal(jax.random.key(1), (3, 2, SPEC.n_agents, SPEC.obs_dim))
    action_t = jnp.zeros((2, 2, SPEC.n_agents), jnp.int32)
    (q,) = jax.jit(lambda params: agent.unroll((params,), lambda x: x, obs, action_t))(params)
    first = lambda obs: obs @ named["in_kernel"] + (named["in_bias"][None] + named["id_kernel"])[None]
    center = first(obs[0]) - first(obs[0]).mean(-1, keepdims=True)
    normed = center / jnp.sqrt((center**2).mean(-1, keepdims=True) + 1e-6)
    x = jnp.maximum(normed * norm["scale"][None, None] + norm["bias"][None, None], 0.0)
    gru = GruParams(*(named[f"gru_{name}"] for name in GruParams._fields))
    hidden = gru_cell(gru, jnp.zeros((2 * SPEC.n_agents, 8)), x.reshape(-1, 8))
    expected = hidden @ named["head"]["kernel"] + named["head"]["bias"][None]
    np.testing.assert_allclose(q[0].reshape(expected.shape), expected, atol=1e-5)
    memory, step = agent.stepper(params)
    _, of_stepper = jax.jit(step)(memory, obs[0, 0], jnp.full((SPEC.n_agents,), -1))
    np.testing.assert_allclose(of_stepper, q[0, 0], atol=1e-5)


def test_layer_norm_comes_before_every_relu():
    params = Agent(SPEC, 8, kind="mlp", depth=3, layer_norm=True).init(jax.random.key(0))["params"]
    assert {name for name in params if "norm" in name} == {f"{x}_norm" for x in ("in", "layer_0", "layer_1", "core")}
    recurrent = Agent(SPEC, 8, depth=2, layer_norm=True).init(jax.random.key(0))["params"]
    assert {name for name in recurrent if "norm" in name} == {"in_norm", "layer_0_norm"}


KINDS = [("mlp", 1), ("mlp", 3), ("gru", 2)]


@pytest.mark.parametrize(("kind", "depth"), KINDS)
def test_depth_and_kind_count_as_many_parameters_as_by_hand(kind: str, depth: int):
    params = Agent(SPEC, 8, kind=kind, depth=depth).init(jax.random.key(0))
    first, layer, gru, head = 8 * (SPEC.obs_dim + SPEC.n_agents + 1), 8 * 9, 6 * 8 * 8 + 6 * 8, 9 * SPEC.n_actions
    assert count(params) == first + (depth - 1) * layer + (layer if kind == "mlp" else gru) + head


@pytest.mark.parametrize(("kind", "depth"), KINDS)
def test_all_forms_of_a_network_compute_the_same(kind: str, depth: int):
    options = {"kind": kind, "depth": depth, "layer_norm": kind == "mlp"}
    made = {by: Agent(SPEC, 8, unroll_by=by, **options) for by in ("scan", "pallas")}
    params = made["scan"].init(jax.random.key(0))
    obs = jax.random.normal(jax.random.key(1), (3, 1, 3, SPEC.obs_dim))
    action_t = jnp.zeros((2, 1, 3), jnp.int32)
    found = {by: agent.unroll_hidden((params,), lambda x: x, obs, action_t)[0] for by, agent in made.items()}
    for scanned, at_once in zip(found["scan"], found["pallas"], strict=True):
        np.testing.assert_allclose(scanned, at_once, atol=1e-5)
    memory, step = made["scan"].stepper(params)
    last = jnp.full((3,), -1)
    for t in range(3):
        memory, q = step(memory, obs[t, 0], last)
        np.testing.assert_allclose(q, found["scan"][1][t, 0], atol=1e-5)
        last = jnp.zeros((3,), jnp.int32)


def test_a_critic_alike_has_sizes_of_its_own_and_reads_no_last_actions():
    critic = Agent(SPEC, 8, last_action=True, layer_norm=True, depth=2).alike(5, 2)
    params = jax.eval_shape(critic.init, jax.random.key(0))["params"]
    assert (params["in_kernel"].shape, params["head"]["kernel"].shape) == ((5, 8), (8, 2))
    assert {"in_norm", "layer_0", "id_kernel"} <= set(params)


def test_an_mlp_remembers_nothing_and_a_gru_does():
    obs, last = jax.random.normal(jax.random.key(1), (3, SPEC.obs_dim)), jnp.full((3,), -1)
    for kind, remembers in (("mlp", False), ("gru", True)):
        agent = Agent(SPEC, 8, kind=kind)
        params = agent.init(jax.random.key(0))
        fresh, after = (agent.step(params, hidden, obs, last)[1] for hidden in (jnp.zeros((3, 8)), jnp.ones((3, 8))))
        assert bool((fresh != after).any()) == remembers
