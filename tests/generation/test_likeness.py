"""Likeness of credit functions: syntax trees up to names and words, outputs on probe states up to a tolerance."""

import numpy as np
import pytest

import qllm_envs
from qllm_jax.generation import likeness
from qllm_jax.generation.likeness import canonical
from qllm_jax.tfcaf.semantics import rollouts
from qllm_jax.tfcaf.static import check

BASE = '''
import jax
import jax.numpy as jnp

IGM = True
REACH = 0.5


def near(gaps):
    return jnp.exp(-gaps / REACH)


def credit(state):
    """Near agents matter."""
    gaps = jnp.abs(state["agent_pos"][:, 0])
    total = sum([jnp.max(near(gaps)) for i in range(2)])
    weights = jax.nn.softmax(near(gaps) + 0.0 * total)
    return weights, 0.0
'''
SAME = {
    "names": BASE.replace("gaps", "d").replace("REACH", "SCALE").replace("near", "close").replace(" i ", " _k "),
    "names_of_one_scope": BASE.replace(
        "def near(gaps):\n    return jnp.exp(-gaps", "def near(x):\n    return jnp.exp(-x"
    ),
    "docstring": BASE.replace("Near agents matter.", "Those that are near get more."),
    "no_docstring": BASE.replace('    """Near agents matter."""\n', ""),
    "comments_and_spaces": BASE.replace("REACH = 0.5", "REACH  =  0.5  # a length\n\n"),
    "gate": BASE.replace("IGM = True", "IGM = False"),
    "no_gate": BASE.replace("IGM = True\n", ""),
    "imports": BASE.replace("import jax\nimport jax.numpy as jnp", "import jax.numpy as jnp\nimport jax"),
}
OTHER = {
    "constant": BASE.replace("0.5", "0.6"),
    "field": BASE.replace("agent_pos", "agent_vel"),
    "function": BASE.replace("jax.nn.softmax", "jax.nn.sigmoid"),
    "order": BASE.replace("near(gaps) + 0.0 * total", "0.0 * total + near(gaps)"),
    "which_name": BASE.replace("return weights, 0.0", "return gaps, 0.0"),
}


@pytest.mark.parametrize("source", SAME.values(), ids=SAME.keys())
def test_trees_that_compute_the_same(source: str):
    assert source != BASE
    check.check(source, "f")
    assert canonical(source) == canonical(BASE)


@pytest.mark.parametrize("source", OTHER.values(), ids=OTHER.keys())
def test_trees_that_differ(source: str):
    check.check(source, "f")
    assert canonical(source) != canonical(BASE)


def test_names_of_arguments_count_where_a_call_gives_them():
    first = "def f(a, b):\n    return a - b\n\n\ndef credit(state):\n    return f(a=1.0, b=2.0)\n"
    second = first.replace("def f(a, b):\n    return a - b", "def f(b, a):\n    return b - a")
    assert canonical(first) != canonical(second)


def test_names_of_arguments_count_where_a_call_of_a_mapped_function_gives_them():
    first = "def f(k, num):\n    return k - num\n\n\ndef credit(state):\n    return {}, 0.0\n"
    first = first.format("jax.vmap(f)(k=state['a'], num=state['b'])")
    second = first.replace("def f(k, num):\n    return k - num", "def f(num, k):\n    return num - k")
    for text in (first, second):
        check.check(text, "f")
    assert canonical(first) != canonical(second)


def test_outputs_on_probe_states_and_their_difference():
    task = rollouts.from_config({"name": "mpe_spread", "n_agents": 2, "horizon": 5})
    whole = "import jax.numpy as jnp\n\n\ndef credit(state):\n    return jnp.array([0.25, 0.5]), 0.1\n"
    found = [
        likeness.outputs(text, task) for text in (whole, whole.replace("0.5]", "0.49]"), whole.replace("0.1", "0.2"))
    ]
    paper = (
        "import jax.numpy as jnp\n\n\ndef QLLMNetwork(agents_q, global_state):\n"
        "    return jnp.sum(jnp.array([[0.25, 0.5]]) * agents_q, axis=-1, keepdims=True) + 0.1\n"
    )
    found.append(likeness.outputs(paper, task))
    n_states = len(found[0])
    assert n_states > 100
    np.testing.assert_allclose(found[0], np.tile(np.array([0.25, 0.5, 0.1], np.float32), (n_states, 1)))
    apart = [likeness.difference(one, found[0]) for one in found[:3]]
    np.testing.assert_allclose(apart, [0.0, 0.02, 0.2], rtol=1e-5)
    large = np.array([[1.0, 2.0, 0.0], [1.0, 1.0, 0.0], [500.0, 1000.0, 0.0]], np.float32)  # the last is a corner
    assert likeness.difference(large + np.array([[0.0, 1.0, 0.0], [0.0] * 3, [0.0] * 3], np.float32), large) == 0.5
    vanishing = large * np.array([[1.0], [1.0], [0.0]], np.float32)
    assert likeness.difference(vanishing + 0.1, vanishing) == pytest.approx(0.1)  # of the median largest weight
    np.testing.assert_allclose(found[3], np.tile(np.array([0.25, 0.5, 0.1], np.float32), (len(found[3]), 1)), rtol=1e-6)


def test_functions_are_compared_on_states_in_the_usual_range_alone():
    spec = qllm_envs.make("mpe_spread", n_agents=2).spec
    unbounded = {name: field._replace(low=-np.inf, high=np.inf) for name, field in spec.fields.items()}
    task = rollouts.without_rollouts(spec._replace(fields=unbounded))
    found = likeness.outputs("def credit(state):\n    return state['agent_pos'][:, 0], 0.0\n", task)
    assert np.abs(found).max() <= 2.0  # and not 1000, which is tried by the gates


ALL_BUT_ONE = """def credit(state):
    pos = state['agent_pos']; goal = state['landmark_pos']
    d = jnp.sqrt(jnp.maximum(jnp.sum((pos[:, None] - goal[None]) ** 2, -1), 1e-12))
    open_ = jnp.argmax(d.min(0))
    gap = jnp.where((d.min(0) > 0.1).sum() == 1, d[:, open_], d.min(1))
    return jax.nn.softmax(-gap), 0.0
"""


def test_functions_that_differ_where_good_play_gets_are_told_apart():
    task = rollouts.from_config({"name": "mpe_spread", "n_agents": 6})
    other = ALL_BUT_ONE.replace("jnp.where((d.min(0) > 0.1).sum() == 1, d[:, open_], d.min(1))", "d.min(1)")
    ours, theirs = (likeness.outputs(text, task) for text in (ALL_BUT_ONE, other))
    assert likeness.difference(ours, theirs) > 0.1
