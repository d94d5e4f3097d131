"""The static check: what is refused, at which line, and that nothing of a refused source has run."""

import warnings
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qllm_envs
from qllm_jax.tfcaf import TfcafError, from_source
from qllm_jax.tfcaf.check import check
from qllm_jax.tfcaf.namespace import BUILTINS, MAX_LOOP, MODULES, namespace

GOOD = "def credit(state):\n    w = state['agent_pos'][:, 0]\n    return w, 0.0\n"


def credit(*lines: str, before: str = "") -> str:
    """A credit function with `lines` from line 2 on, or further down by the lines of `before`."""
    return before + "def credit(state):\n" + "".join(f"    {line}\n" for line in lines) + "    return w, 0.0\n"


# name: (source, line of the mistake or None, fragment of the message). Numbers: facts/users_and_llm_code.md, 2.6.
BAD: dict[str, tuple[str, int | None, str]] = {
    # A. not the function that is asked for
    "empty": ("", None, "no function to call"),
    "a8_smart_quotes": (credit("w = state[\u2018agent_pos\u2019]"), 2, "not Python"),
    "a9_truncated": ("def credit(state):\n    w = jnp.sum(", 2, "not Python"),
    "a13_wrong_name": ("X = 1\ndef weights(state):\n    return state, 0.0\n", 2, "found: weights"),
    "a14_twice": (GOOD + GOOD, 4, "`credit` is defined twice"),
    "both_entries": (GOOD + "def QLLMNetwork(q, s):\n    return q\n", 4, "two functions to call"),
    "extra_argument": ("def credit(state, q):\n    return q, 0.0\n", 1, "takes 2 arguments"),
    "call_at_top_level": (GOOD + "w, b = credit(1)\n", 4, "outside of a function"),
    # B. bombs
    "b16_unary": (credit("w = " + "-" * 16_000 + "1"), None, "nested too deep"),
    "b16_not": (credit("w = " + "not " * 200 + "1"), 2, "nested"),
    "b17_parentheses": (credit("w = " + "(" * 1000 + ")" * 1000), 2, "not Python"),
    "b18_binop_chain": (credit("w = 1" + " + 1" * 3000), None, "nested"),
    "b19_size": (credit("w = 1", before="# " + "x" * 17_000 + "\n"), None, "longer than 16 KiB"),
    "b20_while": (credit("while True:", "    pass"), 2, "a while loop"),
    "b21_recursion": ("def f(x):\n    return f(x)\n" + credit("w = f(1)"), 1, "`f` calls itself"),
    "b21_mutual": ("def f(x):\n    return g(x)\ndef g(x):\n    return f(x)\n" + GOOD, None, "calls itself"),
    "b21_function_value": ("def f(g):\n    return g(g)\n" + credit("w = f(f)"), 2, "other than a named function"),
    "b22_string_times": (credit("w = 'x' * 9"), 2, "a string in this place"),
    "b22_string_in_call": (credit("w = jnp.sum('x' * 9)"), 2, "a string in this place"),
    "b23_power": (credit("w = 10 ** 10 ** 8"), 2, "`**`"),
    "b23_power_assign": (credit("w = 10", "w **= 99"), 3, "`**`"),
    "b24_list_1e9": (credit("w = [0 for i in range(1000000000)]"), 2, "an integer of 1000000 or more"),
    "b_shift": (credit("w = 1 << 9"), 2, "LShift"),
    "b31_fork": (credit("w = 1", "while 1:", "    os.fork()"), 3, "a while loop"),
    "b_nul": (credit("w = 1\0"), None, "not Python"),
    "b_surrogate": (credit("w = '\ud800'"), None, "not Python"),
    # C. imports, builtins, files
    "c32_import_os": (credit("w = 1", before="import os\n"), 1, "import of os"),
    "c32_import_hidden": (credit("w = 1", before="import jax, os\n"), 1, "import of os"),
    "c33_from_torch": (credit("w = 1", before="\nfrom torch import nn\n"), 2, "use jnp instead of torch"),
    "c33_relative": (credit("w = 1", before="from . import x\n"), 1, "import of a relative module"),
    "c33_inside": (credit("import jax.numpy as jnp", "w = 1"), 2, "import of jax.numpy"),
    "c34_numpy": (credit("w = 1", before="import numpy as np\n"), 1, "use jnp instead of numpy"),
    "c34_rename": (credit("w = 1", before="import jax.numpy as np\n"), 1, "import of jax.numpy"),
    "c34_np_name": (credit("w = np.ones(3)"), 2, "`np` is not available; use jnp instead of np"),
    "c_torch_name": (credit("w = torch.ones(3)"), 2, "use jnp instead of torch"),
    "c35_dunder_import": (credit("w = __import__('os')"), 2, "double underscore"),
    "c36_open": (credit("w = open('/etc/passwd')"), 2, "`open` is not available"),
    "c37_eval": (credit("w = 1", "eval('1')"), 3, "`eval` is not available"),
    "c37_exec": (credit("w = 1", "exec('1')"), 3, "`exec` is not available"),
    "c38_getattr": (credit("w = getattr(state, 'a' + 'b')"), 2, "`getattr` is not available"),
    "c39_globals": (credit("w = globals()"), 2, "`globals` is not available"),
    "c40_print": (credit("w = 1", "print(w)"), 3, "`print` is not available; leave it out"),
    "c41_save": (credit("w = 1", "jnp.save('f.npy', w)"), 3, "`jnp.save` is not available"),
    "c43_load": (credit("w = jnp.load('f.npy', allow_pickle=True)"), 2, "`jnp.load` is not available"),
    "c44_fromfile": (credit("w = jnp.fromfile('f')"), 2, "`jnp.fromfile` is not available"),
    "c45_frombuffer": (credit("w = jnp.frombuffer(b'f')"), 2, "`jnp.frombuffer` is not available"),
    "c46_dlpack": (credit("w = jnp.from_dlpack(state)"), 2, "`jnp.from_dlpack` is not available"),
    "c47_environ": (credit("w = os.environ['KEY']"), 2, "`os` is not available"),
    # D. ways to Python's internals
    "d48_class": (credit("w = ().__class__.__base__.__subclasses__()"), 2, "double underscore"),
    "d49_globals": (credit("w = jnp.where.__globals__"), 2, "double underscore"),
    "d51_format": (credit("w = '{0.__class__}'.format(1)"), 2, "`.format` is not available"),
    "d51_dunder_string": (credit("w = state['__class__']"), 2, "double underscore"),
    "d52_format_map": (credit("w = '{a}'.format_map(state)"), 2, "`.format_map` is not available"),
    "d53_fstring": (credit("w = f'{state.__class__}'"), 2, "an f-string"),
    "d55_percent": (credit("w = '%s' % state"), 2, "a string in this place"),
    "d56_frame": (credit("w = (x for x in [1]).gi_frame"), 2, "`.gi_frame` is not available"),
    "d58_try": (credit("try:", "    w = 1", "except KeyError as e:", "    w = e.obj"), 2, "a try statement"),
    "d59_except_star": (credit("try:", "    w = 1", "except* KeyError:", "    w = 2"), 2, "TryStar"),
    "d60_raise": (credit("w = 1", "raise SystemExit"), 3, "a raise statement"),
    "d61_match": (credit("match state:", "    case object(shape=w):", "        pass"), 2, "a match statement"),
    "d62_homoglyph": (credit("w = state.__\uff43lass__"), 2, "double underscore"),
    "d63_decorator": ("@jax.jit\n" + GOOD, 1, "has a decorator"),
    "d64_default": ("def f(x, m=[]):\n    return x\n" + GOOD, 1, "default arguments"),
    "d64_keyword_default": ("def f(x, *, m=1):\n    return x\n" + GOOD, 1, "default arguments"),
    "d65_lambda": (credit("w = (lambda x=1: x)(1)"), 2, "other than a named function"),
    "d65_lambda_value": (credit("w = [lambda: 1]"), 2, "a lambda"),
    "d66_augassign": (credit("w = 1", "state.T += 1"), 3, "attribute `T` is assigned"),
    "d67_class": (credit("class A:", "    pass"), 2, "a class"),
    "d68_walrus": (credit("w = (jnp := 1)"), 2, "an assignment inside an expression"),
    "d69_rebind": (credit("jnp = state"), 2, "`jnp` is given a new meaning"),
    "d69_rebind_for": (credit("for jax in state:", "    pass"), 2, "`jax` is given a new meaning"),
    "d69_rebind_argument": ("def f(jnp):\n    return jnp\n" + GOOD, 1, "`jnp` is given a new meaning"),
    "d69_rebind_def": ("def jnp(x):\n    return x\n" + GOOD, 1, "`jnp` is given a new meaning"),
    "d69_rebind_builtin": (credit("max = jnp.max"), 2, "`max` is given a new meaning"),
    "d69_rebind_function": (credit("f = 1", before="def f(x):\n    return x\n"), 4, "`f` is given a new meaning"),
    "d70_ctypes": (credit("w = state['agent_pos'].ctypes"), 2, "`.ctypes` is not available"),
    "d71_private": (credit("w = jnp._deprecations"), 2, "`jnp._deprecations` is not available"),
    "d_module_value": (credit("w = jnp"), 2, "`jnp` is used as a value"),
    "d_submodule_value": (credit("w = jnp.linalg"), 2, "`jnp.linalg` is used as a value"),
    "d_call_result": (credit("w = [jnp.sum][0](state)"), 2, "other than a named function"),
    "d_double_star": (credit("w = jnp.sum(**state)"), 2, "`**` in a call"),
    "d_star": (credit("w = jnp.sum(*state)"), 2, "a star argument"),
    "d_star_parameter": ("def f(*x):\n    return x\n" + GOOD, 1, "star arguments"),
    "d_keyword_dunder": ("def f(x):\n    return x\n" + credit("w = f(__x=1)"), 4, "double underscore"),
    # E. side effects
    "e72_monkeypatch": (credit("w = 1", "jnp.sum = w"), 3, "attribute `sum` is assigned"),
    "e72_delete": (credit("w = 1", "del jnp.sum"), 3, "a del statement"),
    "e73_printoptions": (credit("w = 1", "jnp.set_printoptions(precision=1)"), 3, "`jnp.set_printoptions`"),
    "e74_callback": (credit("w = 1", "jax.debug.callback(w)"), 3, "`jax.debug` is not available"),
    "e76_pure_callback": (credit("w = jax.pure_callback(state)"), 2, "`jax.pure_callback` is not available"),
    "e78_config": (credit("w = 1", "jax.config.update('jax_enable_x64', True)"), 3, "`jax.config` is not available"),
    "e79_global": (credit("global LEAK", "LEAK = state", "w = 1"), 2, "a global statement"),
    "e79_nonlocal": (credit("w = 1", "def f(x):", "    nonlocal w", "    w = x"), 4, "a nonlocal statement"),
    "e79_module_list": ("LEAK = []\n" + credit("w = 1", "LEAK.append(w)"), 1, "`LEAK` is not a constant"),
    "e79_constant_twice": ("A = 1\nA = 2\n" + GOOD, 2, "`A` is defined twice"),
    "e81_time": (credit("w = time.time()"), 2, "`time` is not available"),
    "e82_random": (credit("w = jax.random.normal(jax.random.key(0))"), 2, "a credit function is deterministic"),
    "e83_vectorize": (credit("w = jnp.vectorize(abs)"), 2, "`jnp.vectorize` is not available"),
    "e83_piecewise": (credit("w = jnp.piecewise(1, 1, [abs])"), 2, "`jnp.piecewise` is not available"),
    "e_igm_number": ("IGM = 1\n" + GOOD, 1, "IGM is neither True nor False"),
    # F. mistakes that need no tracing to be seen
    "f90_nonzero": (credit("w = jnp.nonzero(state)"), 2, "use jnp.where(mask, x, 0.0)"),
    "f91_in_place": (credit("w = jnp.zeros(3)", "w[0] = 1.0"), 3, "x = x.at[...].set(value)"),
    "f91_in_place_add": (credit("w = jnp.zeros(3)", "w[0] += 1.0"), 3, "an assignment in place"),
    "f91_dropped": (credit("w = jnp.zeros(3)", "w.at[0].set(1.0)"), 3, "the result of this line is dropped"),
    "f92_dim": (credit("w = jnp.sum(state, dim=1)"), 2, "keyword `dim` is not available; use axis"),
    "f92_keepdim": (credit("w = jnp.sum(state, axis=1, keepdim=True)"), 2, "use keepdims"),
    "f93_unsqueeze": (credit("w = state.unsqueeze(0)"), 2, "index with None"),
    "f93_view": (credit("w = state.view(3, 2)"), 2, "use .reshape(...)"),
    "f93_size": (credit("w = state.size(0)"), 2, "use .shape[...]"),
    "f87_item": (credit("w = state.item()"), 2, "keep it an array"),
    "f96_async": ("async " + GOOD, 1, "an async function"),
    "f96_generator": (credit("w = 1", "yield w"), 3, "a generator function"),
    "f_typo": (credit("w = jnp.sotfmax(state)"), 2, "`jnp.sotfmax` is not available"),
    "f_float_inf": (credit("w = float('inf')"), 2, "infinity is jnp.inf"),
    "g101_float64": (credit("w = jnp.zeros(3, jnp.float64)"), 2, "use jnp.float32"),
    "g102_complex": (credit("w = 1j"), 2, "a complex value"),
}


