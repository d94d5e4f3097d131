"""Loading: mistakes that tracing finds are named with their line; shipped functions give the weights they promise."""

import pickle
import subprocess
import sys
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qllm_envs
from qllm_jax.errors import UserError
from qllm_jax.tfcaf import CreditFunction, TfcafError, from_source, load, names

SPEC = qllm_envs.make("mpe_spread", n_agents=3).spec


def credit(*lines: str) -> str:
    """A credit function with `lines` from line 3 on; `pos` is (3, 2) and w is (3,)."""
    head = "def credit(state):\n    pos = state['agent_pos']; w = pos[:, 0]\n"
    return head + "".join(f"    {line}\n" for line in lines)


BAD = {
    "84_if_on_array": (credit("if w[0] > 0:", "    w = -w", "return w, 0.0"), 3, "TRACE", "use jnp.where"),
    "84_if_on_many": (credit("if w > 0:", "    w = -w", "return w, 0.0"), 3, "TRACE", "use jnp.where"),
    "85_and": (credit("w = jnp.where(w > 0 and w < 1, 1.0, 2.0)", "return w, 0.0"), 3, "TRACE", "& | ~"),
    "86_python_max": (credit("v = 1", "w = w * max(w[0], w[1])", "return w, 0.0"), 4, "TRACE", "jnp.maximum"),
    "87_float": (credit("return w * float(w[0]), 0.0"), 3, "TRACE", "keep it an array"),
    "88_range": (
        credit("n = w[0].astype(int)", "for i in range(n):", "    pass", "return w, 0.0"),
        4,
        "TRACE",
        "shape[0]",
    ),
    "89_mask": (credit("w = w[w > 0]", "return w, 0.0"), 3, "TRACE", "use jnp.where(mask"),
    "unknown_field": (credit("v = state['agent_poss']", "return w, v"), 3, "RUNTIME", "did you mean 'agent_pos'?"),
    "unknown_field_far": (credit("v = state['zzz']", "return w, v"), 3, "RUNTIME", "agent_vel, landmark_pos"),
    "matmul_shapes": (credit("return pos @ pos, 0.0"), 3, "TRACE", "contracting dimensions"),
    "unbound": (credit("for i in range(0):", "    v = 1", "return w * v, 0.0"), 5, "RUNTIME", "UnboundLocalError"),
    "long_loop": (credit("for i in range(99999):", "    w = w + 1", "return w, 0.0"), 3, "BUDGET", "4096 steps"),
    "recursive_list": (credit("w = jnp.array(['agent_pos'])", "return w, 0.0"), 3, "STATIC", "a string"),
    "97_one_value": (credit("return w"), 3, "SHAPE", "return the pair (weights, bias)"),
    "97_three_values": (credit("return w, w, w"), 3, "SHAPE", "a tuple of 3"),
    "99_list": (credit("return [w, 0.0]"), 3, "SHAPE", "a list of 2"),
    "99_weights_list": (credit("return [w[0], w[1], w[2]], 0.0"), 3, "SHAPE", "jnp.stack"),
    "no_return": (credit("w = 1"), 1, "SHAPE", "returns nothing"),
    "98_matrix": (credit("return w[:, None] * w[None], 0.0"), 3, "SHAPE", "of shape (3, 3), not (3,)"),
    "column": (credit("v = 1", "return pos[:, :1], 0.0"), 4, "SHAPE", "of shape (3, 1), not (3,)"),
    "scalar": (credit("return w.sum(), 0.0"), 3, "SHAPE", "of shape (), not (3,)"),
    "100_int": (credit("return (w > 0).astype(int), 0.0"), 3, "DTYPE", "the weights are int32"),
    "100_bool": (credit("return w > 0, 0.0"), 3, "DTYPE", "the weights are bool"),
    "bias_vector": (credit("return w, w"), 3, "SHAPE", "the bias is an array of shape (3,)"),
    "index": (credit("return w + pos[3, 0], 0.0"), 3, "OOB", "outside of an axis of size 3"),
    "wrapped_index": (credit("i = 0", "return w + w[i - 1], 0.0"), 4, "OOB", "computed as -1"),
    "slice": (credit("return w + pos[:, 2:3].sum(), 0.0"), 3, "OOB", "the slice 2:3"),
    "bias_none": (credit("return w, None"), 3, "SHAPE", "the bias is nothing"),
}


@pytest.mark.parametrize(("source", "line", "verdict", "fragment"), BAD.values(), ids=BAD.keys())
def test_mistake_is_named_with_its_line(source: str, line: int, verdict: str, fragment: str):
    with pytest.raises(TfcafError) as caught:
        from_source(source, "file.py", SPEC)
    assert caught.value.code == verdict
    assert caught.value.location == ("file.py", line)
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)


def test_line_is_that_of_the_helper_and_not_of_the_library():
    source = "def f(x):\n    y = x\n    return y.reshape(7)\n" + credit("return f(w), 0.0")
    with pytest.raises(TfcafError, match=r"^file\.py:3: TypeError"):
        from_source(source, "file.py", SPEC)


def test_error_survives_pickling():
    with pytest.raises(TfcafError) as caught:
        from_source(credit("return w"), "file.py", SPEC)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)
    assert copy.code == "SHAPE"


@pytest.mark.parametrize("bias", ["0", "1.5", "True", "jnp.sum(w)", "jnp.argmax(w)", "w.shape[0]"])
def test_any_real_number_is_a_bias(bias: str):
    loaded = from_source(credit(f"return w, {bias}"), "f", SPEC)
    shapes = {name: jnp.ones(field.shape) for name, field in SPEC.fields.items()}
    _, b = loaded.credit(shapes, jnp.zeros(SPEC.state_dim))
    assert (b.shape, b.dtype) == ((), jnp.float32)


