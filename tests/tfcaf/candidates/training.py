"""Candidates that pass a check of shapes and misbehave in training: sizes, states of good play, cuts, and texts.

Each names the environment for which it is written. Codes are those that the gates must give.
"""

from typing import Any

from tfcaf.candidates.traced import Candidate, credit

SPREAD = {"name": "mpe_spread", "n_agents": 3}
TAG = {"name": "mpe_tag", "n_agents": 3}
LBF = {"name": "lbf", "n_agents": 2, "n_foods": 2}
MATRIX = {"name": "matrix"}
SMAX = {"name": "smax"}

_D = "d = jnp.sqrt(jnp.maximum(jnp.sum((pos[:, None] - goal[None]) ** 2, -1), 1e-12))"
_PAIRS = "d = jnp.sqrt(jnp.maximum(jnp.sum((pos[:, None] - pos[None]) ** 2, -1), 1e-12))"


def _lbf(*lines: str) -> str:
    """A credit function of foraging with `lines` from line 5 on; apart is (N, F) in steps."""
    head = (
        "pos = state['agent_pos']; food = state['food_pos']; level = state['food_level']",
        "apart = jnp.abs(pos[:, None] - food[None]).sum(-1)",
        "one = jnp.ones(pos.shape[0])",
    )
    return "def credit(state):\n" + "".join(f"    {line}\n" for line in (*head, *lines))


def _tag(*lines: str) -> str:
    """A credit function of tag with `lines` from line 4 on; d is (N,), the distances to the prey."""
    head = (
        "pos = state['agent_pos']; prey = state['prey_pos']; wall = state['obstacle_pos']",
        "d = jnp.sqrt(jnp.maximum(jnp.sum((pos - prey) ** 2, -1), 1e-12))",
    )
    return "def credit(state):\n" + "".join(f"    {line}\n" for line in (*head, *lines))


# name: (environment, candidate)
SIZES: dict[str, tuple[dict[str, Any], Candidate]] = {
    "weights_1e30": (SPREAD, Candidate(credit("return 1e30 * (1.0 + x ** 2), 0.0"), "SCALE", 3)),
    "weights_that_overflow_with_scale": (SPREAD, Candidate(credit("return 2e38 + 0.0 * x, 0.0"), "SCALE", 3)),
    "weights_1e5": (SPREAD, Candidate(credit("return 1e5 * (1.0 + x ** 2), 0.0"), "SCALE", 3)),
    "weights_1e_minus_9": (SPREAD, Candidate(credit("return 1e-9 * (1.0 + x ** 2), 0.0"), "SCALE", 3)),
    "one_agent_1e_minus_30": (
        SPREAD,
        Candidate(credit("return jnp.array([1.0, 1e-30, 1.0]) + 0.0 * x, 0.0"), "ZEROGRAD", 3, "agent 1"),
    ),
    "bias_1e30": (SPREAD, Candidate(credit("return 1.0 + 0.0 * x, 1e30"), "SCALE", 3, "bias")),
    "bias_that_overflows_with_scale": (SPREAD, Candidate(credit("return 1.0 + x ** 2, 2e38"), "SCALE", 3, "bias")),
    "bias_that_drowns_values": (
        SPREAD, Candidate(credit("return 1.0 + x ** 2, 1e6 * jnp.sum(x ** 2)"), "SCALE", 3, "bias")
    ),
    "explodes_with_distance": (
        SPREAD, Candidate(credit(_D, "return jnp.exp(4.0 * d.min(1)), 0.0"), "SCALE", 4, "weight")
    ),
    "power_of_distance": (SPREAD, Candidate(credit(_D, "return 0.1 + d.sum(1) ** 8, 0.0"), "SCALE", 4, "weight")),
    "infinite_where_products_are_reordered": (
        SPREAD,
        Candidate(
            credit("y = jnp.exp(-60.0 + 0.0 * x) * 1e25 * 1e25", "return 1.0 + y * 1e-12 * 1e-12, 0.0"), "NONFINITE", 4
        ),
    ),
}  # fmt: skip

