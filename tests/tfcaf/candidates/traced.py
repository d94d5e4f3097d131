"""Candidates whose text is allowed: mistakes that show when they are traced, tried on states, or measured.

For MPE spread with 3 agents: `agent_pos`, `agent_vel`, `landmark_pos` (3, 2); the flat state has 54 numbers.
"""

from typing import NamedTuple


class Candidate(NamedTuple):
    """A source and what the gates must say of it."""

    text: str
    code: str
    line: int | None = None
    says: str = ""  # in its feedback


def credit(*lines: str, before: str = "") -> str:
    """A credit function with `lines` from line 3 on; pos is (3, 2), x is (3,), goal is (3, 2)."""
    head = "def credit(state):\n    pos = state['agent_pos']; goal = state['landmark_pos']; x = pos[:, 0]\n"
    return before + head + "".join(f"    {line}\n" for line in lines)


def network(*lines: str) -> str:
    """A function of the paper's signature with `lines` from line 2 on."""
    return "def QLLMNetwork(agents_q, global_state):\n" + "".join(f"    {line}\n" for line in lines)


SUM = "return jnp.sum({}, axis=-1, keepdims=True)"
W = "return 1.0 + 0.0 * x, 0.0"

BUDGETS = {
    "24_list_comp_1e9": Candidate(credit("y = [0.0 for i in range(1000 * 1000 * 1000)]", W), "BUDGET", 3, "4096 steps"),
    "24_list_that_doubles": Candidate(
        credit("y = [0.0]", "for i in range(60):", "    y = y + y", W), "BUDGET", 5, "memory"
    ),
    "25_range_1e9_loop": Candidate(
        credit("for i in range(1000 * 1000 * 1000):", "    x = x + 1.0", W), "BUDGET", 3, "use array operations"
    ),
    "26_jnp_zeros_1e5x1e5": Candidate(
        credit("y = jnp.zeros((100000, 100000))", "return x + y[0, 0] + 1.0, 0.0"),
        "BUDGET",
        3,
        "10,000,000,000 entries",
    ),
    "27_const_fold_3000x3000_matmuls": Candidate(
        credit("m = jnp.ones((3000, 3000))", "m = m @ m", "return x + m[0, 0], 0.0"), "BUDGET", 3, "entries"
    ),
    "27_const_fold_900x900_matmuls": Candidate(
        credit("m = jnp.ones((900, 900))", "m = m @ m", "return x + m[0, 0], 0.0"), "BUDGET", 5, "floating-point"
    ),
    "28_unroll_3000_ops": Candidate(
        credit("for i in range(3000):", "    x = x * x + 1.0", "return x, 0.0"), "BUDGET", 5, "operations"
    ),
    "28_big_constant": Candidate(
        credit("y = jnp.array([[1.0 * i * j for i in range(600)] for j in range(600)])", "return x + y.mean(), 0.0"),
        "BUDGET",
        4,
    ),
    "29_python_loop_over_batch": Candidate(
        network(
            "rows = []",
            "for b in range(agents_q.shape[0]):",
            "    rows.append(jnp.sum(agents_q[b]))",
            "return jnp.stack(rows)[:, None]",
        ),
        "BUDGET",
        5,
        "no Python loop over the batch",
    ),
}

MISTAKES = {
    "84_if_on_traced": Candidate(credit("if x[0] > 0:", "    x = -x", W), "TRACE", 3, "jnp.where"),
    "85_and_or_on_arrays": Candidate(credit("y = jnp.where(x > 0 and x < 1, 1.0, 2.0)", "return y, 0.0"), "TRACE", 3),
    "86_python_max_min": Candidate(credit("return x * max(x[0], x[1]), 0.0"), "TRACE", 3, "jnp.maximum"),
    "87_float": Candidate(credit("return x * float(x[0]), 0.0"), "TRACE", 3, "keep it an array"),
    "88_range_of_array": Candidate(credit("for i in range(x[0].astype(int)):", "    x = x + 1", W), "TRACE", 3),
    "89_boolean_mask_index": Candidate(credit("return x[x > 0], 0.0"), "TRACE", 3, "jnp.where(mask"),
    "95_annotation_torch_tensor": Candidate(
        "def credit(state: torch.Tensor) -> torch.Tensor:\n    return 1.0 + state['agent_pos'][:, 0] ** 2, 0.0\n", "OK"
    ),
    "unknown_field": Candidate(credit("return state['agent_positions'][:, 0], 0.0"), "RUNTIME", 3, "agent_pos"),
    "never_bound": Candidate(credit("for i in range(0):", "    y = x", "return y, 0.0"), "RUNTIME", 5),
    "divides_by_python_zero": Candidate(credit("n = 0", "return x * (1 / n), 0.0"), "RUNTIME", 4),
    "tuple_too_short": Candidate(credit("return x * pos.shape[2], 0.0"), "OOB", 3),
    "unlike_shapes": Candidate(credit("return pos @ pos, 0.0"), "TRACE", 3),
}

