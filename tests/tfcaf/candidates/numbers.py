"""Candidates that read outside of arrays, divide by what can be 0, or have gradients that are inf or nan.

The count of these is the honest count of the README: each is refused, and none of the good ones beside them is.
"""

from tfcaf.candidates.traced import SUM, Candidate, credit, network

OUT_OF_RANGE = {
    "105_state_index_600": Candidate(network(SUM.format("agents_q * global_state[:, 600:601]")), "OOB", 2, "outside"),
    "105_state_entry_600": Candidate(network(SUM.format("agents_q * global_state[:, 600][:, None]")), "OOB", 2, "54"),
    "105_agent_3_of_3": Candidate(credit("return x * pos[3, 0], 0.0"), "OOB", 3, "axis of size 3"),
    "105_third_coordinate": Candidate(credit("return 1.0 + pos[:, 2] ** 2, 0.0"), "OOB", 3),
    "105_index_minus_4": Candidate(credit("return x + pos[-4, 0], 0.0"), "OOB", 3),
    "105_loop_one_too_far": Candidate(
        credit("y = 0.0", "for i in range(3):", "    y = y + x[i + 1]", "return 1.0 + 0.0 * x + y ** 2, 0.0"), "OOB", 5
    ),
    "105_update_out_of_range": Candidate(credit("return jnp.ones(3).at[5].set(2.0) + x ** 2, 0.0"), "OOB", 3),
    "106_slice_600_601_sum": Candidate(
        network("s = global_state[:, 600:601].sum(axis=1, keepdims=True)", SUM.format("agents_q * (1.0 + s)")), "OOB", 2
    ),
    "106_slice_600_601_mean": Candidate(
        network("s = global_state[:, 600:601].mean(axis=1, keepdims=True)", SUM.format("agents_q * (1.0 + s)")),
        "OOB",
        2,
    ),
    "106_slice_across_the_end": Candidate(credit("return 1.0 + 0.0 * x + pos[2:5].sum() ** 2, 0.0"), "OOB", 3, "2:5"),
    "107_jnp_take": Candidate(credit("return x + jnp.take(x, 7), 0.0"), "NONFINITE", 3, "index out of range"),
    "107_jnp_take_along_axis": Candidate(
        credit("i = jnp.array([[0], [9], [1]])", "return x + jnp.take_along_axis(pos, i, axis=1)[:, 0], 0.0"),
        "NONFINITE",
        4,
    ),
    "107_take_of_whole_numbers": Candidate(
        credit("n = jnp.arange(3)", "return x ** 2 + jnp.take(n, 4), 0.0"), "OOB", 4, "negative or too large"
    ),
    "108_negative_index_off_by_one": Candidate(
        credit("y = 0.0", "for i in range(3):", "    y = y + x[i - 1]", "return 1.0 + 0.0 * x + y ** 2, 0.0"),
        "OOB",
        5,
        "-1",
    ),
    "108_negative_end_of_slice": Candidate(
        credit("y = [pos[i - 1 : i].sum() for i in range(3)]", "return jnp.stack(y) ** 2 + 1.0, 0.0"), "OOB", 3
    ),
    "108_list_from_its_end": Candidate(
        credit(
            "y = [x[i] for i in range(3)]", "z = [y[i - 1] for i in range(3)]", "return jnp.stack(z) ** 2 + 1.0, 0.0"
        ),
        "OOB",
        4,
    ),
    "computed_index_too_large": Candidate(
        credit("i = jnp.argmax(x) + 1", "return 1.0 + 0.0 * x + x[i] ** 2, 0.0"), "OOB", 4, "too large"
    ),
    "computed_index_negative": Candidate(
        credit("i = jnp.argmax(x) - 1", "return 1.0 + 0.0 * x + x[i] ** 2, 0.0"), "OOB", 4, "negative"
    ),
    "computed_array_of_indices": Candidate(credit("i = jnp.argsort(x) + 1", "return 1.0 + x[i] ** 2, 0.0"), "OOB", 4),
    "position_as_index": Candidate(credit("i = x.astype(int)", "return 1.0 + goal[i, 0] ** 2, 0.0"), "OOB", 4),
    "update_at_computed_index": Candidate(
        credit("i = jnp.argmax(x) + 1", "return jnp.ones(3).at[i].add(1.0) + x ** 2, 0.0"), "OOB", 4, "drops"
    ),
    "paper_computed_index": Candidate(
        network(
            "i = jnp.argmax(global_state[:, :14], axis=1) + 1",
            "s = jnp.take_along_axis(global_state[:, :14], i[:, None], axis=1)",
            SUM.format("agents_q * (1.0 + s ** 2)"),
        ),
        "NONFINITE",
        3,
    ),
}