STATES: dict[str, tuple[dict[str, Any], Candidate]] = {
    "all_landmarks_covered": (
        SPREAD,
        Candidate(
            credit(
                _D,
                "left = jnp.where(d.min(0) > 0.1, d.min(0), -jnp.inf)",
                "return 0.1 + jnp.exp(-d) @ jax.nn.softmax(left), 0.0",
            ),
            "NONFINITE",
        ),
    ),
    "mean_over_landmarks_left": (
        SPREAD,
        Candidate(
            credit(
                _D,
                "left = (d.min(0) > 0.15).astype(jnp.float32)",
                "return 0.1 + jnp.exp(-d) @ (left / left.sum()), 0.0",
            ),
            "NONFINITE",
        ),
    ),
    "all_landmarks_covered_at_rest": (
        SPREAD,
        Candidate(
            credit(
                _D,
                "v = jnp.abs(state['agent_vel']).sum(-1)",
                "busy = (d.min(1) > 0.1) | (v > 0.01)",
                "return 0.1 + jax.nn.softmax(jnp.where(busy, -d.min(1), -jnp.inf)), 0.0",
            ),
            "NONFINITE",
        ),
    ),
    "three_agents_touch": (
        SPREAD,
        Candidate(credit(_PAIRS, "near = (d < 0.3).sum(1)", "return 1.0 / (3.0 - near) + 0.1, 0.0"), "NONFINITE"),
    ),
    "a_pair_in_a_shell": (
        SPREAD,
        Candidate(
            credit(
                "r = jnp.sqrt(jnp.maximum(jnp.sum((pos[0] - goal[0]) ** 2), 1e-12))",
                "return jnp.where(jnp.abs(r - 0.4321) < 1e-3, jnp.inf, 1.0) + x ** 2, 0.0",
            ),
            "NONFINITE",
        ),
    ),
    "nan_in_a_small_box": (
        SPREAD,
        Candidate(
            credit(
                "inside = (jnp.abs(pos[0] - jnp.array([0.613, -0.277])) < 0.004).all()",
                "return jnp.where(inside, jnp.inf, 1.0) + x ** 2, 0.0",
            ),
            "NONFINITE",
        ),
    ),
    "singular_after_40_guards": (
        SPREAD,
        Candidate(
            credit(
                "y = 0.0 * x",
                "for i in range(40):",
                "    y = y + 1.0 / (1.0 + x ** 2 + i)",
                "return jax.nn.softmax(y + 1.0 / jnp.abs(x - 0.37)), 0.0",
            ),
            "NONFINITE",
        ),
    ),
    "zero_wherever_anybody_gets": (
        SPREAD, Candidate(credit("return jnp.maximum(jnp.abs(x) - 6.5, 0.0), 0.0"), "ZEROGRAD")
    ),
    "prey_is_cornered": (
        TAG,
        Candidate(
            _tag("free = d > 0.25", "return 0.1 + jax.nn.softmax(jnp.where(free, -d, -jnp.inf)), 0.0"), "NONFINITE"
        ),
    ),
    "prey_is_caught_by_all": (
        TAG, Candidate(_tag("caught = (d < 0.125).sum()", "return 1.0 / (3.0 - caught) + 0.1 * d, 0.0"), "NONFINITE")
    ),
    "everything_eaten": (
        LBF,
        Candidate(
            _lbf("share = jnp.where(level > 0, -apart, -jnp.inf)", "return 0.1 + jax.nn.softmax(share).sum(1), 0.0"),
            "NONFINITE",
        ),
    ),
    "all_stand_beside_the_last_food": (
        LBF,
        Candidate(
            _lbf(
                "idle = ~((apart == 1) & (level > 0)[None]).any(1)",
                "last = (level > 0).sum() == 1",
                "w = jnp.where(idle | ~last, 1.0, -jnp.inf)",
                "return 0.1 + jax.nn.softmax(w), 0.0",
            ),
            "NONFINITE",
        ),
    ),
    "after_one_joint_action": (
        MATRIX,
        Candidate(
            "def credit(state):\n    a = state['last_action']\n"
            "    d = jnp.abs(a - jnp.arange(a.shape[0]) % 2 - 1.0).sum()\n    return 1.0 / d + 0.1 * a ** 2, 0.0\n",
            "NONFINITE",
        ),
    ),
    "last_foe_is_dead": (
        SMAX,
        Candidate(
            "def credit(state):\n    alive = state['enemy_alive']\n    h = state['enemy_health']\n"
            "    p = jax.nn.softmax(jnp.where(alive > 0, -h, -jnp.inf))\n"
            "    return 1.0 + jnp.sum(p * h) * state['agent_health'], 0.0\n",
            "NONFINITE",
        ),
    ),
}  # fmt: skip