OUTPUTS = {
    "97_returns_b": Candidate(network("return jnp.sum(agents_q, axis=-1)"), "SHAPE", 2, "keepdims"),
    "98_broadcast_to_b_b": Candidate(
        network("q = jnp.sum(agents_q, axis=-1)", "return q[:, None] + q[None]"), "SHAPE", 3
    ),
    "98_weights_n_n": Candidate(credit("return x[:, None] * x[None], 0.0"), "SHAPE", 3, "(3, 3)"),
    "99_tuple": Candidate(network("return agents_q, 0.0"), "SHAPE", 2),
    "99_list": Candidate(credit("return [x[0], x[1], x[2]], 0.0"), "SHAPE", 3, "jnp.stack"),
    "100_int32_output": Candidate(credit("return (x > 0).astype(int), 0.0"), "DTYPE", 3, "float32"),
    "100_int32_team_value": Candidate(network("return jnp.argmax(agents_q, axis=-1)[:, None]"), "DTYPE", 2),
    "101_float64_request": Candidate(credit("return (1.0 + x ** 2).astype('float64'), 0.0"), "OK"),
    "101_float8_request": Candidate(credit("return x.astype('float8_e4m3fn').astype('float32'), 0.0"), "STATIC", 3),
    "101_bfloat16_array": Candidate(credit("return jnp.asarray(x, 'bfloat16') * 1.0, 0.0"), "STATIC", 3, "float32"),
    "102_complex": Candidate(credit("return jnp.asarray(x, 'complex64'), 0.0"), "DTYPE", 3, "complex64"),
    "102_complex_bias": Candidate(credit("return 1.0 + x ** 2, jnp.asarray(x[0], 'complex64')"), "DTYPE", 3),
    "103_hardcoded_b": Candidate(network("q = agents_q.reshape(4, 3)", SUM.format("q")), "SHAPE", 2, "batch of 4"),
    "104_b_backdoor": Candidate(
        network("q = agents_q", "if q.shape[0] == 4:", "    q = 2.0 * q", SUM.format("q")), "BSPECIAL", 5
    ),
    "104_other_for_one_row": Candidate(
        network("q = agents_q", "if q.shape[0] == 1:", "    q = 2.0 * q", SUM.format("q")), "BSPECIAL", 5
    ),
    "120_batch_statistics": Candidate(
        network(SUM.format("agents_q - agents_q.mean(0, keepdims=True)")), "BATCHLEAK", 2
    ),
    "120_batch_mean_of_state": Candidate(network(SUM.format("agents_q * global_state.mean()")), "BATCHLEAK", 2),
    "116_argmax_q": Candidate(
        network("return jnp.argmax(agents_q, axis=-1)[:, None].astype('float32')"), "ZEROGRAD", 2, "weighted sum"
    ),
    "117_rounded_q": Candidate(network(SUM.format("jnp.round(agents_q)")), "ZEROGRAD", 2),
    "118_softmax_q_weights": Candidate(
        network(SUM.format("jax.nn.softmax(agents_q) * agents_q")), "NONLIN", 2, "Eq. 3"
    ),
    "118_largest_q": Candidate(network("return agents_q.max(axis=-1, keepdims=True)"), "NONLIN", 2),
    "118_squared_q": Candidate(network(SUM.format("agents_q ** 2 + agents_q")), "NONLIN", 2),
    "115_constant_zero": Candidate(credit("return 0.0 * x, 1.0"), "ZEROGRAD", 3, "every agent"),
    "115_ignores_q": Candidate(network("return global_state[:, :1]"), "ZEROGRAD", 2),
    "115_one_agent_never_counts": Candidate(
        credit("return jnp.array([1.0, 0.0, 1.0]) * (1.0 + x**2), 0.0"), "ZEROGRAD", 3, "agent 1"
    ),
    "119_negative_weight_agent0": Candidate(credit("return jnp.array([-1.0, 1.0, 1.0]), 0.0"), "NONMONO", 3, "IGM"),
    "119_negative_where_agents_are_far": Candidate(
        credit("return 1.0 - x ** 2, 0.0", before="IGM = True\n"), "NONMONO", 4
    ),
    "119_negative_beside_large_weights_of_corners": Candidate(
        credit("return jnp.exp(jnp.sqrt((pos**2).sum(-1) + 1e-6)) - 1.5, 0.0", before="IGM = True\n"), "NONMONO", 4
    ),
    "119_negative_and_meant": Candidate(credit("return x, 0.0", before="IGM = False\n"), "OK", says="negative"),
    "121_sort_permutes_agents": Candidate(credit("return jnp.sort(x ** 2) + 1.0, 0.0"), "OK", says="swap"),
    "122_weights_1e8": Candidate(
        credit("return 1e8 * (1.0 + x ** 2), 0.0"), "SCALE", 3, says="times the number of agents"
    ),
    "constant_weights": Candidate(credit("return jnp.ones(3) / 3.0, 0.0"), "OK", says="fixed weighting"),
}