DIVISIONS = {
    "109_div_by_zero_at_zero_state": Candidate(
        credit("return x ** 2 / jnp.sum(x ** 2), 0.0"), "NONFINITE", 3, "division by 0"
    ),
    "109_paper_zero_state": Candidate(
        network("s = global_state[:, :3] ** 2", SUM.format("agents_q * s / s.sum(-1, keepdims=True)")), "NONFINITE", 3
    ),
    "110_nan_only_at_large_state": Candidate(credit("return jnp.exp(20.0 * x), 0.0"), "NONFINITE", 3, "jnp.clip"),
    "110_exp_overflow_inf_minus_inf": Candidate(
        credit("y = jnp.exp(x ** 2)", "return 1.0 + y - y, 0.0"), "NONFINITE", 3
    ),
    "110_paper_overflow": Candidate(
        network(SUM.format("agents_q * jnp.exp(50.0 * global_state[:, :3])")), "NONFINITE", 2
    ),
    "by_distance_to_goal": Candidate(credit("return 1.0 / jnp.sum((pos - goal) ** 2, axis=-1), 0.0"), "NONFINITE", 3),
    "by_distance_of_agents": Candidate(
        credit("d = jnp.abs(pos[:, None] - pos[None]).sum(-1) + jnp.eye(3)", "return 1.0 / d.min(1), 0.0"),
        "NONFINITE",
        4,
    ),
    "by_speed": Candidate(credit("return 1.0 + x ** 2 / jnp.abs(state['agent_vel']).sum(-1), 0.0"), "NONFINITE", 3),
    "by_a_signed_sum_and_epsilon": Candidate(
        credit("y = x / (jnp.sum(x) + 1e-6)", "return jax.nn.softmax(y), 0.0"), "NONFINITE", 3, "in between"
    ),
    "by_a_difference": Candidate(
        credit("return jax.nn.sigmoid(1.0 / (x - goal[:, 1] + 0.3)) + 1.0, 0.0"), "NANGRAD", 3, "in between"
    ),
    "by_distance_to_a_circle": Candidate(
        credit("d = jnp.sqrt(jnp.sum(pos ** 2, -1) + 1e-6)", "return jax.nn.softmax(1.0 / (d - 0.37)), 0.0"),
        "NONFINITE",
        4,
    ),
    "by_distance_to_a_point": Candidate(
        credit("d = jnp.abs(x - 0.37)", "return jax.nn.softmax(1.0 / d), 0.0"), "NONFINITE", 4
    ),
    "by_a_standard_deviation": Candidate(credit("return (x - x.mean()) ** 2 / x.std() + 1.0, 0.0"), "NONFINITE", 3),
    "by_a_largest_entry": Candidate(credit("y = x ** 2", "return y / y.max() + 1.0, 0.0"), "NONFINITE", 4),
    "by_a_count": Candidate(
        credit("near = (jnp.abs(pos - goal).sum(-1) < 0.3) * 1.0", "return 1.0 + near / near.sum(), 0.0"),
        "NONFINITE",
        4,
    ),
    "whole_number_over_zero": Candidate(
        credit("n = jnp.sum(x > 0)", "return 1.0 + x ** 2 + 7 // n, 0.0"), "NONFINITE", 4, "whole number"
    ),
    "remainder_by_zero": Candidate(credit("return 1.0 + 2.0 % jnp.abs(x), 0.0"), "NONFINITE", 3),
    "power_minus_one": Candidate(credit("return jnp.abs(x) ** -1, 0.0"), "NONFINITE", 3),
    "reciprocal": Candidate(credit("return jnp.reciprocal(jnp.abs(x)), 0.0"), "NONFINITE", 3),
    "logarithm_of_zero": Candidate(credit("return 1.0 + jnp.log(jnp.abs(x)) ** 2, 0.0"), "NONFINITE", 3, "logarithm"),
    "root_of_negative": Candidate(credit("return 1.0 + jnp.sqrt(x), 0.0"), "NONFINITE", 3),
    "bias_divides": Candidate(credit("return 1.0 + x ** 2, 1.0 / jnp.sum(x ** 2)"), "NONFINITE", 3, "bias"),
    "weighted_average_without_weights": Candidate(
        credit("y = jnp.average(x, weights=jnp.abs(x))", "return 1.0 + 0.0 * x + y ** 2, 0.0"), "NONFINITE", 3
    ),
}