def test_fields_reach_the_function_as_float32_and_stay_as_they_are():
    loaded = from_source(credit("pos += 1.0", "state |= []", "return pos[:, 0] / 2, 0.0"), "f", SPEC)
    fields = {name: np.ones(field.shape, np.int32) for name, field in SPEC.fields.items()}
    weights, _ = loaded.credit(fields, np.zeros(SPEC.state_dim))  # pyright: ignore[reportArgumentType]
    assert weights.tolist() == [1.0, 1.0, 1.0]
    assert all((array == 1).all() for array in fields.values())


def test_load_finds_the_library_and_files(tmp_path: Path):
    assert {"mpe_spread", "mpe_spread_paper"} <= set(names())
    file = tmp_path / "mine.py"
    file.write_bytes(b"\xef\xbb\xbf" + credit("return w, 0.0").replace("\n", "\r\n").encode())
    mine = load(str(file), SPEC)
    assert (mine.name, mine.signature, mine.igm) == ("mine", "credit", True)
    assert from_source(mine.source, "again", SPEC).sha256 == mine.sha256
    file.write_text(credit("return w"))
    with pytest.raises(TfcafError, match=r"mine\.py:3: "):
        load(str(file), SPEC)
    file.write_bytes(b"# \n# \xff\n")
    with pytest.raises(TfcafError, match=r"mine\.py:2: not text in UTF-8"):
        load(str(file), SPEC)


@pytest.mark.parametrize("name", ["mpe_spraed", "", "../library/mpe_spread"])
def test_unknown_name_lists_the_choices(name: str):
    with pytest.raises(UserError, match=r"choose from .*mpe_spread, mpe_spread_generated, mpe_spread_paper"):
        load(name, SPEC)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere/mine.py", "does not exist: there is no file '.*nowhere/mine.py'"),
        (".", r"is a folder: give one of its .py files"),
        ("/etc/passwd", r"is a file whose name does not end in .py"),
    ],
)
def test_a_path_that_is_no_credit_function_says_what_it_is(name: str, sentence: str):
    with pytest.raises(UserError, match=f"credit function '{name}' {sentence}"):
        load(name, SPEC)


def test_near_name_is_suggested():
    with pytest.raises(UserError, match="did you mean 'mpe_spread'"):
        load("mpe_spraed", SPEC)


@pytest.mark.parametrize("n", [1, 3, 6, 25])
def test_library_loads_and_serves_many_states(n: int):
    env = qllm_envs.make("mpe_spread", n_agents=n)
    views = jax.jit(jax.vmap(lambda key: env.view(env.reset(key))))(jax.random.split(jax.random.key(n), 4))
    for name in ("mpe_spread", "mpe_spread_paper"):
        loaded = load(name, env.spec)
        weights, bias = jax.jit(jax.vmap(loaded.credit))(views.fields, views.state)
        assert (weights.shape, weights.dtype) == ((4, n), jnp.float32)
        assert (bias.shape, bias.dtype) == ((4,), jnp.float32)
        np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-5)
        assert loaded.igm
        assert (weights >= 0).all()


@cache
def spread() -> CreditFunction:
    return load("mpe_spread", SPEC)


def spread_weights(agent: np.ndarray, landmark: np.ndarray) -> np.ndarray:
    fields = {"agent_pos": agent, "agent_vel": np.zeros_like(agent), "landmark_pos": landmark}
    arrays = {name: jnp.asarray(field) for name, field in fields.items()}
    weights, bias = jax.jit(spread().credit)(arrays, jnp.zeros(SPEC.state_dim))
    assert bias == 0
    return np.asarray(weights)


number = st.floats(-50, 50, width=32)
coordinates = st.lists(number, min_size=6, max_size=6).map(lambda x: np.array(x, np.float32).reshape(3, 2))


@settings(max_examples=50, deadline=None)
@given(agent=coordinates, landmark=coordinates, order=st.permutations(range(3)))
def test_spread_weights_are_a_fair_share(agent: np.ndarray, landmark: np.ndarray, order: list[int]):
    weights = spread_weights(agent, landmark)
    np.testing.assert_allclose(weights.sum(), 1.0, atol=1e-5)
    assert (weights >= 0.5 / 3 - 1e-6).all()
    np.testing.assert_allclose(spread_weights(agent[order], landmark), weights[order], atol=1e-5)
    np.testing.assert_allclose(spread_weights(agent, landmark[order]), weights, atol=1e-5)


def test_spread_by_hand():
    # Agent 0 stands on two landmarks; far from it, agents 1 and 2 touch, with the third landmark halfway between them.
    agent = np.array([[0, 0], [30, 0], [30, 0.1]], np.float32)
    landmark = np.array([[0, 0], [30, 0.05], [0, 0]], np.float32)
    # Needs: 2 for the two landmarks, and 0.5 for half a landmark + 1 for the other agent, twice. Their mean is 5/3.
    by_hand = (0.5 + 0.5 * np.array([2, 1.5, 1.5]) * 3 / 5) / 3
    np.testing.assert_allclose(spread_weights(agent, landmark), by_hand, atol=1e-5)


FRESH = """
import jax
from qllm_envs.core import Field, Spec
from qllm_jax.tfcaf import from_source
source = "import jax.numpy as jnp\\ndef credit(state):\\n    return jnp.clip(state['x'], -1.0, 1.0), 0.0\\n"
spec = Spec("toy", 2, 1, 1, 1, 1, {"x": Field((2,), "x", "none", -1.0, 1.0)}, ("a",), "none", "none", "toy")
print(from_source(source, "fresh", spec).igm)
"""


def test_a_function_may_be_the_first_thing_that_a_process_traces():
    # jaxlib imports NumPy late, from the globals of whoever calls it first; those of a credit function import nothing.
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr
