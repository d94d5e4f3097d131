"""The static check: refusals with their lines, and that nothing of a refused source has run."""

import os
import warnings
from collections.abc import Iterator
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tfcaf.candidates.expected import assert_expected
from tfcaf.candidates.static import GOOD, PARSE, STATIC, credit
from tfcaf.candidates.traced import Candidate

import qllm_envs
from qllm_jax.tfcaf import TfcafError, from_source
from qllm_jax.tfcaf.loading.namespace import namespace
from qllm_jax.tfcaf.static.check import check
from qllm_jax.tfcaf.static.vocabulary import BUILTINS, MAX_LOOP, MODULES, LoopTooLongError
from qllm_jax.tfcaf.verdict import refusal

SPEC = qllm_envs.make("mpe_spread", n_agents=3).spec


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fails if loading the sources of the tests before has changed the process or left a file."""
    folder, before = tmp_path_factory.mktemp("folder"), os.getcwd()
    os.chdir(folder)
    names, options, x64 = dict(vars(jnp)), np.get_printoptions(), jax.config.read("jax_enable_x64")
    yield
    os.chdir(before)
    assert dict(vars(jnp)) == names
    assert np.get_printoptions() == options
    assert jax.config.read("jax_enable_x64") == x64
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", STATIC)
def test_bad_source_is_refused_with_its_line(name: str):
    source, line, fragment = STATIC[name]
    with pytest.raises(TfcafError) as caught:
        from_source(source, "file.py", SPEC)
    if line is not None:
        assert caught.value.location == ("file.py", line)
        assert str(caught.value).startswith(f"file.py:{line}: ")
    expected = Candidate(source, "PARSE" if name in PARSE else "STATIC", line, fragment)
    assert_expected(refusal(caught.value, "L3", source, {}), expected)


GOOD_SOURCES = {
    "plain": GOOD,
    "imports": "import jax\nimport jax.numpy as jnp\n" + GOOD,
    "byte_order_mark_and_crlf": "\ufeff" + GOOD.replace("\n", "\r\n"),
    "annotations": "def credit(state: torch.Tensor) -> 'x':\n    w: np.ndarray = 1\n    return w, 0.0\n",
    "constants": "'''Doc.'''\nIGM: bool = False\nA = (1, -2.5, (True,))\n" + GOOD,
    "agent_loop": credit(
        "ws = []", "for i in range(3):", "    ws.append(state['agent_pos'][i, 0])", "w = jnp.stack(ws)"
    ),
    "branch_on_size": credit("w = 1", "if w > 2:", "    w = 2", "elif w == 1:", "    w = 3", "else:", "    pass"),
    "helpers": "def f(x, y):\n    return x + y\n" + credit("def g(x):", "    return f(x, y=1)", "w = g(1)"),
    "strings": credit("w = jnp.einsum('i,i->i', state['a'], state['b'].astype('float32'))", "'''remark'''"),
    "powers": credit("w = (2 ** 0.5 + state['a'] ** 2) ** -0.5"),
    "paper": "def QLLMNetwork(agents_q, state):\n    return jnp.sum(agents_q, axis=-1, keepdims=True)\n",
}


@pytest.mark.parametrize("source", GOOD_SOURCES.values(), ids=GOOD_SOURCES.keys())
def test_good_source_passes(source: str):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check(source, "file.py").entry in source


def test_gate_is_read_and_is_closed_by_default():
    assert check(GOOD, "f").igm
    assert not check("IGM = False\n" + GOOD, "f").igm


def test_namespace_holds_the_table_and_is_read_only():
    space = namespace()
    assert {name for name in dir(jnp) if name[0] != "_" and hasattr(space["jnp"], name)} == MODULES["jnp"]
    assert space["jnp"].sum is jnp.sum
    assert set(space) == {"__builtins__", "__item__", "jnp", "jax"}
    for module in (space["jnp"], space["jnp"].linalg, space["jax"].nn):
        with pytest.raises(AttributeError, match="cannot be set"):
            module.sum = None
        with pytest.raises(AttributeError, match="cannot be deleted"):
            del module.softmax
        with pytest.raises(AttributeError, match="not available"):
            _ = module.save


def test_builtins_of_one_function_are_not_those_of_the_next():
    cast(dict[str, Any], namespace()["__builtins__"]).clear()
    assert namespace()["__builtins__"] == BUILTINS


def test_long_loops_are_refused():
    assert len(BUILTINS["range"](MAX_LOOP)) == MAX_LOOP
    for length in (MAX_LOOP + 1, 10**30):
        with pytest.raises(LoopTooLongError):
            BUILTINS["range"](length)