@pytest.mark.parametrize(("source", "line", "fragment"), BAD.values(), ids=BAD.keys())
def test_bad_source_is_refused_with_its_line(source: str, line: int | None, fragment: str):
    with pytest.raises(TfcafError) as caught:
        check(source, "file.py")
    assert fragment in str(caught.value)
    assert caught.value.verdict in ("PARSE", "STATIC")
    if line is not None:
        assert caught.value.place == ("file.py", line)
        assert str(caught.value).startswith(f"file.py:{line}: ")


def test_bad_sources_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    spec = qllm_envs.make("mpe_spread", n_agents=3).spec
    before, options, x64 = dict(vars(jnp)), np.get_printoptions(), jax.config.read("jax_enable_x64")
    for source, _, _ in BAD.values():
        with pytest.raises(TfcafError):
            from_source(source, "file.py", spec)
    assert dict(vars(jnp)) == before
    assert np.get_printoptions() == options
    assert jax.config.read("jax_enable_x64") == x64
    assert list(tmp_path.iterdir()) == []


GOOD_SOURCES = {
    "plain": GOOD,
    "imports": "import jax\nimport jax.numpy as jnp\n" + GOOD,
    "byte_order_mark_and_crlf": "\ufeff" + GOOD.replace("\n", "\r\n"),
    "annotations": "def credit(state: torch.Tensor) -> 'x':\n    w: np.ndarray = 1\n    v: int\n    return w, 0.0\n",
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
    assert set(space) == {"__builtins__", "jnp", "jax"}
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
        with pytest.raises(ValueError, match="4096"):
            BUILTINS["range"](length)