CUTS: dict[str, tuple[dict[str, Any], Candidate]] = {
    "whole_numbers_wrap": (
        SPREAD,
        Candidate(
            credit("i = (x * 1e3).astype(jnp.int32)", "return 1.0 + jnp.abs(i * i * i * i) * 1e-9, 0.0"), "SCALE"
        ),
    ),
    "small_whole_numbers_wrap": (
        SPREAD,
        Candidate(credit("i = (x * 100.0).astype('uint8')", "return 1.0 + i.astype(jnp.float32), 0.0"), "SCALE", 3),
    ),
    "float_to_int_out_of_range": (
        SPREAD, Candidate(credit("i = (x * 1e12).astype(jnp.int32)", "return 1.0 + jnp.abs(i) * 1e-9, 0.0"), "SCALE", 3)
    ),
    "one_hot_out_of_range": (
        SPREAD,
        Candidate(
            credit("i = jnp.arange(3) + 1", "return 0.1 + jax.nn.one_hot(i, 3) @ (x ** 2), 0.0"), "OOB", 4, "too large"
        ),
    ),
    "repeat_with_a_wrong_total": (
        SPREAD,
        Candidate(credit("y = jnp.repeat(x, 2, total_repeat_length=3)", "return 1.0 + y ** 2, 0.0"), "STATIC", 3),
    ),
    "diagonal_outside": (
        SPREAD,
        Candidate(
            credit(_PAIRS, "return 1.0 + x ** 2 + jnp.diagonal(d, offset=7).sum(), 0.0"), "OOB", 4, "outside"
        ),
    ),
    "diagonal_of_a_method_outside": (
        SPREAD, Candidate(credit(_PAIRS, "return 1.0 + x ** 2 + d.diagonal(7).sum(), 0.0"), "STATIC", 4, "jnp.diagonal")
    ),
    "diag_outside": (SPREAD, Candidate(credit(_PAIRS, "return 1.0 + x ** 2 + jnp.diag(d, 4).sum(), 0.0"), "OOB", 4)),
    "eye_outside": (SPREAD, Candidate(credit("return 1.0 + x ** 2 + jnp.eye(3, k=5) @ x, 0.0"), "OOB", 3)),
    "split_outside": (
        SPREAD, Candidate(credit("a, b = jnp.split(x, [5])", "return 1.0 + x ** 2 + b.sum(), 0.0"), "OOB", 3)
    ),
}  # fmt: skip

# A pass with a note that says so: (environment, candidate, fragment of the note)
NOTED: dict[str, tuple[dict[str, Any], str, str]] = {
    "head_of_20": (SPREAD, credit("return 1.0 + x[:20] ** 2, 0.0"), "line 3: `:20` is all of an axis of size 3"),
    "zip_cuts": (
        SPREAD,
        credit(
            "y = 0.0", "for k, p in zip([0.5, 0.2], pos):", "    y = y + k * p[0] ** 2", "return 1.0 + y + 0.0 * x, 0.0"
        ),
        "line 4: zip of 2 and 3 stops at the shorter",
    ),
    "slow_at_25_agents": (
        SPREAD,
        credit(
            "y = 0.0",
            "for i in range(pos.shape[0]):",
            "    for j in range(pos.shape[0]):",
            "        for k in range(pos.shape[0]):",
            "            y = y + (x[i] * x[j] - x[k]) ** 2",
            "return 1.0 + jnp.tanh(y) + 0.0 * x, 0.0",
        ),
        "25 agents",
    ),
    "weights_of_thousands": (SPREAD, credit("return 5e2 * (1.0 + jnp.tanh(x) ** 2), 0.0"), "of the order of"),
    "a_mask_that_may_be_empty": (
        SPREAD,
        credit(
            "ahead = x > x.min() - 1.0", "return 0.1 + jax.nn.softmax(jnp.where(ahead, x, -jnp.inf)), 0.0"
        ),
        "line 3: if this comparison held nowhere",
    ),
}  # fmt: skip

_GOOD = "def credit(state):\n    return 1.0 + state['agent_pos'][:, 0] ** 2, 0.0\n"

# name: (text, line, fragment of the message); codes PARSE and STATIC
TEXTS: dict[str, tuple[str, str, int | None, str]] = {
    "bidirectional_override": (f"# \u202e }} \u2066 if admin\n{_GOOD}", "PARSE", 1, "U+202E"),
    "bidirectional_isolate": (_GOOD.replace("return", "pass #\u2067\n    return"), "PARSE", 2, "U+2067"),
    "zero_width": (_GOOD.replace("agent_pos", "agent\u200b_pos"), "PARSE", 2, "U+200B"),
    "code_after_a_lone_carriage_return": (
        "def credit(state):\n    w = state['agent_pos'][:, 0] ** 2 # squared\r    w = -w\n    return w, 0.0\n",
        "PARSE", 2, "carriage return",
    ),
    "escape_sequence": ("def credit(state):\n    w = \x1b[2J1.0\n    return w, 0.0\n", "PARSE", 2, "U+001B"),
    "line_separator": (_GOOD.replace("return", "# x\u2028    return"), "PARSE", 2, "U+2028"),
    "cookie_of_utf_7": (f"# -*- coding: utf-7 -*-\n{_GOOD}", "PARSE", 1, "utf-7"),
    "cookie_of_latin_1_in_line_2": (f"# a\n# vim: set fileencoding=latin-1 :\n{_GOOD}", "PARSE", 2, "latin-1"),
    "annotation_that_calls": (_GOOD.replace("(state)", "(state: print('x'))"), "STATIC", 1, "annotation"),
    "annotation_that_assigns": (_GOOD.replace("(state)", "(state) -> (IGM := False)"), "STATIC", 1, "annotation"),
    "annotation_of_a_name_without_a_value": (
        "def credit(state):\n    K: float\n    return K + state['agent_pos'][:, 0] ** 2, 0.0\nK = 1.0\n",
        "STATIC", 2, "without a value",
    ),
    "letters_that_only_look_alike": (_GOOD.replace("state):", "\uff53tate):"), "STATIC", 1, "other letters"),
}  # fmt: skip