GRADIENTS = {
    "111_where_sqrt": Candidate(
        credit("return 1.0 + jnp.where(x > 0, jnp.sqrt(x), 0.0), 0.0"), "NANGRAD", 3, "root of 0"
    ),
    "111_where_division": Candidate(
        credit("y = jnp.sum(x ** 2)", "return jnp.where(y > 0, x ** 2 / y, 1.0 / 3.0), 0.0"),
        "NANGRAD",
        4,
        "before dividing",
    ),
    "112_norm_at_zero": Candidate(
        credit("d = jnp.linalg.norm(pos - goal, axis=-1)", "return jax.nn.softmax(-d), 0.0"),
        "NANGRAD",
        3,
        "jnp.maximum",
    ),
    "112_norm_between_agents": Candidate(
        credit("d = jnp.linalg.norm(pos[:, None] - pos[None], axis=-1)", "return jax.nn.softmax(d.sum(1)), 0.0"),
        "NANGRAD",
        3,
    ),
    "112_norm_at_a_point_of_its_own": Candidate(
        credit("d = jnp.linalg.norm(pos - jnp.array([[0.25, 0.7]]), axis=-1)", "return jax.nn.softmax(-d), 0.0"),
        "NANGRAD",
        3,
    ),
    "113_sqrt_of_square_of_q": Candidate(
        network(SUM.format("agents_q + jnp.sqrt((agents_q - agents_q) ** 2)")), "NANGRAD", 2
    ),
    "114_arccos_at_boundary": Candidate(
        credit("c = jnp.clip(x, -1.0, 1.0)", "return 4.0 + jnp.arccos(c), 0.0"), "NANGRAD", 4, "arc function"
    ),
    "114_log_at_boundary": Candidate(credit("return 1.0 + jnp.where(x > 0, jnp.log(x), 0.0) ** 2, 0.0"), "NANGRAD", 3),
    "standard_deviation": Candidate(credit("return 1.0 + x.std() + 0.0 * x, 0.0"), "NANGRAD", 3),
    "fractional_power": Candidate(credit("return 1.0 + jnp.abs(x) ** 0.5, 0.0"), "NANGRAD", 3),
    "angle_at_zero": Candidate(credit("return 5.0 + jnp.arctan2(pos[:, 1], x), 0.0"), "NANGRAD", 3),
    "nan_to_num": Candidate(credit("return 1.0 + jnp.nan_to_num(x ** 2 / jnp.abs(x)), 0.0"), "NANGRAD", 3),
    "clipped_division": Candidate(credit("return 2.0 + jnp.clip(1.0 / jnp.abs(x), 0.0, 1.0), 0.0"), "NANGRAD", 3),
}

GOOD = {
    "floor_under_the_root": Candidate(
        credit("d = jnp.sqrt(jnp.maximum(jnp.sum((pos - goal) ** 2, -1), 1e-12))", "return jax.nn.softmax(-d), 0.0"),
        "OK",
    ),
    "epsilon_under_the_root": Candidate(
        credit("d = jnp.sqrt(jnp.sum((pos - goal) ** 2, -1) + 1e-8)", "return 1.0 / (1.0 + d), 0.0"), "OK"
    ),
    "epsilon_beside_a_positive_sum": Candidate(credit("y = x ** 2", "return y / (jnp.sum(y) + 1e-6) + 0.1, 0.0"), "OK"),
    "where_before_dividing": Candidate(
        credit("y = jnp.sum(x ** 2)", "safe = jnp.where(y > 0, y, 1.0)", "return x ** 2 / safe + 0.1, 0.0"), "OK"
    ),
    "small_divisors_replaced": Candidate(
        credit("y = jnp.where(jnp.abs(x) < 1e-2, 1e-2, x)", "return jax.nn.softmax(1.0 / y), 0.0"), "OK"
    ),
    "norm_that_is_only_compared": Candidate(
        credit("d = jnp.linalg.norm(pos[:, None] - pos[None], axis=-1)", "return 1.0 + jnp.sum(d < 0.3, 1), 0.0"), "OK"
    ),
    "one_minus_one": Candidate(
        credit("others = jnp.concatenate([x[:0], x[1:]])", "return 1.0 + x ** 2 + others.sum() ** 2, 0.0"), "OK"
    ),
    "last_entry_on_purpose": Candidate(credit("return 1.0 + (x - x[-1]) ** 2 + pos[..., -1] ** 2, 0.0"), "OK"),
    "index_by_argmax": Candidate(credit("i = jnp.argmax(x)", "return (x - x[i]) ** 2 + 1.0, 0.0"), "OK"),
    "index_by_argsort": Candidate(credit("i = jnp.argsort(x)", "return 1.0 + x[i] ** 2, 0.0"), "OK"),
    "index_clipped": Candidate(credit("i = jnp.clip(x.astype(int), 0, 2)", "return 1.0 + goal[i, 0] ** 2, 0.0"), "OK"),
    "index_out_of_range_but_masked": Candidate(
        credit(
            "i = x.astype(int)",
            "known = (i >= 0) & (i < 3)",
            "return 1.0 + jnp.where(known, goal[i, 0] ** 2, 0.0), 0.0",
        ),
        "OK",
    ),
    "whole_number_over_zero_but_masked": Candidate(
        credit("n = jnp.sum(x > 0)", "return 1.0 + x ** 2 + jnp.where(n > 0, 7 // n, 0), 0.0"), "OK"
    ),
    "sigmoid_by_hand": Candidate(credit("return 1.0 / (1.0 + jnp.exp(-5.0 * (x - 0.5))), 0.0"), "OK"),
    "update_in_range": Candidate(
        credit("y = jnp.ones(3)", "for i in range(3):", "    y = y.at[i].add(x[i] ** 2)", "return y, 0.0"), "OK"
    ),
    "paper_good": Candidate(
        network(
            "s = global_state.reshape(-1, 3, 18)[:, :, 2]", "w = jax.nn.softmax(s, axis=-1)", SUM.format("w * agents_q")
        ),
        "OK",
    ),
    "paper_with_bias": Candidate(network(SUM.format("agents_q / 3.0") + " + global_state[:, :1]"), "OK"),
}
