"""The paper's signature: breaks of Eq. 3 are refused, and the paper's function gives the paper's numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qllm_envs
from qllm_jax.tfcaf import TfcafError, from_source, load

SPEC = qllm_envs.make("mpe_spread", n_agents=3).spec


def network(*lines: str) -> str:
    """A function of the paper's signature with `lines` from line 2 on."""
    return "def QLLMNetwork(agents_q, global_state):\n" + "".join(f"    {line}\n" for line in lines)


SUM = "return jnp.sum({}, axis=-1, keepdims=True)"
BAD = {
    "97_row": (network("w = agents_q", "return jnp.sum(w, axis=-1)"), 3, "SHAPE", "returns shape (1,)"),
    "98_square": (network("return agents_q + agents_q.sum(-1, keepdims=True)"), 2, "SHAPE", "(1, 3) for a batch of 1"),
    "98_outer": (network("q = agents_q.sum(-1)", "return q[:, None] + q[None]"), 3, "SHAPE", "(2, 2) for a batch of 2"),
    "99_tuple": (network("return agents_q, 0.0"), 2, "SHAPE", "returns tuple"),
    "103_batch_in_code": (
        network("q = agents_q.reshape(1, 3)", SUM.format("q")),
        2,
        "SHAPE",
        "a batch of 1 and not of 2",
    ),
    "100_int": (network("return (agents_q[:, :1] > 0).astype(int)"), 2, "DTYPE", "int32"),
    "110_inf": (
        network(SUM.format("agents_q / (0.0 * global_state[:, :3])")),
        2,
        "NONFINITE",
        "bound what you divide by",
    ),
    "116_max": (network("return agents_q.max(axis=-1, keepdims=True)"), 2, "NONLIN", "weighted sum"),
    "118_softmax": (network(SUM.format("jax.nn.softmax(agents_q) * agents_q")), 2, "NONLIN", "from the state alone"),
    "118_relu": (network(SUM.format("jax.nn.relu(agents_q)")), 2, "NONLIN", "Eq. 3"),
    "120_batch_mean": (network(SUM.format("agents_q * global_state.mean()")), 2, "BATCHLEAK", "other rows"),
    "120_batch_center": (network(SUM.format("agents_q - agents_q.mean(0, keepdims=True)")), 2, "BATCHLEAK", "rows"),
    "wrong_size": (network("s = global_state.reshape(-1, 7, 7)", SUM.format("agents_q")), 2, "TRACE", "TypeError"),
}


@pytest.mark.parametrize(("source", "line", "verdict", "fragment"), BAD.values(), ids=BAD.keys())
def test_break_of_the_contract_is_refused(source: str, line: int, verdict: str, fragment: str):
    with pytest.raises(TfcafError) as caught:
        from_source(source, "file.py", SPEC)
    assert caught.value.code == verdict
    assert caught.value.location == ("file.py", line)
    assert fragment in str(caught.value)


def test_weights_and_bias_are_read_off_exactly():
    body = "2.0 * agents_q * global_state[:, :3] + global_state[:, 3:4]"
    loaded = from_source(network(SUM.format(body)), "f", SPEC)
    state = jnp.arange(SPEC.state_dim, dtype=jnp.float32)
    weights, bias = loaded.credit({}, state)
    assert loaded.signature == "paper"
    assert weights.tolist() == [0.0, 2.0, 4.0]
    assert bias == 9.0  # the bias term is summed over three agents


def paper_spread(agents_q: np.ndarray, state: np.ndarray) -> float:
    """Q_tot of the release for one state, agent by agent: facts/official_code.md, sections 1.4 and 2.3."""
    n = len(agents_q)
    logits = []
    for obs in state.reshape(n, 6 * n):
        relative = obs[4 : 2 + 4 * n].reshape(2 * n - 1, 2).astype(np.float64)
        distances = [float(np.hypot(x, y)) for x, y in relative]
        logits.append(1 / max(min(distances[:n]), 0.1) - sum(distance < 0.3 for distance in distances[n:]))
    shares = np.exp(np.array(logits) - max(logits))
    return n * float(shares @ agents_q) / float(shares.sum())


def test_function_for_positive_states_alone_loads():
    loaded = from_source(network(SUM.format("agents_q * jnp.sqrt(global_state[:, :3])")), "f", SPEC)
    weights, _ = loaded.credit({}, 4 * jnp.ones(SPEC.state_dim))
    assert weights.tolist() == [2.0, 2.0, 2.0]


def test_paper_function_agrees_with_numpy():
    n = 6
    env = qllm_envs.make("mpe_spread", n_agents=n)
    loaded = load("mpe_spread_paper", env.spec)
    keys = jax.random.split(jax.random.key(n), 20)
    views = jax.jit(jax.vmap(lambda key: env.view(env.reset(key))))(keys)
    weights, bias = jax.jit(jax.vmap(loaded.credit))(views.fields, views.state)
    agents_q = jax.random.normal(jax.random.key(1), (20, n))
    q_tot = n * ((weights * agents_q).sum(-1) + bias)
    expected = [paper_spread(q, state) for q, state in zip(np.asarray(agents_q), np.asarray(views.state), strict=True)]
    np.testing.assert_allclose(q_tot, expected, atol=1e-5)


def test_paper_function_by_hand():
    # Agent 0 stands on landmark 0: 1 / 0.1 = 10. Agent 1 is 0.2 from it, its nearest one: 1 / 0.2 = 5. They are 0.2
    # apart, so that each loses 1. Logits 9 and 4 leave a difference of 5 to the softmax.
    env = qllm_envs.make("mpe_spread", n_agents=2)
    landmarks = np.array([[0.0, 0.0], [0.7, 0.0]])
    agents = np.array([[0.0, 0.0], [0.2, 0.0]])
    rows = []
    for i in range(2):
        parts = [np.zeros(2), agents[i], *(landmarks - agents[i]), agents[1 - i] - agents[i], np.zeros(2)]
        rows.append(np.concatenate(parts))
    credit = jax.jit(load("mpe_spread_paper", env.spec).credit)
    weights, bias = credit({}, jnp.asarray(np.concatenate(rows), jnp.float32))
    np.testing.assert_allclose(weights, [1 / (1 + np.exp(-5)), 1 / (1 + np.exp(5))], atol=1e-6)
    assert bias == 0
