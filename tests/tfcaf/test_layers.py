"""Single layers: feedback, operations of a program, probes, and mistakes that the allow-list makes impossible."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback

from qllm_jax.tfcaf import jaxprs
from qllm_jax.tfcaf.semantics import budget, checks, hidden, probes, rollouts, sizes_of_weights
from qllm_jax.tfcaf.semantics.trial import Outcome
from qllm_jax.tfcaf.static.check import Checked, check
from qllm_jax.tfcaf.static.vocabulary import HIGHER, MODULES
from qllm_jax.tfcaf.verdict import CODES, MAX_FEEDBACK, Location, TfcafError, refusal

END = Location("file.py", 1)


def test_feedback_is_short_and_names_the_line():
    source = "a\n" + "b" * 5000
    error = TfcafError("STATIC", Location("f", 2), "p" * 3000, "h")
    feedback = refusal(error, "L3", source, {}).feedback()
    assert len(feedback.encode()) == MAX_FEEDBACK
    short = refusal(TfcafError("STATIC", Location("f", 2), "is wrong", "mend it"), "L3", source, {}).feedback()
    assert short == f"STATIC ({CODES['STATIC']}): is wrong\nLine 2: {'b' * 200}\nWhat to do: mend it"


def forbidden() -> dict:
    """Programs that the allow-list of text refuses before; the allow-list of operations would, too."""
    x = jnp.ones((3, 3))
    loop = lambda x: jax.lax.while_loop(lambda v: v.sum() < 5, lambda v: v + 1, x)
    return {
        "while": jax.make_jaxpr(loop)(x),
        "pure_callback": jax.make_jaxpr(lambda x: jax.pure_callback(np.sin, x, x))(x),
        "debug_callback": jax.make_jaxpr(lambda x: jax.debug.callback(print, x) or x)(x),
        "io_callback": jax.make_jaxpr(lambda x: io_callback(np.sin, x, x))(x),
        "random_bits": jax.make_jaxpr(lambda x: x + jax.random.bits(jax.random.key(0)))(x),
        "svd": jax.make_jaxpr(lambda x: jnp.linalg.norm(x, ord=2))(x),
    }


def test_programs_with_other_operations_are_refused():
    for name, traced in forbidden().items():
        with pytest.raises(TfcafError) as caught:
            budget.verify(traced, END)
        assert caught.value.code == "STATIC", name


def test_operations_are_counted_with_those_of_sums_of_products():
    found = budget.verify(jax.make_jaxpr(lambda a: a @ a)(jnp.ones((10, 10))), END)
    assert (found["flops"], found["largest_array"], found["operations"]) == (2000.0, 100, 1)


ARGUMENTS = {  # for functions that do not take one matrix
    "broadcast_to": ((2, 3, 3),), "expand_dims": (0,), "full": (2.0,), "full_like": (2.0,), "moveaxis": (0, 1),
    "one_hot": (3,), "repeat": (2,), "reshape": (9,), "roll": (1,), "select": ([1.0],), "split": (3,),
    "swapaxes": (0, 1),
    "take": (jnp.array([0, 1]),), "tile": (2,), "linspace": (5.0, 3), "where": (1.0, 2.0),
}  # fmt: skip
SKIPPED = {
    "einsum",
    "inf",
    "lax",
    "linalg",
    "nn",
    "newaxis",
    "pi",
    "tensordot",
    "take_along_axis",
}  # no function, or below


def test_every_allowed_function_is_made_of_allowed_operations():
    """A version of JAX that compiles one of them to something new would refuse good candidates: this test says so."""
    x = jnp.ones((3, 3))
    roots = {"jnp": jnp, "jnp.linalg": jnp.linalg, "jax": jax, "jax.nn": jax.nn}
    for module, names in MODULES.items():
        for name in names - SKIPPED if module in roots else ():
            if f"{module}.{name}" in HIGHER:  # made of what they are given
                continue
            traced = jax.make_jaxpr(lambda x, root=roots[module], n=name: call(getattr(root, n), n, x))(x)
            assert set(jaxprs.primitives(traced)) <= budget.PRIMITIVES, name
    more = lambda x: jnp.einsum("ij,jk", x, x) + jnp.tensordot(x, x, 1) + jnp.take_along_axis(x, jnp.argsort(x), 1)
    assert set(jaxprs.primitives(jax.make_jaxpr(more)(x))) <= budget.PRIMITIVES


def call(function, name: str, x: jax.Array):
    """The function on `x`, with its gradient where it has one."""
    whole = name in ("arange", "eye", "identity", "ones", "zeros")
    first = 3 if whole else (3, 3) if name == "full" else [x > 0] if name == "select" else x
    first = 0.0 * x[0, 0] if name == "linspace" else [x, x] if name in STACKS else x > 0 if name == "where" else first
    first = x.astype(int) if name == "one_hot" else x[0] if name == "meshgrid" else first
    if name in ARGUMENTS:
        return function(first, *([[x]] if name == "select" else ARGUMENTS[name]))
    return function(first, x) if not whole and takes_two(function) else function(first)


STACKS = ("column_stack", "concatenate", "hstack", "stack", "vstack")


def takes_two(function) -> bool:
    if hasattr(function, "nin"):
        return function.nin == 2
    try:
        given = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return False
    return (
        len([p for p in given if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]) == 2
    )


def test_probes_stay_in_the_ranges_of_fields():
    found = rollouts.from_config({"name": "lbf"})
    boxes = {name: probes.box(f.low, f.high, found.seen[name]) for name, f in found.spec.fields.items()}
    states, kinds = probes.states(boxes, found.seen, {}, ())
    more, more_kinds = probes.spikes(boxes)
    for tried, of in ((states, kinds), (more, more_kinds)):
        for name, field in found.spec.fields.items():
            assert tried[name].shape == (len(of), *field.shape)
            assert (tried[name] >= field.low).all()
            assert (tried[name] <= field.high).all()
            assert (tried[name] == np.rint(tried[name])).all()  # a grid has no cell 1.5


def test_probes_hold_what_breaks_functions():
    found = rollouts.from_config({"name": "mpe_spread", "n_agents": 3})
    boxes = {name: probes.box(f.low, f.high, found.seen[name]) for name, f in found.spec.fields.items()}
    states, kinds = probes.states(boxes, found.seen, {}, ())
    pos, goal = states["agent_pos"], states["landmark_pos"]
    assert (pos == 0).all((1, 2)).any()
    assert (pos[:, 0] == pos[:, 1]).all(-1).any()
    assert (pos == goal).all((1, 2)).any()
    assert np.abs(pos).max() == np.float32(found.spec.fields["agent_pos"].high)
    assert kinds.count("of a rollout") == rollouts.KEPT


def test_a_function_that_changes_is_nondeterministic():
    """No source can do this; the check is a second fence."""
    text = "def credit(state, calls=[]):\n    calls.append(1)\n    return state['agent_pos'][:, 0] * len(calls), 0.0\n"
    changing = Checked(compile(text, "f", "exec"), "credit", "credit", False, 0, Location("f", 3))
    given = rollouts.from_config({"name": "mpe_spread", "n_agents": 3})
    with pytest.raises(TfcafError) as caught:
        checks.verify(changing, given, lambda layer, what: None)
    assert caught.value.code == "NONDET"
    with pytest.raises(TfcafError, match="default arguments"):
        check(text, "f")


def test_static_candidates_need_no_jax():
    """They are refused at once because the modules that read text do not import it."""
    import subprocess
    import sys

    from qllm_jax.tfcaf.sandbox import process

    code = (
        f"import sys; sys.path[:] = {process.import_path()!r}\n"
        "from qllm_jax.tfcaf import verdict\n"
        "from qllm_jax.tfcaf.sandbox import confine\n"
        "from qllm_jax.tfcaf.static import check\n"
        "assert not {'jax', 'numpy'} & set(sys.modules), 'imported'"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


WRAPS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "add": lambda i: i + i + i, "cumprod": lambda i: jnp.cumprod(i), "cumsum": lambda i: jnp.cumsum(i),
    "dot_general": lambda i: i @ i, "integer_pow": lambda i: i**2, "mul": lambda i: 3 * i, "sub": lambda i: -i - i - i,
    "reduce_prod": lambda i: jnp.prod(i), "reduce_sum": lambda i: jnp.sum(i),
    "convert_element_type": lambda i: i.astype(jnp.int8),
}  # fmt: skip


@pytest.mark.parametrize("name", WRAPS)
def test_a_whole_number_that_wraps_is_wrong_in_every_operation(name: str):
    program = jax.make_jaxpr(WRAPS[name])(jnp.zeros(3, jnp.int32))

    def wrong(number: int) -> bool:
        found = []

        def step(visit: jaxprs.Visit, operands: list) -> Any:
            outputs = jaxprs.bind(visit.equation, operands)
            if visit.name == name and hidden._is_risky(visit.equation):
                found.append(bool(hidden._wrong(visit.equation, operands, outputs[0].shape).any()))
            return outputs

        jaxprs.walk(program, [jnp.full(3, number, jnp.int32)], step)
        assert found
        return any(found)

    assert (wrong(10**9), wrong(10)) == (True, False)


WEIGHTS = "def credit(state):\n    return 1.0 + state['agent_pos'][:, 0] ** 2, 0.0\n"


def sizes(weights: list[list[float]], bias: float = 0.0, igm: bool = True, n_play: int | None = None) -> str:
    """Code with which weights (states, agents) are refused, "" if they pass. The first `n_play` states are of play."""
    given = np.array(weights, np.float32)
    outcome = Outcome(given, np.full(len(given), bias, np.float32), np.ones(len(given), bool), [])
    checked = check(("" if igm else "IGM = False\n") + WEIGHTS, "file.py")
    n_play = len(given) if n_play is None else n_play
    try:
        phrases, near = ["of a rollout"] * len(given), np.ones(len(given), bool)
        sizes_of_weights.verify(checked, outcome, phrases, n_random=n_play, n_reached=n_play, near=near)
    except TfcafError as error:
        return error.code
    return ""


def test_sizes_are_those_of_training_which_multiplies_by_the_number_of_agents():
    assert sizes([[3000.0, 1.0, 1.0]]) == ""  # 9e3
    assert sizes([[4000.0, 1.0, 1.0]]) == "SCALE"  # 1.2e4
    assert sizes([[1.0, 1.0, 1.0]], bias=-3000.0) == ""
    assert sizes([[1.0, 1.0, 1.0]], bias=-4000.0) == "SCALE"
    assert sizes([[4e-5, 4e-5, 4e-5]]) == ""  # 1.2e-4
    assert sizes([[3e-5, 3e-5, 3e-5]]) == "SCALE"  # 9e-5


def test_rounding_is_told_from_a_negative_weight_by_the_weights_of_its_state_and_of_play():
    large = [1.0, 1.0, 1.0]
    assert sizes([large, [-1e-7, 1e-3, 1e-3]]) == ""  # next to the weights of play
    assert sizes([large, [-1e-5, 1e-3, 1e-3]]) == "NONMONO"
    assert sizes([large, [-1e-5, 1e-3, 1e-3]], igm=False) == ""
    assert sizes([large, [-1e-5, 100.0, 100.0]], n_play=1) == ""  # next to the weights of its state, a corner
    assert sizes([large, [-1e-3, 100.0, 100.0]], n_play=1) == "NONMONO"
